"""Strict, frozen configs: every fault of a composed config is listed at once, before any work.

Each component's config class derives from :class:`StrictConfig` and stands beside the component. :func:`validate` turns
plain Python data (what a pipeline got from Hydra) into one of them. Pydantic stops looking at a section at its first
unusable value; since a user wants the whole list, :func:`validate` drops what was refused and looks again.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from clickflow.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)

# Strict mode refuses "16" for 16; YAML has no tuples and no paths, so these two are converted.
Integers = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
FilePath = Annotated[Path, Field(strict=False)]


class StrictConfig(BaseModel):
    """Base of all configs: frozen, no unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Contradictions(PydanticCustomError):
    """Raised by a config's own validator to report one or several ``(key, message)`` pairs of that section."""

    def __new__(cls, problems: list[tuple[str, str]]) -> "Contradictions":
        """Wrap the problems; pydantic's own class takes its arguments in ``__new__``."""
        return super().__new__(cls, "contradictions", "contradictory choices", {"problems": problems})


def validate(config_class: type[Config], values: Mapping[str, Any], what: str = "the composed config") -> Config:
    """Build a config from plain values.

    Args:
        config_class: the class to build.
        values: nested dicts, lists and scalars, as composed.
        what: how the message calls the values.

    Raises:
        ConfigError: one line for each problem, all of them, with the nearest allowed key or value.
    """
    remaining = copy.deepcopy(dict(values))
    problems: dict[str, str] = {}
    removed: set[tuple[int | str, ...]] = set()
    while True:
        try:
            config = config_class.model_validate(remaining)
        except ValidationError as error:
            progress = False
            for details in error.errors():
                path = tuple(_path_in_values(details["loc"], remaining))
                if path in removed:  # the hole that an earlier refusal left
                    continue
                for where, message in _explain(config_class, path, details):
                    problems.setdefault(where, message)
                if details["type"] not in ("missing", "contradictions") and _remove(remaining, path):
                    removed.add(path)
                    progress = True
            if progress:
                continue
        else:
            if not problems:
                return config
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        lines = [f"  {where}{message}" for where, message in problems.items()]
        raise ConfigError("\n".join([f"{count} in {what}:", *lines]))


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


def suggest(word: str, allowed: list[str]) -> str:
    """`` did you mean x?`` for the nearest allowed word, else the list of what is allowed."""
    close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(sorted(allowed))}"


def _path_in_values(loc: tuple[int | str, ...], values: Any) -> Iterator[int | str]:
    """Pydantic's location without the tags of discriminated unions, which are no keys of the config."""
    for position, part in enumerate(loc):
        if isinstance(values, Mapping):
            if part in values:
                values = values[part]
            elif position < len(loc) - 1 and part in values.values():  # the tag of a union
                continue
            else:
                values = None
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            values = None
        yield part


def _remove(values: Any, path: tuple[int | str, ...]) -> bool:
    """Remove what was refused; one element of a list takes the whole list with it, so that indices stay true."""
    parent: dict[Any, Any] | None = None
    key: int | str = ""
    for part in path:
        if not isinstance(values, dict):
            break
        if part not in values:
            return False
        parent, key, values = values, part, values[part]
    if parent is None:
        return False
    del parent[key]
    return True


def _explain(config_class: type[BaseModel], path: tuple[int | str, ...], error: ErrorDetails) -> Iterator[tuple[str, str]]:
    where = ".".join(str(part) for part in path)
    value = error["input"]
    match error["type"]:
        case "contradictions":
            for key, message in error["ctx"]["problems"]:
                yield (f"{where}.{key}" if where else key), f" {message}"
        case "extra_forbidden":
            yield where, f": unknown key; {suggest(str(path[-1]), _keys(config_class, path[:-1]))}"
        case "missing":
            yield where, ": required, but not given"
        case "union_tag_invalid":
            context = error["ctx"]
            key = context["discriminator"].strip("'")
            allowed = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
            yield f"{where}.{key}", f" = {context['tag']}: {suggest(context['tag'], allowed)}"
        case "union_tag_not_found":
            yield f"{where}.{error['ctx']['discriminator'].strip(chr(39))}", ": required, but not given"
        case _:
            message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            yield where, f" = {value!r}: must be {message}" if message != error["msg"] else f" = {value!r}: {message}"


def _keys(config_class: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at a path of the config (of every member, where a union stands there)."""
    classes = [config_class]
    for part in path:
        if isinstance(part, int):
            continue
        fields = [cls.model_fields[part].annotation for cls in classes if part in cls.model_fields]
        classes = [cls for field in fields for cls in _config_classes(field)]
    return sorted({key for cls in classes for key in cls.model_fields})


def _config_classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None or isinstance(annotation, Union):  # type: ignore[arg-type]
        for argument in get_args(annotation):
            yield from _config_classes(argument)
