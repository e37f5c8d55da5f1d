"""``--help`` of a command: every key that it takes, with its default, what is allowed, and what it means.

All of it is read from the composed config and from the config classes, whose docstrings say what a key means: no text is kept twice.
"""

import itertools
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import open_dict

from clickflow.cli.commands import COMMANDS, Command
from clickflow.cli.compose import compose, group_options, plain
from clickflow.cli.config_files import group_file
from clickflow.models.entry_points import config_class, models_of_packages

MAX_WIDTH = 100
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
WORDS = {"integer": "whole number", "number": "number", "string": "text"}
REQUIRED = "???"  # as YAML has it


def command_list() -> str:
    """Every command with its purpose."""
    lines = ["usage: clickflow COMMAND [key=value ...]", ""]
    for command in COMMANDS.values():
        lines += wrapped(f"{command.name:<10} {command.purpose}", 2, 13)
    return "\n".join([*lines, "", *wrapped("clickflow COMMAND --help lists its keys; clickflow -sc install=bash completes them.")])


def help_text(command: Command, overrides: Sequence[str], config_dir: str | None) -> str:
    """The help of a command; of a config group the keys of the chosen config."""
    composed = compose(command.name, overrides, config_dir, with_hydra=True)
    chosen = {str(group): name for group, name in composed.hydra.runtime.choices.items() if not str(group).startswith("hydra/")}
    with open_dict(composed):
        del composed["hydra"]
    given = plain(composed)
    values = {str(key): given.get(str(key), REQUIRED) for key in composed}
    schema = command.config_class.model_json_schema()
    lines = _Lines(schema.get("$defs", {}))
    lines.keys(schema, {key: value for key, value in values.items() if key not in chosen}, "")
    for group in sorted(chosen, key=[*values, *chosen].index):
        lines.heading(f"{group}={chosen[group]}", _purpose(group, chosen[group], config_dir), group_options(group, config_dir))
        if group in values:
            lines.keys(schema, {group: values[group]}, "")
    head = [
        *wrapped(f"{command.name}: {command.purpose}"),
        "",
        f"usage: clickflow {command.name} [group=name ...] [key=value ...]",
        *(wrapped(f"or clickflow {command.name} {command.aside_usage}", 4, 7) if command.aside else []),
        "",
        "Keys:",
    ]
    about = wrapped("--cfg job shows the composed config, -m key=a,b runs a grid, --hydra-help shows further options.")
    examples = [" \\\n".join(wrapped(f"clickflow {command.name} {arguments}", 2, 6, room=2)) for arguments in command.examples]
    return "\n".join([*head, *lines.text, "", *about, "", "Examples:", *examples])


class _Lines:
    """Lines of the help, as they come, by the definitions of a JSON schema."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self.text: list[str] = []

    def heading(self, title: str, purpose: str, options: Sequence[str]) -> None:
        """A config group."""
        self.text += ["", title, *wrapped(purpose, 2), *wrapped(f"choices: {', '.join(options)}", 2, 11)]

    def keys(self, schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str) -> None:
        """Each key of a section, those of sections within it too."""
        for key, value in values.items():
            field = schema.get("properties", {}).get(key, {})
            section = self._section(field, value)
            if section is not None:
                self.keys(section, value, f"{prefix}{key}.")
            elif "const" not in field:
                allowed = self.allowed(field)
                default = "  required" if value == REQUIRED else f"={shown(value)}"
                self.text += wrapped(f"{prefix}{key}{default}" + (f"  ({allowed})" if allowed else ""), 2, 6)
                self.text += wrapped(_plain_text(field.get("description", "")), 6)

    def allowed(self, field: Mapping[str, Any]) -> str:
        """The values that are allowed."""
        if "anyOf" in field or "oneOf" in field:
            members = [self.allowed(member) for member in field.get("anyOf") or field["oneOf"]]
            return " or ".join(dict.fromkeys(filter(None, members)))
        if "enum" in field:
            return ", ".join(map(str, field["enum"]))
        if "const" in field:
            return str(field["const"])
        match field.get("type"):
            case "null":
                return "null"
            case "boolean":
                return "true, false"
            case "array":
                return f"list of {self.allowed(field['items'])}" if "items" in field else "list"
            case "string" if field.get("format") == "path":
                return "path"
            case str(name) if name in WORDS:
                bounds = ", ".join(f"{sign} {field[bound]:g}" for bound, sign in BOUNDS.items() if bound in field)
                return f"{WORDS[name]} {bounds}".rstrip()
        return ""

    def _section(self, field: Mapping[str, Any], value: Any) -> Mapping[str, Any] | None:
        """The schema of a key that has keys of its own; None for any other."""
        if not isinstance(value, Mapping):
            return None
        if "discriminator" in field:
            named = field["discriminator"]
            name = str(value.get(named["propertyName"]))
            own = self._resolved(named["mapping"].get(name))
            return config_class(name).model_json_schema() if own is None and name in models_of_packages() else own
        if "$ref" in field:
            return self._resolved(field["$ref"])
        found = [section for member in field.get("anyOf", ()) if (section := self._section(member, value))]
        return found[0] if found else None

    def _resolved(self, reference: str | None) -> Mapping[str, Any] | None:
        return None if reference is None else self._definitions[reference.rpartition("/")[2]]


def wrapped(text: str, indent: int = 0, further: int | None = None, room: int = 0) -> list[str]:
    """A paragraph as lines that fit the terminal (80 columns where there is none), with some columns of room at their ends.

    The first line is indented by ``indent`` spaces, the others by ``further`` (None: by as many).
    """
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) - room
    rest = " " * (indent if further is None else further)
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)


def shown(value: Any) -> str:
    """A value as one writes it on a command line; of a section its keys.

    >>> print(shown(None), shown(True), shown([80, 40]), shown({"LR": 1, "Base": 2}), shown(" "))
    null true [80,40] {LR, Base} ' '
    """
    match value:
        case None | bool():
            return str(value).lower().replace("none", "null")
        case Mapping():
            return f"{{{', '.join(value)}}}"
        case list():
            return f"[{','.join(map(shown, value))}]"
        case str() if not re.fullmatch(r"[^\s,]+", value):
            return f"'{value}'"
        case _:
            return str(value)


def _purpose(group: str, choice: str, config_dir: str | None) -> str:
    """The description in a config's first lines."""
    file = group_file(group, choice, config_dir)
    lines = [] if file is None else file.read_text().splitlines()
    comments = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comments if not line.startswith("# @"))


def _plain_text(docstring: str) -> str:
    """A docstring without its markup.

    >>> _plain_text("``sparse`` updates rows, see :func:`fit`.")
    'sparse updates rows, see fit.'
    """
    return " ".join(re.sub(r":\w+:`~?([^`]*)`|``", r"\1", docstring).split())
