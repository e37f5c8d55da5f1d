"""Callbacks of a fit: throughput, norms of layers, finite weights, the progress bar, and the logger that passes metrics on."""

import math
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from clickflow.data.batches import Batch
from clickflow.errors import TrainingError
from clickflow.training.finite import refuse_non_finite_weights
from clickflow.training.norms import ActivationNorms, gradient_norms
from clickflow.training.watching import WATCHED, MetricSink, Watcher

CLICK_LOSS = "click_loss"
AUXILIARY_LOSS = "auxiliary_loss"
"""Parts of a training step's loss, which the module returns and :class:`StepMetrics` logs."""


class SinkLogger(Logger):
    """Passes Lightning's metrics on to a :class:`MetricSink`; the pipeline opens and closes the run."""

    name, version = "clickflow", ""  # Lightning requires both

    def __init__(self, sink: MetricSink) -> None:
        super().__init__()
        self.sink = sink

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass the metrics of a step on."""
        self.sink(metrics, step or 0)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the whole config is logged as params before the fit starts."""


class Throughput(Callback):
    """Counts rows and the seconds spent training them, validation left out."""

    def __init__(self) -> None:
        self.rows = 0
        self.seconds = 0.0
        self._since: float | None = None

    @property
    def rows_per_second(self) -> float:
        """Training rows per second so far."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Start the clock unless it is running."""
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Count a batch; the loader's time for the next batch is counted with that batch."""
        now = time.perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now
        self.rows += len(batch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self._since = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock and report; a resumed fit begins at the end of an epoch, for which it has trained no rows."""
        self._since = None
        if self.rows:
            _log(trainer, {"train/rows_per_second": self.rows_per_second, "epoch": float(trainer.current_epoch)})


class Watched(Callback):
    """Tells a :class:`Watcher` of every step and validation."""

    state_key = WATCHED

    def __init__(self, watcher: Watcher, throughput: Throughput) -> None:
        self.watcher = watcher
        self.throughput = throughput
        self.num_validations = 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Report the progress."""
        epochs = trainer.current_epoch + (batch_idx + 1) / max(1.0, float(trainer.num_training_batches))
        self.watcher.after_step(epochs, self.throughput.rows_per_second)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the metrics."""
        self.num_validations += 1
        self.watcher.after_validation(self.num_validations, {name: float(value) for name, value in trainer.callback_metrics.items()})

    def state_dict(self) -> dict[str, Any]:
        """Number of validations so far."""
        return {"num_validations": self.num_validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of validations."""
        self.num_validations = state_dict["num_validations"]


class MonitorIsDefined(Callback):
    """Stops a fit whose monitored metric is undefined on the validation split: no epoch would be better than the first."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the metric before the checkpoint is chosen."""
        value = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(value):
            raise TrainingError(
                f"trainer.monitor = {self.monitor}: is {value} on the validation split, where all rows, or all of each user or list, are "
                "of one class; it must be defined to choose the best weights; set trainer.monitor=val/log_loss or bring more validation "
                "rows."
            )


class WeightsAreFinite(Callback):
    """Stops a fit before a validation's checkpoint overwrites good weights with weights that are not finite."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the weights before the checkpoint is written; reading them costs a fraction of writing them."""
        refuse_non_finite_weights(pl_module.model, trainer.global_step)  # type: ignore[arg-type]


class StepMetrics(Callback):
    """Click loss, auxiliary loss, learning rate and every layer's gradient and activation norm, once per ``every_num_steps`` steps.

    The norms make a vanishing gradient visible; they are measured on logged steps only, so they cost next to nothing.
    """

    def __init__(self, every_num_steps: int) -> None:
        self.every_num_steps = every_num_steps
        self._activations = ActivationNorms()
        self._measured: dict[str, float] = {}

    def _is_due(self, trainer: pl.Trainer) -> bool:
        return trainer.global_step % self.every_num_steps == 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Measure activations in the next forward pass."""
        if self._is_due(trainer):
            self._activations.begin(pl_module.model)  # type: ignore[arg-type]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Stop measuring: the forward pass is over."""
        self._activations.end()

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """Measure while the gradients exist."""
        if self._is_due(trainer):
            # The rate of this step: Lightning advances schedules before the batch ends.
            rate = {"train/learning_rate": optimizer.param_groups[0]["lr"]}
            self._measured = gradient_norms(pl_module.model) | self._activations.norms() | rate  # type: ignore[arg-type]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the measurements of this step."""
        if self._measured:
            losses = {"train/loss": float(outputs[CLICK_LOSS])}
            if AUXILIARY_LOSS in outputs:
                losses["train/auxiliary_loss"] = float(outputs[AUXILIARY_LOSS])
            _log(trainer, losses | self._measured)
            self._measured = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remove the hooks after a forward pass that failed."""
        self._activations.end()


class RowsProgressBar(TQDMProgressBar):
    """Lightning's bar with rows/s and the latest validation metric, without a bar for validation."""

    def __init__(self, throughput: Throughput, monitor: str) -> None:
        super().__init__(refresh_rate=20)
        self.throughput = throughput
        self.monitor = monitor

    def init_validation_tqdm(self) -> Tqdm:
        """Make a bar that is not shown: validation is over within a second."""
        return Tqdm(disable=True)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        """Metrics at the end of the bar."""
        return {**progress_metrics(trainer, self.throughput, self.monitor)}


class EpochLines(Callback):
    """Prints one line per epoch, for log files, where a bar is of no use."""

    def __init__(self, throughput: Throughput, monitor: str) -> None:
        self.throughput = throughput
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line, unless it was printed before the fit was resumed."""
        if not self.throughput.rows:
            return
        values = progress_metrics(trainer, self.throughput, self.monitor)
        line = f"  epoch {trainer.current_epoch + 1}: " + ", ".join(f"{name} {value}" for name, value in values.items())
        try:
            print(line, flush=True)
        except BrokenPipeError as error:
            raise TrainingError("standard output: the program that read it has ended, as head does; write it to a file instead") from error


def progress_metrics(trainer: pl.Trainer, throughput: Throughput, monitor: str) -> dict[str, str]:
    """Rows/s and the latest value of the monitored metric, formatted."""
    shown = {"rows/s": f"{throughput.rows_per_second:,.0f}"}
    if monitor in trainer.callback_metrics:
        shown[monitor] = f"{float(trainer.callback_metrics[monitor]):.4f}"
    return shown


def _log(trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), trainer.global_step)
