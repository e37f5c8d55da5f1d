"""The spec of a worker: everything it needs, as plain data for a pipe or a job of a cluster."""

from clickflow.config import FilePath, StrictConfig
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.space import SearchSpace


class WorkerSpec(StrictConfig):
    """The task of the workers of one command."""

    config: SweepRunConfig
    """The sweep, with what its trials share."""
    space: SearchSpace
    overrides: tuple[str, ...]
    """Overrides of the command line, from which the trials' configs are composed."""
    config_dir: str | None
    """Folder of further configs, from the command line."""
    parent_run_id: str
    dataset_folder: FilePath
    """Folder of the prepared data set, if this machine sees it."""
    fingerprint: str
    """Fingerprint of the prepared data."""
    total: int
    """Number of finished trials at which the sweep is complete."""
    threads: int
    """Threads of torch."""
    start_id: str
    """Id of the command that started the workers; they stop when the study's attribute ``stop`` has it."""
