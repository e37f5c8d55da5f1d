"""``clickflow prepare --from FILE ...``: looks at a log and writes a first config of it, without Hydra."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from clickflow.cli.commands import COMMANDS
from clickflow.cli.config_files import group_file
from clickflow.cli.config_files import shown as shown_path
from clickflow.cli.help import help_text
from clickflow.cli.main import show
from clickflow.cli.misspelt import FROM
from clickflow.cli.next_command import default_home
from clickflow.config import validate
from clickflow.errors import ConfigError, system_reason
from clickflow.runs.config import PrepareConfig
from clickflow.text import counted, near_name

NAME = r"[a-z0-9_-]+"
USAGE = "clickflow prepare --from clicks.csv"


def asks_for_first_config(arguments: Sequence[str]) -> bool:
    """Whether a command line says ``--from``."""
    return any(argument.partition("=")[0] == FROM for argument in arguments)


def wrote_first_config(arguments: Sequence[str], console: Console) -> bool:
    """Write a first config if the command line asks for one, and say whether it does; see :func:`write_first_config`."""
    if not asks_for_first_config(arguments) or {"-sc", "--shell-completion"} & set(arguments):
        return False
    if {"-h", "--help"} & set(arguments):
        show(help_text(COMMANDS["prepare"], [], None))
        return True
    write_first_config(arguments, console)
    return True


def write_first_config(arguments: Sequence[str], console: Console) -> None:
    """Look at the files, write ``conf/data/NAME.yaml`` and say what was guessed.

    Raises:
        ConfigError: something else on the command line, or a name that is taken.
        DataError: a file that cannot be read.
    """
    files, name = parsed(arguments)
    name = name or _name_of(files[0])
    target = Path("conf") / "data" / f"{name}.yaml"
    _refuse_taken(name, target)
    # Polars takes a third of a second to import: not before the command line is known to be right.
    from clickflow.data.guessing.config_text import config_text
    from clickflow.data.guessing.guess import guess

    console.print(f"[dim]·[/] looking at {escape(', '.join(map(str, files)))} …", soft_wrap=True)
    found = guess(files)
    data = {"name": name, "source": "log", **found.values}
    validate(PrepareConfig, {"data": data, "protocol": {"name": found.protocol}, "home": str(default_home())}, "the guessed config")
    command = shlex.join(["clickflow", "prepare", FROM, *map(str, files)])
    _write(target, config_text(name, found, command))
    lines = summary(found.protocol, found.values, found.looked_at)
    lines += [f"left out of {file}: {', '.join(columns)}" for file, columns in found.left_out.items()] + found.remarks
    if found.questions:
        lines += [f"{counted(len(found.questions), 'open question')}:", *(f"  {question}" for question in found.questions)]
    lines.append(f"wrote {shown_path(target)}: guesses, so look at it first")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"next: [bold]{escape(shlex.join(['clickflow', 'prepare', f'data={name}']))}[/]", soft_wrap=True)


def parsed(arguments: Sequence[str]) -> tuple[list[Path], str | None]:
    """The files behind ``--from`` and the name of ``data=NAME``.

    Raises:
        ConfigError: no file, or an argument that does not belong here.
    """
    files: list[Path] = []
    name = None
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key == FROM:
            files += [Path(value)] if value else []
        elif key == "data" and equals:
            name = value
            if near_name(value, NAME) != value:
                raise ConfigError(f"data = {value}: no name for a data set; lower-case letters, digits, _ and -; choose data=my_log")
        elif argument.startswith("-") or (equals and not Path(argument).exists()):
            raise ConfigError(
                f"command line, {argument}: {FROM} takes files, and data=NAME for the name of the config; leave it out, and edit the config"
            )
        else:
            files.append(Path(argument))
    if not files:
        raise ConfigError(f"command line, {FROM}: no file; name one, as in {USAGE}")
    return list({file.resolve(): file for file in files}.values()), name


def summary(protocol: str, values: dict[str, object], looked_at: Sequence[str]) -> list[str]:
    """The guesses, a line each."""
    skipped = ("source", "path")
    lines = [f"looked at {one}" for one in looked_at] + [f"  protocol: {protocol}"]
    for key, value in values.items():
        if key == "columns" and isinstance(value, dict):
            lines += [f"  columns.{role}: {_said(column)}" for role, column in value.items()]
        elif key.endswith("_fields") and isinstance(value, dict):
            fields = ", ".join(f"{name} ({one['kind']})" for name, one in value.items())
            lines.append(f"  {key}: {fields}")
        elif key not in skipped:
            lines.append(f"  {key}: {_said(value)}")
    return lines


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    text = str(value)
    return {"None": "null", "False": "false", "True": "true"}.get(text, text if text.isprintable() and text.strip() else repr(text))


def _name_of(file: Path) -> str:
    stem = file.name.partition(".")[0] or file.name
    name = near_name(stem, NAME)
    if not name:
        raise ConfigError(f"{FROM} = {file}: its name makes no name for a data set; choose one with data=my_log")
    return name


def _refuse_taken(name: str, target: Path) -> None:
    taken = target if target.exists() else group_file("data", name, None)
    if taken is not None:
        where = shown_path(taken) if taken == target else "clickflow itself"
        raise ConfigError(
            f"data = {name}: {where} has this config already, and nothing is overwritten; choose another name with data=my_{name}"
        )


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as stream:
            try:
                stream.write(text)
                stream.flush()
            except BaseException:  # Ctrl-C, too: nothing half-written is left
                target.unlink()
                raise
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({system_reason(error)}); run the command in a folder of yours") from error
