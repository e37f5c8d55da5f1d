"""Strict, frozen configs: every fault of a composed config is listed at once, before any work.

Each component's config class derives from :class:`StrictConfig` and is in its room's ``config.py``, in ``data`` beside the component.
:func:`validate` turns plain Python data, as Hydra composes it, into one of them. Pydantic stops checking a section at its first unusable
value; a user wants the whole list, so :func:`validate` removes what was refused and checks again.

A config class reports choices that contradict each other by overriding ``_contradictions``. What two sections have to agree on is checked
by the config that holds both.
"""

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from clickflow.errors import ConfigError
from clickflow.text import near_name, problem_list

Config = TypeVar("Config", bound=BaseModel)

Contradictions = Iterator[tuple[str, str]]
"""Key, and message (``= value: what is wrong; what to do``), of each choice that contradicts another one."""

_Path = tuple[int | str, ...]

# Strict mode refuses "16" for 16; YAML has no tuples and no paths, so these two are converted.
PositiveIntegers = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
FilePath = Annotated[Path, Field(strict=False)]
Home = Annotated[
    Path, Field(strict=False, description="Folder of everything clickflow writes: downloads, prepared data sets, the local MLflow store.")
]


def matching(pattern: str, allowed: str) -> AfterValidator:
    """A text that matches a pattern; who wrote another one reads in words what is allowed, and a name that is.

    Args:
        pattern: of the whole text; where it is one class of characters, a name can be offered.
        allowed: in words.
    """

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        near = near_name(text, pattern)
        hint = f"; as in {near}" if near else ""
        raise PydanticCustomError("pattern", "Input should be {allowed}{hint}", {"allowed": allowed, "hint": hint})

    return AfterValidator(check)


class StrictConfig(BaseModel):
    """Base of all configs: frozen, no unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if problems := list(self._contradictions()):
            raise PydanticCustomError("contradictions", "contradictory choices", {"problems": problems})
        return self

    def _contradictions(self) -> Contradictions:
        """Faults of this section as a whole; their keys are relative to the section."""
        yield from ()


def validate(config_class: type[Config], values: Mapping[str, Any], what: str = "the composed config") -> Config:
    """Build a config from plain values: nested dicts, lists and scalars.

    Raises:
        ConfigError: one line for each problem, all of them, with the nearest allowed key or value.
    """
    remaining = copy.deepcopy(dict(values))
    problems: dict[tuple[str, str], None] = {}  # in the order of discovery, each once
    refused: set[_Path] = set()
    removed: set[_Path] = set()
    while True:
        try:
            config = config_class.model_validate(remaining)
        except ValidationError as error:
            progress = False
            for details in error.errors():
                path, parent = _resolve(config_class, details["loc"])
                if path in removed:  # missing because it was refused before
                    continue
                problems |= dict.fromkeys(_explain(path, parent, details, refused))
                if details["type"] in ("missing", "contradictions"):
                    continue
                if details["type"] != "extra_forbidden":
                    refused.add(path)
                hole = _remove(remaining, path)
                progress |= hole not in removed
                removed.add(hole)
            if progress:
                continue
        else:
            if not problems:
                return config
        raise ConfigError(problem_list([f"{where}{message}" for where, message in problems], what))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> dotted keys.

    >>> flatten({"model": {"name": "din", "units": [80, 40]}})
    {'model.name': 'din', 'model.units': [80, 40]}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def named(value: object) -> object:
    """Read ``sampler: tpe`` as ``sampler: {name: tpe}``: a section whose other keys have defaults may be given by its name."""
    return {"name": value} if isinstance(value, str) else value


def suggest(word: str, allowed: Sequence[str]) -> str:
    """``did you mean x?`` with the nearest allowed word, or else the list of what is allowed.

    >>> suggest("DIN", ["base", "din"]), suggest("DIM", ["LR", "DIN outer"]), suggest("DIN", ["DIEN", "DIN outer", "DIN product"])
    ('did you mean din?', 'did you mean DIN outer?', 'did you mean DIN outer or DIN product?')
    """
    folded = {choice.casefold(): choice for choice in allowed}
    close = [whole for whole in folded if word.casefold() in whole.split()]
    close = close or difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if not close:  # labels of several words
        parts = {part: [whole for whole in folded if part in whole.split()] for whole in folded for part in whole.split()}
        close = [whole for part in difflib.get_close_matches(word.casefold(), parts, n=1, cutoff=0.6) for whole in parts[part]]
    return f"did you mean {' or '.join(folded[choice] for choice in close)}?" if close else f"allowed: {', '.join(sorted(allowed))}"


def _resolve(config_class: type[BaseModel], loc: _Path) -> tuple[_Path, Any]:
    """Translate pydantic's location into a path of the config, and the annotation of the section that has its last key.

    The location also has the tags of discriminated unions, which are no keys of the config.
    """
    path: list[int | str] = []
    section: Any = None
    annotation: Any = config_class
    for part in loc:
        members = list(_members(annotation))
        models = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
        if len(models) > 1:
            annotation = next((model for model in models if part in _tags(model)), None)
            continue
        path.append(part)
        section = annotation
        if models:
            annotation = models[0].model_fields.get(str(part))
        else:  # a dict's key or a list's index
            annotation = next((argument for member in members for argument in reversed(get_args(member)) if argument is not ...), None)
    return tuple(path), section


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a value may have: the members of a union without None, or else the annotation itself.

    A union that is open to further members knows those that were requested; its annotation has them as ``further_members``.
    """
    origin = get_origin(annotation)
    if isinstance(annotation, FieldInfo):
        yield from _members(annotation.annotation)
        for mark in annotation.metadata:
            yield from getattr(mark, "further_members", ())
    elif origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not NoneType:
        yield annotation


def _tags(model: type[BaseModel]) -> set[str]:
    return {value for field in model.model_fields.values() for value in get_args(field.annotation) if isinstance(value, str)}


def _remove(values: Any, path: _Path) -> _Path:
    """Remove what was refused and return its path; a list is removed whole, because the indices of its elements would shift."""
    for position, part in enumerate(path):
        if position == len(path) - 1 or not isinstance(values.get(part), dict):
            values.pop(part, None)
            return path[: position + 1]
        values = values[part]
    return path


def _explain(path: _Path, section: Any, error: ErrorDetails, refused: set[_Path]) -> Iterator[tuple[str, str]]:
    where = ".".join(str(part) for part in path)
    value = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "contradictions":
            for key, message in context["problems"]:
                if not _rests_on_refused(path, message, refused):
                    yield (f"{where}.{key}" if where else key), f" {message}"
        case "extra_forbidden":
            keys = [key for member in _members(section) for key in member.model_fields]
            deeper = sorted(set(_deeper(section, where))) if len(path) == 1 else []
            hint = f"did you mean {' or '.join(deeper)}?" if 0 < len(deeper) < 4 else suggest(str(path[-1]), keys)
            yield where, f": unknown key; {hint}"
        case "missing":
            yield where, ": required, but not given"
        case "union_tag_invalid":
            key = context["discriminator"].strip("'")
            allowed = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
            yield f"{where}.{key}", f" = {context['tag']}: {suggest(context['tag'], allowed)}"
        case "union_tag_not_found":
            yield f"{where}.{context['discriminator'].strip(chr(39))}", ": required, but not given"
        case "model_type" | "model_attributes_type" | "dict_type":
            yield where, f" = {value!r}: must be a section with keys of its own"
        case "tuple_type":
            yield where, f" = {value!r}: must be a list"
        case "path_type":
            yield where, f" = {value!r}: must be a path"
        case "too_short":
            yield where, f" = {value!r}: must have at least {context['min_length']} item(s)"
        case "string_too_short" if not value:
            yield where, " = '': must not be empty"
        case _:
            message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            yield where, f" = {value!r}: must be {message}" if message != error["msg"] else f" = {value!r}: {message}"


def _deeper(section: Any, key: str) -> Iterator[str]:
    """Keys of this name one section deeper, with the name of that section."""
    fields = [(name, field) for model in _members(section) for name, field in model.model_fields.items()]
    yield from (f"{name}.{key}" for name, field in fields for deeper in _members(field) if key in getattr(deeper, "model_fields", ()))


def _rests_on_refused(path: _Path, message: str, refused: set[_Path]) -> bool:
    """Whether a contradiction may be due to defaults only: those that replace refused values of its section, or that it names."""
    return any((path and other[: len(path)] == path) or ".".join(str(part) for part in other) in message for other in refused)
