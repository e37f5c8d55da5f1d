"""The one LightningModule of all models: click loss plus the model's auxiliary loss, metrics on whole validation epochs."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.metrics.click_metrics import ClickMetrics
from clickflow.training.finite import refuse_non_finite
from clickflow.training.optimizers import DenseAndSparse, OptimizerConfig, build_optimizer


class ClickModule(pl.LightningModule):
    """Trains any ``Batch -> ModelOutput``."""

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.metrics = ClickMetrics()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one batch."""
        output = self.model(batch)
        assert batch.label is not None
        loss: Tensor = F.binary_cross_entropy_with_logits(output.logit, batch.label)
        if output.auxiliary_loss is not None:
            loss = loss + output.auxiliary_loss
        refuse_non_finite(loss, f"training at step {self.global_step + 1}, loss", self.model, batch)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Gather the predictions of one batch."""
        assert batch.label is not None
        assert batch.group is not None
        preds = torch.sigmoid(self.model(batch).logit)
        refuse_non_finite(preds, f"validation at step {self.global_step}, preds", self.model, batch)
        self.metrics.update(preds, batch.label, batch.group)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/...`` of all rows at once."""
        values = {f"val/{name}": float(value) for name, value in self.metrics.compute().items()}
        self.log_dict(values, logger=True)
        self.metrics.reset()

    def configure_optimizers(self) -> DenseAndSparse:
        """One optimizer."""
        return build_optimizer(self.optimizer_config, self.model)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch."""
        return batch.to(device)
