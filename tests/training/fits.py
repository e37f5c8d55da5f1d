"""A fit of a tiny model in one call, with what it told and left."""

import torch

from clickflow.models.config import DINConfig
from clickflow.training.config import AdamConfig, TrainerConfig
from clickflow.training.fit import fit, seed_everything

BATCH_SIZE = 500
MODEL = DINConfig(embedding_dim=4, hidden_units=(8,), attention_hidden_units=(6,))


class Recorder:
    """A sink that stores the metrics it receives and may interrupt the fit at a step."""

    def __init__(self, interrupt_at=None, interrupt=None):
        self.entries = []
        self.interrupt_at = interrupt_at
        self.interrupt = interrupt

    def __call__(self, metrics, step):
        if self.interrupt_at is not None and "train/loss" in metrics and step >= self.interrupt_at:
            self.interrupt_at = None
            self.interrupt()
        self.entries.append((step, dict(metrics)))

    def series(self, name):
        return [(step, metrics[name]) for step, metrics in self.entries if name in metrics]

    def values(self, name):
        return [value for _, value in self.series(name)]

    def without_speed(self):
        return [(step, metrics) for step, metrics in self.entries if "train/rows_per_second" not in metrics]


class Trained:
    """A model trained on a data set; ``choices`` are keys of the trainer's config."""

    def __init__(
        self,
        dataset,
        folder,
        *,
        seed=0,
        model=MODEL,
        optimizer=None,
        schedule=None,
        regularisation=None,
        sink=None,
        watcher=None,
        resume_from=None,
        **choices,
    ):
        self.sink = sink or Recorder()
        self.best, self.last = folder / "best.ckpt", folder / "last.ckpt"
        self.config = TrainerConfig(
            **{"batch_size": BATCH_SIZE, "progress_bar": False, "log_every_num_steps": 1, "patience": 9, "monitor": "val/log_loss"}
            | choices
        )
        seed_everything(seed)
        self.model = model.build(dataset.schema)
        self.result = fit(
            self.model,
            dataset,
            self.config,
            optimizer or AdamConfig(learning_rate=0.02),
            schedule=schedule,
            regularisation=regularisation,
            seed=seed,
            folder=folder,
            sink=self.sink,
            watcher=watcher,
            resume_from=resume_from,
        )

    def saved(self, name="last"):
        return torch.load(getattr(self, name), weights_only=True)


def steps_per_epoch(dataset):
    return -(-len(dataset.split("train")) // BATCH_SIZE)
