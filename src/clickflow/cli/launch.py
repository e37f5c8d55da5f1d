"""The door: what Hydra composes becomes one strict config here, or one list of everything that is wrong with it.

Hydra by itself stops at the first unknown key, without saying which keys there are. So plain ``key=value`` overrides are handed to it as
``++key=value``, which lets unknown keys through to the strict config; and every job of a grid is composed and checked before the first
starts.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from clickflow.cli.search_path import CONF as CONF
from clickflow.cli.search_path import REPOSITORY as REPOSITORY
from clickflow.cli.search_path import further_configs
from clickflow.config import StrictConfig, suggest, validate
from clickflow.errors import EXIT_CODE_ERROR, EXIT_CODE_INTERRUPTED, ClickflowError, ConfigError, without_passwords
from clickflow.tracking.config import TrackingConfig

LAUNCHERS = {
    "ray": "pip install 'clickflow[ray]'",
    "submitit_local": "pip install 'clickflow[slurm]'",
    "submitit_slurm": "pip install 'clickflow[slurm]'",
}
"""Launcher of an optional plugin -> what to do where it is missing."""

# The configs of all pipelines, composed here or by Hydra, name their home by it.
OmegaConf.register_new_resolver("repository", lambda path: str(REPOSITORY / path), replace=True)

Config = TypeVar("Config", bound=StrictConfig)


def launch(
    config_name: str,
    config_class: type[Config],
    main: Callable[[Config, Console], None],
    rewrite: Callable[[Sequence[str]], Sequence[str]] = list,
    check: Callable[[Sequence[str], str | None], object] | None = None,
    grid: Callable[[Sequence[Config]], AbstractContextManager[Sequence[str]]] | None = None,
) -> None:
    """Compose, check, and run a pipeline, once or for every job of a grid.

    Ends the process: 0 when all went well, 2 after an error of the user's (a job of a grid that fails costs that job only), 130 after an
    interrupt.

    Args:
        config_name: file in ``conf``.
        config_class: what the composed config becomes.
        main: what the command does with its config.
        rewrite: the command line's arguments as Hydra is to see them.
        check: raises what is wrong with a job, given its overrides and ``--config-dir``; None checks the config alone.
        grid: held around all jobs of a grid, given their configs; gives further overrides for them.
    """
    set_environment()
    console = Console(stderr=False, highlight=False)
    failed: list[str] = []
    signal.signal(signal.SIGTERM, interrupt)  # ends as Ctrl-C does: nothing half-written, exit code 130

    def run_job(composed: DictConfig) -> None:
        try:
            main(_strict(config_class, composed), console)
        except ClickflowError as error:
            report(error)
            failed.append(str(error))

    try:
        sys.argv[1:] = _ordered(rewrite(sys.argv[1:]))
        jobs = _checked_jobs(check or (lambda overrides, config_dir: _strict(config_class, compose(config_name, overrides, config_dir))))
        with grid(jobs) if grid and jobs and get_args_parser().parse_args().multirun else nullcontext([]) as further:
            sys.argv += further
            with further_configs(config_dir()):
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run_job)()
    except ClickflowError as error:
        report(error)
        failed.append(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(EXIT_CODE_INTERRUPTED)
    if failed:
        sys.exit(EXIT_CODE_ERROR)


def set_environment() -> None:
    """What libraries read from the environment, unless the user has set it; before their first use."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # bars of files nobody waits for
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's large tensors on huge pages: rows of large tables are found faster


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler: end as Ctrl-C does."""
    raise KeyboardInterrupt


def report(error: ClickflowError) -> None:
    """Print an error as a user reads it: one message, no traceback."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr)


def _strict(config_class: type[Config], composed: DictConfig) -> Config:
    return validate(config_class, plain(composed))


def plain(composed: DictConfig) -> dict[str, Any]:
    """Resolved values, without the required ones that nobody gave.

    Raises:
        ConfigError: a reference to a key that does not exist.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError(first_paragraph(error)) from error
    assert isinstance(values, dict)
    missing = {key for key in OmegaConf.missing_keys(composed) if "." not in key}
    return {str(key): value for key, value in values.items() if key not in missing}


def _ordered(arguments: Sequence[str]) -> list[str]:
    """Options before overrides: Hydra's parser refuses ``seed=1 -m model=base,din``."""
    overrides = get_args_parser().parse_intermixed_args(list(arguments)).overrides
    return [*(argument for argument in arguments if argument not in overrides), *lenient(overrides)]


def lenient(arguments: Sequence[str]) -> list[str]:
    """``key=value`` -> ``++key=value``, except for groups and Hydra's own keys.

    Hydra takes ``model=models:/…`` for a choice of the group ``model``; a URI is handed to it as ``model.uri``, which
    :data:`~clickflow.tracking.config.ModelUri` takes.
    """
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} | {"hydra"}

    def is_config_key(argument: str) -> bool:
        key = re.match(r"([A-Za-z_][\w.]*)=", argument)
        return key is not None and not key[1].startswith("hydra.") and key[1] not in groups

    uris_apart = [re.sub(r"^model=(?=['\"]?\w*:/)", "model.uri=", argument) for argument in arguments]
    return [f"++{argument}" if is_config_key(argument) else argument for argument in uris_apart]


def _checked_jobs(check: Callable[[Sequence[str], str | None], Any]) -> list[Any]:
    """What the check gives for every job of the command line; none for a call for help or information, which is left to Hydra."""
    arguments = get_args_parser().parse_args()
    if arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        return []
    jobs: list[Any] = []
    problems: list[str] = []
    for overrides in _jobs(arguments.overrides, arguments.multirun):
        try:
            jobs.append(check(overrides, arguments.config_dir))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return jobs


def _jobs(overrides: Sequence[str], multirun: bool) -> Iterator[list[str]]:
    parsed = parsed_overrides(overrides)
    sweeps = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    if sweeps and not multirun:
        raise ConfigError(f"{sweeps[0].lstrip('+')}: several values make a grid; add -m to run it")
    # Hydra warns of what it will do with a list of values; the jobs show it.
    with _faults_of_the_command_line():
        yield from (job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch)


def parsed_overrides(overrides: Sequence[str], parser: OverridesParser | None = None) -> list[Override]:
    """Each override as Hydra understands it, or as a parser with other functions does.

    Raises:
        ConfigError: an argument that is no override.
    """
    with _faults_of_the_command_line():
        return (parser or OverridesParser.create()).parse_overrides(list(overrides))


@contextmanager
def _faults_of_the_command_line() -> Iterator[None]:
    try:
        yield
    except HydraException as error:
        raise ConfigError(f"command line: {first_paragraph(error)}; write key=value, as in model.embedding_dim=32") from error


def compose(config_name: str, overrides: Sequence[str], config_dir: str | None) -> DictConfig:
    """A pipeline's config as Hydra composes it.

    Raises:
        ConfigError: a group has no such config, or Hydra cannot set a key.
    """
    GlobalHydra.instance().clear()
    try:
        with further_configs(config_dir), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides))
    except MissingConfigException as error:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        what_to_do = LAUNCHERS.get(choice) if group == "hydra/launcher" else None
        what_to_do = what_to_do or suggest(choice, list(error.options or []))
        raise ConfigError(f"{group or config_name} = {choice}: no such config; {what_to_do}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_paragraph(error)) from error
    finally:
        GlobalHydra.instance().clear()


def first_paragraph(error: Exception) -> str:
    """What is wrong, without the advice that libraries add."""
    return str(error).strip().splitlines()[0]


def progress_printer(console: Console) -> Callable[[str], None]:
    """Print each stage as it starts."""
    return lambda stage: console.print(f"[dim]·[/] {stage} …")


def store_overrides(home: Path, tracking: TrackingConfig) -> list[str]:
    """What a command needs to find the same store, where it is not the default one; a password is for the user to fill in."""
    overrides = [] if home == Path(os.environ.get("CLICKFLOW_HOME", REPOSITORY / ".clickflow")) else [f"home={home}"]
    return overrides if tracking.uri is None else [*overrides, f"tracking.uri={without_passwords(tracking.uri)}"]


def composed_config(config_name: str, overrides: Sequence[str], config_dir: str | None = None) -> dict[str, Any]:
    """A pipeline's config with overrides, as plain values; what tests and other programs compose with."""
    return plain(compose(config_name, lenient(overrides), config_dir))


def task_overrides() -> list[str]:
    """The overrides of the job that is running."""
    return list(HydraConfig.get().overrides.task)


def config_dir() -> str | None:
    """The user's folder of further configs, as given by ``--config-dir``."""
    folder: str | None = get_args_parser().parse_args().config_dir
    return folder
