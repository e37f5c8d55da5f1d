"""What is used of Hydra beyond its public interface, all in one place, so that a new release of it is held against one file."""

import argparse
from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.grammar.grammar_functions import choice
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.types import HydraContext


def parsed_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options and the overrides of a command line, in any order."""
    parser = get_args_parser()
    parser.prog = "clickflow"
    return parser.parse_intermixed_args(list(arguments))


def grid_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job of a grid, as Hydra's own sweeper makes them."""
    return [list(job) for batch in BasicSweeper.split_arguments(list(overrides), None) for job in batch]


def choice_of(*values: Any) -> ChoiceSweep:
    """``choice(…)`` of Hydra's grammar, of values of any type."""
    return choice(*values)


def launch_context(config_loader: ConfigLoader, config: Any) -> HydraContext:
    """Arguments with which Hydra's launchers are made."""
    return HydraContext(config_loader=config_loader, callbacks=Callbacks(config))
