"""Lines that a command prints while it works, and the next command, which can be pasted as it is."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from clickflow.cli.overrides import argument, given_overrides, override_text
from clickflow.cli.search_path import REPOSITORY
from clickflow.errors import without_passwords
from clickflow.tracking.config import TrackingConfig

HOME_VARIABLE = "CLICKFLOW_HOME"


def progress_printer(console: Console) -> Callable[[str], None]:
    """Print each stage as it starts."""
    return lambda stage: console.print(f"[dim]·[/] {stage} …")


def next_command(command: str, home: Path, tracking: TrackingConfig, **values: str | bool) -> str:
    """A command on the same store as this one, bold, to be pasted into a shell."""
    arguments = [argument(key, value) if isinstance(value, str) else override_text(key, value) for key, value in values.items()]
    return f"[bold]{escape(shlex.join(['clickflow', command, *arguments, *store_overrides(home, tracking)]))}[/]"


def same_job_by(command: str) -> str:
    """Another command with the overrides of the job that is running, bold, to be pasted into a shell."""
    return f"[bold]{escape(shlex.join(['clickflow', command, *given_overrides()]))}[/]"


def ui_command(home: Path) -> str:
    """The command that shows the pages of a home folder's store."""
    return next_command("ui", home, TrackingConfig())


def or_ui(home: Path, tracking: TrackingConfig) -> str:
    """The pages as an alternative; of a server's store they are the server's own."""
    return f" or {ui_command(home)}" if tracking.uri is None else ""


def default_home() -> Path:
    """The home folder of a command that names none, as the YAML files have it."""
    return Path(os.environ.get(HOME_VARIABLE, REPOSITORY / ".clickflow"))


def store_overrides(home: Path, tracking: TrackingConfig) -> list[str]:
    """Overrides with which a command finds this store, where it is not the default one; a password is for the user to fill in."""
    overrides = [] if home == default_home() else [argument("home", str(home))]
    return overrides if tracking.uri is None else [*overrides, argument("tracking.uri", without_passwords(tracking.uri))]
