"""Callbacks of a fit: throughput with a clock of the test's own, and progress as a person sees it."""

import io
import os
import re
from types import SimpleNamespace

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, random_batch

from clickflow.errors import TrainingError
from clickflow.models.config import DINConfig
from clickflow.training import callbacks
from clickflow.training.callbacks import EpochLines, RowsProgressBar, SinkLogger, Throughput, progress_metrics
from clickflow.training.config import AdamConfig, TrainerConfig
from clickflow.training.fit import fit, seed_everything


class TestThroughput:
    @pytest.fixture
    def clock(self, monkeypatch):
        clock = SimpleNamespace(now=0.0)
        monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock.now)
        return clock

    def test_it_counts_rows_and_seconds_and_leaves_validation_out(self, clock):
        throughput, entries = Throughput(), []
        trainer = SimpleNamespace(
            loggers=[SinkLogger(lambda metrics, step: entries.append((step, metrics)))], global_step=8, current_epoch=2
        )
        batch = random_batch(FULL_SCHEMA, [1] * 10)

        for seconds_of_batch, seconds_after in ((0.5, 0.1), (0.4, 0.0)):
            throughput.on_train_batch_start(None, None, batch, 0)
            clock.now += seconds_of_batch
            throughput.on_train_batch_end(None, None, None, batch, 0)
            clock.now += seconds_after  # the loader's time, counted with the batch that it makes
        throughput.on_validation_start(None, None)
        clock.now += 100.0
        throughput.on_train_batch_start(None, None, batch, 0)
        clock.now += 1.0
        throughput.on_train_batch_end(None, None, None, batch, 0)
        throughput.on_train_epoch_end(trainer, None)
        clock.now += 100.0

        assert throughput.rows == 30
        assert throughput.seconds == pytest.approx(2.0)
        assert throughput.rows_per_second == pytest.approx(15.0)
        assert entries == [(8, {"train/rows_per_second": pytest.approx(15.0), "epoch": 2.0})]

    def test_before_the_first_batch_it_is_zero(self):
        assert Throughput().rows_per_second == 0.0


def fake_throughput(rows_per_second):
    throughput = Throughput()
    throughput.rows, throughput.seconds = int(rows_per_second), 1.0
    return throughput


class TestProgress:
    def test_it_shows_rows_per_second_and_the_monitored_metric(self):
        trainer = SimpleNamespace(callback_metrics={"val/auc": torch.tensor(0.71236), "val/gauc": torch.tensor(0.5)})

        assert progress_metrics(trainer, fake_throughput(56789), "val/auc") == {"rows/s": "56,789", "val/auc": "0.7124"}
        assert RowsProgressBar(fake_throughput(56789), "val/auc").get_metrics(trainer, None) == {"rows/s": "56,789", "val/auc": "0.7124"}

    def test_before_the_first_validation_it_shows_rows_per_second_alone(self):
        assert progress_metrics(SimpleNamespace(callback_metrics={}), fake_throughput(10), "val/auc") == {"rows/s": "10"}

    def test_one_line_per_epoch_is_printed(self, capsys):
        trainer = SimpleNamespace(callback_metrics={"val/auc": torch.tensor(0.71236)}, current_epoch=2)

        EpochLines(fake_throughput(56789), "val/auc").on_train_epoch_end(trainer, None)

        assert capsys.readouterr().out == "  epoch 3: rows/s 56,789, val/auc 0.7124\n"

    def test_a_line_that_nobody_reads_any_more_is_not_taken_for_a_full_disk(self, monkeypatch):
        reads, writes = os.pipe()
        os.close(reads)
        with os.fdopen(writes, "w") as pipe:
            monkeypatch.setattr("sys.stdout", pipe)
            trainer = SimpleNamespace(callback_metrics={}, current_epoch=0)
            with pytest.raises(TrainingError, match=r"^standard output: the program that read it has ended"):
                EpochLines(fake_throughput(10), "val/auc").on_train_epoch_end(trainer, None)
            os.dup2(os.open(os.devnull, os.O_WRONLY), writes)  # so that closing it has somewhere to write what is left

    @pytest.fixture
    def short_fit(self, small_dataset, tmp_path):
        def run(**choices):
            seed_everything(0)
            model = DINConfig(embedding_dim=4, hidden_units=(8,), attention_hidden_units=(6,)).build(small_dataset.schema)
            config = TrainerConfig(max_epochs=2, batch_size=500, monitor="val/auc", **choices)
            entries = []
            fit(model, small_dataset, config, AdamConfig(), seed=0, folder=tmp_path, sink=lambda metrics, step: entries.append(metrics))
            return [metrics["val/auc"] for metrics in entries if "val/auc" in metrics]

        return run

    def test_a_fit_in_a_log_file_prints_one_line_per_epoch(self, short_fit, capsys):
        values = short_fit()

        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert [re.sub(r"[\d,]+,", "N,", line) for line in lines] == [
            f"  epoch {epoch}: rows/s N, val/auc {value:.4f}" for epoch, value in enumerate(values, start=1)
        ]
        assert err == ""

    def test_a_fit_in_a_terminal_shows_a_bar_with_rows_per_second_and_the_monitored_metric(self, short_fit, monkeypatch):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)

        values = short_fit()

        assert re.search(rf"Epoch 1: 100%.* 8/8 .*rows/s=[\d,]+, val/auc={values[-1]:.4f}", terminal.getvalue())
        assert "Validation" not in terminal.getvalue()

    def test_no_progress_is_shown_where_none_is_asked_for(self, short_fit, capfd):
        short_fit(progress_bar=False)

        assert capfd.readouterr() == ("", "")


def test_activations_are_measured_on_logged_steps_only_and_no_hook_is_left(small_dataset, tmp_path):
    seed_everything(0)
    model = DINConfig(embedding_dim=4, hidden_units=(8,), attention_hidden_units=(6,)).build(small_dataset.schema)
    config = TrainerConfig(max_epochs=1, batch_size=500, log_every_num_steps=3, progress_bar=False)
    hooks, entries = [], []
    forward = model.mlp.forward
    model.mlp.forward = lambda inputs: hooks.append(len(model.mlp.layers[0]._forward_hooks)) or forward(inputs)

    fit(model, small_dataset, config, AdamConfig(), seed=0, folder=tmp_path, sink=lambda metrics, step: entries.append((step, metrics)))

    steps = [step for step, metrics in entries if "activation_norm/mlp.layers.0" in metrics]
    assert steps == [1, 4, 7]
    assert [number for number, count in enumerate(hooks, start=1) if count] == [1, 4, 7]
    assert not [name for name, module in model.named_modules() if module._forward_hooks]


class TestSinkLogger:
    def test_it_passes_metrics_and_steps_on(self):
        entries = []
        logger = SinkLogger(lambda metrics, step: entries.append((step, metrics)))

        logger.log_metrics({"a": 1.0}, 7)
        logger.log_metrics({"b": 2.0})

        assert entries == [(7, {"a": 1.0}), (0, {"b": 2.0})]
