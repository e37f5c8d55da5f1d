"""The only LightningModule, for all models: click loss plus the model's auxiliary loss, metrics on whole validation epochs."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from clickflow.data.batches import Batch
from clickflow.metrics.click_metrics import ClickMetrics
from clickflow.training.callbacks import AUXILIARY_LOSS, CLICK_LOSS
from clickflow.training.config import OptimizerConfig
from clickflow.training.finite import refuse_non_finite
from clickflow.training.optimizers import DenseAndSparse, build_optimizer
from clickflow.training.regularisation import Regulariser
from clickflow.training.sparse_gradients import clip_gradient_norm

RNG_STATE = "rng_state"


class ClickModule(pl.LightningModule):
    """Training of any model ``Batch -> ModelOutput``."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerConfig,
        *,
        build_schedulers: Callable[[Optimizer], list[LRScheduler]] | None = None,
        monitor: str = "val/gauc",
        regulariser: Regulariser | None = None,
    ) -> None:
        """Combine the parts of a training step; ``monitor`` is the metric that a plateau schedule watches."""
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.build_schedulers = build_schedulers
        self.monitor = monitor
        self.regulariser = regulariser
        self.metrics = ClickMetrics()
        self._schedulers: list[LRScheduler] = []

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Losses of one batch: the minimised one under Lightning's name ``loss``, and its parts."""
        output = self.model(batch)
        assert batch.label is not None
        click_loss: Tensor = F.binary_cross_entropy_with_logits(output.logit, batch.label)
        losses = {"loss": click_loss, CLICK_LOSS: click_loss.detach()}
        if output.auxiliary_loss is not None:
            losses |= {"loss": click_loss + output.auxiliary_loss, AUXILIARY_LOSS: output.auxiliary_loss.detach()}
        refuse_non_finite(losses["loss"], f"training at step {self.global_step + 1}, loss", self.model, batch)
        return losses

    def on_after_backward(self) -> None:
        """Add the gradients of the penalties."""
        if self.regulariser is not None:
            self.regulariser.add_gradients()

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip over dense and sparse gradients together, which Lightning's own clipping cannot."""
        if gradient_clip_val is not None:
            clip_gradient_norm(self.model.parameters(), gradient_clip_val)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect the predictions of one batch."""
        assert batch.label is not None
        assert batch.group is not None
        preds = torch.sigmoid(self.model(batch).logit)
        refuse_non_finite(preds, f"validation at step {self.global_step}, preds", self.model, batch)
        self.metrics.update(preds, batch.label, batch.group, batch.list_id)

    def on_validation_epoch_end(self) -> None:
        """Log the ``val/...`` metrics of all rows together, and step a plateau schedule."""
        values = {f"val/{name}": float(value) for name, value in self.metrics.compute().items()}
        self.log_dict(values, logger=True)
        self.metrics.reset()
        for scheduler in self._schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(values[self.monitor])

    def configure_optimizers(self) -> tuple[list[DenseAndSparse], list[dict[str, Any]]]:  # type: ignore[override]
        """One optimizer and its schedulers."""
        optimizer = build_optimizer(self.optimizer_config, self.model)
        self._schedulers = [] if self.build_schedulers is None else self.build_schedulers(optimizer)
        configs = [{"scheduler": scheduler, "interval": "step", "reduce_on_plateau": False} for scheduler in self._schedulers]
        return [optimizer], configs

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the schedules that depend on the step alone.

        Lightning would step a plateau after writing the checkpoint of the same validation, so a resumed training would miss that step.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store torch's random state, so that dropout continues as if training had not stopped."""
        checkpoint[RNG_STATE] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore torch's random state."""
        torch.set_rng_state(checkpoint[RNG_STATE])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to a device."""
        return batch.to(device)
