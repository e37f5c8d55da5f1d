"""Launch of a command: its arguments become strict configs, or one list of their faults, before anything heavy is imported.

Every job of a grid is composed and checked before the first starts.
"""

import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from clickflow.cli.commands import COMMANDS, Command
from clickflow.cli.compose import compose, config_groups, plain
from clickflow.cli.hydra_internals import grid_jobs, parsed_arguments
from clickflow.cli.main import show
from clickflow.cli.next_command import HOME_VARIABLE, default_home, progress_printer
from clickflow.cli.overrides import first_paragraph, lenient, override_text, parsed_overrides, quoted_argument
from clickflow.cli.search_path import CONF, folder_of_command, further_configs
from clickflow.config import validate
from clickflow.errors import EXIT_CODE_ERROR, EXIT_CODE_INTERRUPTED, ClickflowError, ConfigError, interrupt


class _CheckedJobs(dict[tuple[str, ...], Any]):
    """The checked config of each job, by its overrides. It stays in this process: a launcher that pickles it sends an empty one."""

    def __reduce__(self) -> tuple[type["_CheckedJobs"], tuple[()]]:
        return _CheckedJobs, ()


def launch(name: str, arguments: Sequence[str]) -> None:
    """Compose, check, and run a command, once or for every job of a grid.

    The process exits with 0 on success, 2 after a user's error (a failed job of a grid does not stop the others), 130 after an
    interrupt.
    """
    command, console = COMMANDS[name], Console(highlight=False)
    set_environment()
    failed: list[str] = []
    try:
        if command.aside and resolve_name(command.aside)(arguments, console):
            return
        given = _given(command, arguments)
        if given is None:
            return
        if given.cfg:  # a fault is told here, in other words than Hydra's
            [overrides] = _jobs(given.overrides, multirun=False)
            compose(name, overrides, given.config_dir)
        jobs = _CheckedJobs() if given.hydra_help or given.cfg or given.info else _checked_jobs(command, given)
        if jobs and command.heavy:
            progress_printer(console)(f"loading {command.heavy}")
        pipeline = command.pipeline if jobs else None
        folder = Path.cwd()
        # From here on an interrupt is an exception: runs are closed, nothing half-written stays.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, interrupt)

        def run_job(_: DictConfig) -> None:
            assert pipeline is not None
            overrides = tuple(HydraConfig.get().overrides.task)
            try:
                with folder_of_command(folder):
                    pipeline(jobs[overrides] if overrides in jobs else _checked(command, overrides, given.config_dir), console)
            except ClickflowError as error:
                report(error)
                failed.append(str(error))

        with command.around(list(jobs.values()), is_grid=given.multirun) as further:
            sys.argv += further
            if given.multirun:  # the default home is below the working folder, and a launcher's machine may start a job in another one
                sys.argv.append(override_text(f"++hydra.job.env_set.{HOME_VARIABLE}", str(default_home().absolute())))
            with further_configs(given.config_dir):
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(run_job)()
    except ClickflowError as error:
        report(error)
        failed.append(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(EXIT_CODE_INTERRUPTED)
    if failed:
        sys.exit(EXIT_CODE_ERROR)


def complete_or_report(arguments: Sequence[str]) -> None:
    """Answer ``clickflow -sc …``; the process ends with 2 after an error."""
    from clickflow.cli.completion import complete

    try:
        complete(arguments, None)
    except ConfigError as error:
        report(error)
        sys.exit(EXIT_CODE_ERROR)


def set_environment() -> None:
    """Set the variables that libraries read at their first use, unless the user has."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # bars of files nobody waits for
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's large tensors on huge pages: rows of large tables are found faster


def report(error: ClickflowError) -> None:
    """Print an error as a user reads it: one message, no traceback."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr)


def _given(command: Command, arguments: Sequence[str]) -> Namespace | None:
    """The command line as Hydra is to see it, which ``sys.argv`` becomes; None where it asked for help or completion and got it."""
    asked = parsed_arguments(arguments)
    if asked.shell_completion:
        from clickflow.cli.completion import complete

        complete(asked.overrides, command)
        return None
    known = config_groups(asked.config_dir)
    rewritten = parsed_arguments(command.rewritten(arguments))
    options = [argument for argument in arguments if argument not in asked.overrides]  # first: Hydra's parser refuses them after overrides
    sys.argv[1:] = [*options, *lenient(rewritten.overrides, known)]
    given = parsed_arguments(sys.argv[1:])
    if given.help:
        from clickflow.cli.help import help_text

        show(help_text(command, given.overrides, given.config_dir))
        return None
    return given


def _checked(command: Command, overrides: Sequence[str], config_dir: str | None) -> Any:
    """The checked config of a job."""
    if command.check is not None:
        return resolve_name(command.check)(overrides, config_dir)
    return validate(command.config_class, plain(compose(command.name, overrides, config_dir)))


def _checked_jobs(command: Command, given: Namespace) -> _CheckedJobs:
    """The checked config of every job of the command line, or a ConfigError with the problems of all jobs."""
    jobs, problems = _CheckedJobs(), []
    for overrides in _jobs(given.overrides, given.multirun):
        try:
            own = tuple(str(override.input_line) for override in parsed_overrides(overrides) if not override.is_hydra_override())
            jobs[own] = _checked(command, overrides, given.config_dir)
        except ConfigError as error:
            problems.append(_with_quoted_paths(str(error), overrides))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return jobs


def _jobs(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    parsed = parsed_overrides(overrides)
    if multirun:
        try:
            return grid_jobs(parsed)
        except HydraException as error:
            raise ConfigError(f"command line: {first_paragraph(error)}") from error
    for override in parsed:
        if override.is_sweep_override():
            key, text = override.get_key_element().lstrip("+"), str(override.input_line).partition("=")[2]
            one = "" if "(" in text else f", or write {quoted_argument(key, text)} if the comma belongs to one value"
            raise ConfigError(f"{key}: several values make a grid; add -m to run it{one}")
    return [list(overrides)]


def _with_quoted_paths(message: str, overrides: Sequence[str]) -> str:
    """The message, with what to write where a path was read as a number, a list or a section."""
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        fault = rf"(?m)^(  {re.escape(key)} = .*: must be a path.*|  {re.escape(key)} = .*: a path or a list of paths)$"
        message = re.sub(fault, lambda found, key=key, text=text: f"{found[0]}; if it is one, write {quoted_argument(key, text)}", message)  # type: ignore[misc]
    return message
