"""How a fit runs, as a config; without Lightning, which takes seconds to import and which a wrong config must not wait for."""

from typing import Annotated, Literal

from pydantic import Field

from clickflow.config import StrictConfig

Count = Annotated[int, Field(gt=0)]


class TrainerConfig(StrictConfig):
    """How long and in which portions a model is trained."""

    max_epochs: Count = 10
    batch_size: Count = 1024
    """Rows a training step."""
    max_history: Count = 100
    """Behaviours a row, the latest ones."""
    monitor: Literal["val/auc", "val/gauc", "val/pr_auc", "val/log_loss"] = "val/gauc"
    """Decides which weights are best and when to stop."""
    patience: Count = 2
    """Validations without improvement before training stops."""
    validations_per_epoch: Count = 1
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of all gradients together; longer ones are scaled down. None does not clip."""
    log_every_num_steps: Count = 50
    """Steps between two points of loss and gradient norms."""
    num_threads: Count | None = None
    """Of torch; None leaves torch's own choice. Metrics are identical only for an equal number."""
    progress_bar: bool = True
    """A bar in a terminal, one line an epoch elsewhere; false shows neither."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the monitored metric is better low or high."""
        return "min" if self.monitor == "val/log_loss" else "max"
