"""One fit: seeded, stopped early on a validation metric, with the best weights back in the model at its end."""

import contextlib
import logging
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn

from clickflow.data.dataset import BatchLoader, PreparedDataset
from clickflow.models.contract import draws_negatives
from clickflow.training.callbacks import (
    EpochLines,
    MonitorIsDefined,
    RowsProgressBar,
    SinkLogger,
    StepMetrics,
    Throughput,
    Watched,
    WeightsAreFinite,
)
from clickflow.training.checkpoints import load_weights
from clickflow.training.config import OptimizerConfig, RegularisationConfig, ScheduleConfig, TrainerConfig
from clickflow.training.loaders import loaders
from clickflow.training.module import ClickModule
from clickflow.training.schedules import build_schedulers
from clickflow.training.watching import MetricSink, Watcher


@dataclass(frozen=True)
class FitResult:
    """Epoch of the best validation, from 0, number of epochs begun, and speed and seconds of training, validation left out."""

    best_epoch: int
    num_epochs: int
    rows_per_second: float
    seconds: float


class CheckpointFile(ModelCheckpoint):
    """One checkpoint, overwritten after a validation: the best one so far, or without a metric to monitor the last one.

    A resumed fit knows the best so far also in another folder, where Lightning's own would begin anew.
    """

    def __init__(self, folder: Path, filename: str, monitor: str | None = None, mode: Literal["min", "max"] = "min") -> None:
        super().__init__(folder, filename, monitor=monitor, mode=mode, save_on_train_epoch_end=False, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with all paths in the folder of this fit."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


def fit(
    model: nn.Module,
    dataset: PreparedDataset,
    trainer_config: TrainerConfig,
    optimizer: OptimizerConfig,
    *,
    schedule: ScheduleConfig | None = None,
    regularisation: RegularisationConfig | None = None,
    seed: int,
    folder: Path,
    sink: MetricSink,
    watcher: Watcher | None = None,
    resume_from: Path | None = None,
) -> FitResult:
    """Train a model on the train split and validate on the validation split; it holds the best weights afterwards.

    The same seed, machine and threads give identical metrics if the model was built under that seed, too. The checkpoints ``best.ckpt`` and
    ``last.ckpt`` go into ``folder``. With ``resume_from``, a ``last.ckpt`` with its ``best.ckpt`` beside it, training carries on with
    exactly the batches that would have followed. An exception that the watcher raises ends the fit and reaches the caller.

    Raises:
        TrainingError: training diverged, or there is nothing whole to resume from.
        KeyboardInterrupt: training was interrupted.
        ValueError: the regularisation does not go with the optimizer.
    """
    if regularisation is not None:
        for key, message in regularisation.contradictions_with(optimizer):
            raise ValueError(f"{key} {message}")
    train, validation = loaders(dataset, trainer_config, seed, draws_negatives=draws_negatives(model))
    if resume_from is not None:
        _check_checkpoints(resume_from, folder, model)
    throughput = Throughput()
    best = CheckpointFile(folder, "best", monitor=trainer_config.monitor, mode=trainer_config.mode)
    with _expected_warnings():
        trainer = _build_trainer(trainer_config, throughput, best, sink, watcher)
        module = ClickModule(
            model,
            optimizer,
            # Lightning's own estimate of the number of steps would set the loader up before its state is restored.
            build_schedulers=partial(build_schedulers, schedule, num_steps=len(train) * trainer_config.max_epochs, mode=trainer_config.mode)
            if schedule
            else None,
            monitor=trainer_config.monitor,
            regulariser=regularisation.build(model, dataset) if regularisation else None,
        )
        _train(trainer, module, train, validation, resume_from)
    best_epoch = load_weights(model, Path(best.best_model_path))
    return FitResult(best_epoch, trainer.current_epoch, throughput.rows_per_second, throughput.seconds)


def seed_everything(seed: int, num_threads: int | None = None) -> None:
    """Seed torch, numpy and random, and set torch's threads; before the model is built."""
    pl.seed_everything(seed, verbose=False)
    if num_threads is not None:
        torch.set_num_threads(num_threads)


def _check_checkpoints(resume_from: Path, folder: Path, model: nn.Module) -> None:
    """Check that both checkpoints are whole and of this model, and copy them, since a fit that is cut off again resumes from them."""
    folder.mkdir(parents=True, exist_ok=True)
    for checkpoint in (resume_from.with_name("best.ckpt"), resume_from):
        load_weights(model, checkpoint)
        if checkpoint.parent.resolve() != folder.resolve():
            shutil.copy(checkpoint, folder)


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    """Silence Lightning's warnings about what is meant to be as it is."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # devices, tips and reasons to stop: nothing a user acts on
    with warnings.catch_warnings():
        # Lightning's own use of torch's pytrees.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        # A resumed fit finds the best checkpoint so far in its folder.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # Its interval of logging: StepMetrics has one of its own.
        warnings.filterwarnings("ignore", message="The number of training batches")
        yield


def _build_trainer(
    config: TrainerConfig, throughput: Throughput, best: CheckpointFile, sink: MetricSink, watcher: Watcher | None
) -> pl.Trainer:
    """Lightning's trainer, with everything that watches, stops and records the fit."""
    stop = EarlyStopping(
        config.monitor,
        mode=config.mode,
        patience=config.patience,
        check_finite=False,
        check_on_train_epoch_end=False,  # after each validation, so that the checkpoint knows its outcome
    )
    callbacks: list[Any] = [
        throughput,
        MonitorIsDefined(config.monitor),
        WeightsAreFinite(),
        StepMetrics(config.log_every_num_steps),
        stop,
        best,
        CheckpointFile(Path(best.dirpath or ""), "last"),  # Lightning's own `save_last` is written only when the best one is
    ]
    if watcher is not None:
        callbacks.append(Watched(watcher, throughput))
    has_terminal = config.progress_bar and sys.stdout.isatty()
    if config.progress_bar:
        callbacks.append((RowsProgressBar if has_terminal else EpochLines)(throughput, config.monitor))
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=config.max_epochs,
        val_check_interval=1.0 / config.validations_per_epoch,
        num_sanity_val_steps=0,
        logger=SinkLogger(sink),
        callbacks=callbacks,
        enable_progress_bar=has_terminal,
        enable_model_summary=False,
        gradient_clip_val=config.gradient_clip_norm,
    )


def _train(trainer: pl.Trainer, module: ClickModule, train: BatchLoader, validation: BatchLoader, resume_from: Path | None) -> None:
    try:
        trainer.fit(module, train, validation, ckpt_path=None if resume_from is None else str(resume_from), weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit; the run's status must be true, and a subclass of KeyboardInterrupt says what came.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
