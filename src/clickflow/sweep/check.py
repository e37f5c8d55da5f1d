"""A search space is checked before the first trial: a fault found by trial 40 would have cost 39.

Both ends of every interval and range, and every choice, are set by themselves in the config of every combination of config groups. A
contradiction of two searched values is left to the trials, which are too many to try.
"""

import json
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from clickflow.config import suggest
from clickflow.errors import ConfigError
from clickflow.runs.config import RunConfig
from clickflow.sweep.space import Composer, Interval, Parameter, SearchSpace


def check_space(space: SearchSpace, composer: Composer) -> None:
    """Every key exists, and every parameter's ends can be run.

    Raises:
        ConfigError: one line for each fault, naming key and value, and the config groups if it is not a fault with all of them.
    """
    combinations = len(space.combinations)
    known: set[str] = set()
    places: dict[str, list[dict[str, str]]] = {}  # fault -> where it is one
    applied: dict[str, int] = {}
    for groups in space.combinations:
        try:
            keys = composer.keys(groups)
            composer.compose(groups)
        except ConfigError as error:
            for fault in _faults(error):
                places.setdefault(fault, []).append(groups)
            continue
        known |= set(keys)
        for key in space.applicable(keys):
            applied[key] = applied.get(key, 0) + 1
            for fault in _faults_of_ends(key, space.parameters[key], groups, composer):
                places.setdefault(fault, []).append(groups)
    ...
