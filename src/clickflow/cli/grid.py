"""``train -m``: the jobs of Hydra's plain grid, grouped below a parent run.

What a job must know reaches it in an environment variable that Hydra sets for its jobs, since a launcher may run them on other machines.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clickflow.cli.hydra_internals import parsed_arguments
from clickflow.cli.overrides import given_overrides, parsed_overrides
from clickflow.runs.config import RunConfig
from clickflow.runs.grid_parents import grid_parents
from clickflow.runs.train import PartOf

VARIABLE = "CLICKFLOW_GRID"


@contextmanager
def grid(jobs: Sequence[RunConfig]) -> Iterator[list[str]]:
    """Hold the parent runs of a grid open around its jobs; yields the overrides by which the jobs find them."""
    parsed = parsed_overrides(parsed_arguments(sys.argv[1:]).overrides)
    swept = {override.get_key_element().lstrip("+"): override.get_value_string() for override in parsed if override.is_sweep_override()}
    with grid_parents(jobs, swept) as parents:
        text = json.dumps({"parents": parents, "swept": list(swept)}).replace("'", "\\'")
        yield [f"++hydra.job.env_set.{VARIABLE}='{text}'"]


def part_of_grid(config: RunConfig) -> PartOf | None:
    """The grid that this job belongs to, if it is one's."""
    if VARIABLE not in os.environ:
        return None
    known = json.loads(os.environ[VARIABLE])
    own = dict(override.partition("=")[::2] for override in given_overrides())
    values = {key: own[key] for key in known["swept"] if key in own}
    differing = "".join(f" {key.rpartition('.')[2]}={value}" for key, value in values.items() if key not in ("model", "seed"))
    label = f"{config.model.name}-seed{config.seed}{differing}"
    params = {f"grid.{key}": value for key, value in values.items()}
    return PartOf(known["parents"][str(config.tracking.experiment_name)], label, params=params)
