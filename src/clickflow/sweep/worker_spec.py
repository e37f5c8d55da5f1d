"""What a worker is told: everything it needs, as plain data that fits into a pipe or a job of a cluster."""

from clickflow.config import FilePath, StrictConfig
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.space import SearchSpace


class WorkerSpec(StrictConfig):
    """The work on one sweep."""

    config: SweepRunConfig
    """The sweep, and what its trials share."""
    space: SearchSpace
    overrides: tuple[str, ...]
    """The command line's, from which the pipeline composes the trials' configs."""
    config_dir: str | None
    """The command line's folder of further configs."""
    parent_run_id: str
    dataset_folder: FilePath
    """The prepared data set, where it can be seen from."""
    fingerprint: str
    """Of the prepared data."""
    total: int
    """Finished trials that the sweep comes to."""
    threads: int
    """Of torch."""
    start_id: str
    """Of the command that started the workers; they stop when it says so in the study."""
