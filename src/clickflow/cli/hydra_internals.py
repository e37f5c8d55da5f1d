"""Uses of Hydra beyond its public interface, all in one place, so that a new release of it is held against one file."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.grammar.grammar_functions import choice
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.types import HydraContext

from clickflow.cli.misspelt import option_fault
from clickflow.errors import ConfigError


def parsed_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options and the overrides of a command line, in any order.

    Raises:
        ConfigError: an option that does not exist, one without its value, or two that exclude each other.
    """

    def refuse(message: str) -> NoReturn:
        raise ConfigError(option_fault(arguments, list(parser._option_string_actions), message))

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(list(arguments))
    modes = [f"--{mode}" for mode in ("run", "multirun", "cfg", "info") if getattr(given, mode)]
    if len(modes) > 1:
        raise ConfigError(f"command line, {' '.join(modes)}: exclude each other; leave out all but one")
    if given.resolve and not given.cfg:
        raise ConfigError("command line, --resolve: says how --cfg shows the config; add --cfg job")
    return given


def grid_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job of a grid, as Hydra's own sweeper makes them."""
    return [list(job) for batch in BasicSweeper.split_arguments(list(overrides), None) for job in batch]


def choice_of(*values: Any) -> ChoiceSweep:
    """``choice(…)`` of Hydra's grammar, of values of any type."""
    return choice(*values)


def launch_context(config_loader: ConfigLoader, config: Any) -> HydraContext:
    """Arguments with which Hydra's launchers are made."""
    return HydraContext(config_loader=config_loader, callbacks=Callbacks(config))
