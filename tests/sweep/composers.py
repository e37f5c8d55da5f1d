"""Composers for tests: configs composed once, changed without Hydra."""

import copy
import functools

from tests.runs.small import SMALL

from clickflow.cli.compose import composed_config
from clickflow.config import flatten, validate
from clickflow.runs.config import RunConfig


@functools.cache
def _composed(overrides):
    values = composed_config("train", [*SMALL, *overrides])
    return {key: value for key, value in values.items() if key != "sweep"}


class SmallComposer:
    """The config of tests/runs/small.py; keys are set as they come."""

    def __init__(self, *overrides):
        self.overrides = overrides

    def keys(self, groups):
        values = self._base(groups)
        return set(flatten(values)) | {section for key in flatten(values) for section in _sections(key)}

    def compose(self, values):
        config = copy.deepcopy(self._base({key: value for key, value in values.items() if "." not in key}))
        for key, value in values.items():
            *sections, last = key.split(".")
            if sections:
                functools.reduce(lambda section, name: section[name], sections, config)[last] = value
        return validate(RunConfig, config)

    def _base(self, groups):
        return _composed((*self.overrides, *(f"{key}={value}" for key, value in groups.items())))


def _sections(key):
    parts = key.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}
