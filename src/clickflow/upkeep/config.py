"""Config of a clean-up: what it keeps, and which runs it takes for dead."""

from typing import Annotated

from pydantic import Field

from clickflow.config import Home, StrictConfig
from clickflow.tracking.config import TrackingConfig


class CleanupConfig(StrictConfig):
    """Limits of what is kept, and signs of a dead run."""

    keep_best: Annotated[int, Field(ge=1)] = 3
    """Trials of each finished sweep whose checkpoints are kept, the best ones."""
    silent_hours: Annotated[float, Field(gt=0)] | None = None
    """Hours without a new metric after which a RUNNING run of another machine, or of an unknown process, is closed; null: never."""
    dry_run: bool = False
    """Say what would be done and do nothing."""
    home: Home
    tracking: TrackingConfig
