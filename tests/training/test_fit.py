"""Whole fits of a tiny model: best weights, early stopping, checkpoints, determinism, resume, interruption, divergence."""

import json
import os
import shutil
import signal
from typing import get_args

import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from tests.training.fits import MODEL, Recorder, Trained, steps_per_epoch

from clickflow.errors import TrainingError
from clickflow.models.config import BaseConfig
from clickflow.training.checkpoints import load_weights, read_progress
from clickflow.training.config import (
    AdamConfig,
    ConstantConfig,
    CosineConfig,
    ExponentialConfig,
    MomentumConfig,
    OptimizerConfig,
    PlateauConfig,
    RegularisationConfig,
    SGDConfig,
    TrainerConfig,
)
from clickflow.training.fit import seed_everything
from clickflow.training.inference import predict_batches
from clickflow.training.loaders import evaluation_loader, loaders
from clickflow.training.watching import Pruned


def assert_equal_states(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def weights_in(checkpoint):
    return {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items()}


@pytest.fixture(scope="module")
def overfitted(small_dataset, tmp_path_factory):
    """A fit in which validation has become worse for two epochs."""
    return Trained(
        small_dataset, tmp_path_factory.mktemp("overfitted"), max_epochs=30, patience=2, optimizer=AdamConfig(learning_rate=0.05)
    )


@pytest.fixture(scope="module")
def first(small_dataset, tmp_path_factory):
    """A fit of two epochs with seed 0."""
    return Trained(small_dataset, tmp_path_factory.mktemp("first"), max_epochs=2, model=BaseConfig(embedding_dim=4, dropout=0.2))


@pytest.fixture(scope="module")
def whole(small_dataset, tmp_path_factory):
    """An uninterrupted fit of three epochs."""
    return Trained(small_dataset, tmp_path_factory.mktemp("whole"), max_epochs=3, validations_per_epoch=2)


class TestWhatAFitLeaves:
    def test_training_stops_when_validation_has_not_improved_for_as_long_as_patience(self, overfitted):
        losses = overfitted.sink.values("val/log_loss")
        best = losses.index(min(losses))

        assert len(losses) < 30
        assert len(losses) == best + 1 + 2
        assert overfitted.result.num_epochs == len(losses)
        assert overfitted.result.best_epoch == best

    def test_the_best_weights_are_restored_and_not_the_last_ones(self, overfitted, small_dataset):
        preds, label, _ = predict_batches(overfitted.model, evaluation_loader(small_dataset, "validation", overfitted.config))
        losses = overfitted.sink.values("val/log_loss")

        assert log_loss(label, preds.double()) == pytest.approx(min(losses), rel=1e-5)
        assert losses[-1] > min(losses)

    def test_both_checkpoints_exist_and_load_without_running_code(self, overfitted):
        best, last = overfitted.saved("best"), overfitted.saved("last")

        assert sorted(path.name for path in overfitted.best.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
        assert_equal_states(weights_in(best), overfitted.model.state_dict())
        assert (best["epoch"], last["epoch"]) == (overfitted.result.best_epoch, overfitted.result.num_epochs - 1)
        first_layer = "activation_unit.first.weight"
        assert not torch.equal(weights_in(best)[first_layer], weights_in(last)[first_layer])

    def test_validation_metrics_are_those_of_scikit_learn(self, overfitted, small_dataset):
        preds, label, _ = predict_batches(overfitted.model, evaluation_loader(small_dataset, "validation", overfitted.config))

        assert overfitted.sink.values("val/auc")[overfitted.result.best_epoch] == pytest.approx(roc_auc_score(label, preds), abs=1e-6)

    def test_metrics_reach_the_sink_with_their_names_and_steps(self, overfitted, small_dataset):
        sink, num_steps = overfitted.sink, steps_per_epoch(small_dataset)
        num_epochs = overfitted.result.num_epochs

        for name in (
            "train/loss",
            "train/learning_rate",
            "gradient_norm/activation_unit.first",
            "gradient_norm/embeddings.item_tables.item",
        ):
            assert [step for step, _ in sink.series(name)] == list(range(1, num_epochs * num_steps + 1)), name
        for name in ("auc", "gauc", "gauc_users_skipped", "pr_auc", "log_loss", "calibration"):
            assert len(sink.series(f"val/{name}")) == num_epochs, name
        assert [step for step, _ in sink.series("train/rows_per_second")] == [num_steps * (epoch + 1) for epoch in range(num_epochs)]
        assert set(sink.values("train/learning_rate")) == {0.05}
        assert all(value > 0 for value in sink.values("train/rows_per_second"))

    def test_speed_counts_all_training_rows(self, overfitted, small_dataset):
        rows = overfitted.result.num_epochs * len(small_dataset.split("train"))

        assert overfitted.result.rows_per_second * overfitted.result.seconds == pytest.approx(rows)

    def test_training_loss_falls(self, overfitted, small_dataset):
        losses = overfitted.sink.values("train/loss")

        assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


@pytest.mark.parametrize("monitor", ["val/auc", "val/gauc", "val/pr_auc", "val/log_loss"])
def test_the_monitored_metric_decides_what_is_best(small_dataset, tmp_path, monitor):
    trained = Trained(small_dataset, tmp_path, monitor=monitor, max_epochs=4)

    values = trained.sink.values(monitor)
    best = min(values) if monitor == "val/log_loss" else max(values)

    assert trained.result.best_epoch == values.index(best)


def test_metrics_are_logged_every_so_many_steps(small_dataset, tmp_path):
    trained = Trained(small_dataset, tmp_path, log_every_num_steps=3, max_epochs=2)

    steps = [step for step, _ in trained.sink.series("train/loss")]

    assert steps == list(range(1, 2 * steps_per_epoch(small_dataset) + 1, 3))


@pytest.mark.parametrize("embedding_update", ["sparse", "dense"])
@pytest.mark.parametrize("config_class", get_args(get_args(OptimizerConfig)[0]), ids=lambda config: config.model_fields["name"].default)
def test_every_optimizer_trains_without_a_warning(small_dataset, tmp_path, config_class, embedding_update):
    optimizer = config_class(embedding_update=embedding_update)
    losses = Trained(small_dataset, tmp_path, optimizer=optimizer, max_epochs=2).sink.values("train/loss")

    assert sum(losses[-4:]) < sum(losses[:4])


def test_clipped_gradients_bound_how_far_a_step_goes(small_dataset, tmp_path):
    """The bound holds for all parameters together, tables included."""
    seed_everything(0)
    start = MODEL.build(small_dataset.schema)
    trained = Trained(small_dataset, tmp_path, max_epochs=1, gradient_clip_norm=1e-3, optimizer=SGDConfig(learning_rate=0.5))

    moved = [(p - q).detach().norm() for p, q in zip(trained.model.parameters(), start.parameters(), strict=True)]
    furthest = steps_per_epoch(small_dataset) * 0.5 * 1e-3
    assert 0.3 * furthest < float(torch.stack(moved).norm()) <= furthest * 1.001


def test_a_fit_warns_of_nothing_with_the_default_number_of_steps_and_validations_within_an_epoch(small_dataset, tmp_path):
    trained = Trained(small_dataset, tmp_path, log_every_num_steps=50, max_epochs=1, validations_per_epoch=4)

    assert len(trained.sink.series("val/auc")) == 4


class TestSeeds:
    def again(self, dataset, folder, seed):
        return Trained(dataset, folder, max_epochs=2, model=BaseConfig(embedding_dim=4, dropout=0.2), seed=seed)

    def test_the_same_seed_gives_identical_metrics_and_weights(self, first, small_dataset, tmp_path):
        again = self.again(small_dataset, tmp_path, seed=0)

        assert json.dumps(again.sink.without_speed()) == json.dumps(first.sink.without_speed())
        assert_equal_states(again.model.state_dict(), first.model.state_dict())

    def test_another_seed_gives_other_metrics_and_weights(self, first, small_dataset, tmp_path):
        other = self.again(small_dataset, tmp_path, seed=1)

        assert other.sink.values("val/auc") != first.sink.values("val/auc")


@pytest.mark.slow
class TestResume:
    def assert_the_same(self, resumed, whole):
        assert_equal_states(weights_in(resumed.saved("last")), weights_in(whole.saved("last")))
        assert_equal_states(resumed.model.state_dict(), whole.model.state_dict())
        assert resumed.result.best_epoch == whole.result.best_epoch
        first_step = resumed.sink.entries[0][0]
        expected = [entry for entry in whole.sink.without_speed() if entry[0] >= first_step]
        assert json.dumps(resumed.sink.without_speed()) == json.dumps(expected)

    @pytest.mark.parametrize("num_epochs", [1, 2])
    @pytest.mark.parametrize("same_folder", [True, False])
    def test_epochs_in_two_goes_equal_those_in_one(self, whole, small_dataset, tmp_path, num_epochs, same_folder):
        first = Trained(small_dataset, tmp_path / "first", max_epochs=num_epochs, validations_per_epoch=2)

        folder = tmp_path / ("first" if same_folder else "second")
        resumed = Trained(small_dataset, folder, max_epochs=3, validations_per_epoch=2, resume_from=first.last, seed=0)

        self.assert_the_same(resumed, whole)
        assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}

    def test_cut_off_before_its_first_checkpoint_it_goes_on_from_where_it_began(self, whole, small_dataset, tmp_path):
        first = Trained(small_dataset, tmp_path / "first", max_epochs=1, validations_per_epoch=2)
        interrupted = Recorder(interrupt_at=steps_per_epoch(small_dataset) + 1, interrupt=_raise_interrupt)
        settings = {"max_epochs": 3, "validations_per_epoch": 2}
        with pytest.raises(KeyboardInterrupt):
            Trained(small_dataset, tmp_path / "second", sink=interrupted, resume_from=first.last, **settings)

        resumed = Trained(small_dataset, tmp_path / "third", resume_from=tmp_path / "second" / "last.ckpt", **settings)

        self.assert_the_same(resumed, whole)

    def interrupted_and_resumed(self, dataset, folder, **choices):
        """Resume a fit that was interrupted after a validation in the middle of the second epoch of three."""
        interrupted = Recorder(interrupt_at=steps_per_epoch(dataset) * 3 // 2 + 2, interrupt=_raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            Trained(dataset, folder, max_epochs=3, validations_per_epoch=2, sink=interrupted, **choices)
        resumed = Trained(dataset, folder, max_epochs=3, validations_per_epoch=2, resume_from=folder / "last.ckpt", **choices)
        assert resumed.sink.entries[0][0] == steps_per_epoch(dataset) * 3 // 2 + 1
        return resumed

    def test_an_interrupt_after_a_validation_within_an_epoch_loses_nothing(self, whole, small_dataset, tmp_path):
        self.assert_the_same(self.interrupted_and_resumed(small_dataset, tmp_path), whole)

    @pytest.mark.parametrize(
        "choices",
        [
            {"schedule": ConstantConfig(warmup_steps=14)},
            {"schedule": ExponentialConfig(decay_rate=0.5, decay_steps=7, warmup_steps=3)},
            {"schedule": CosineConfig(final_fraction=0.1)},
            # No validation is better than the first, so the rate falls at each later one.
            {"schedule": PlateauConfig(factor=0.7, warmup_steps=14), "optimizer": SGDConfig(learning_rate=1e-4), "monitor": "val/pr_auc"},
            {"model": BaseConfig(embedding_dim=4, dropout=0.3)},
            {
                "optimizer": MomentumConfig(learning_rate=0.05),
                "regularisation": RegularisationConfig(embedding="mini_batch_aware", embedding_lambda=0.01, dense_l1=1e-4, dense_l2=1e-4),
                "gradient_clip_norm": 0.2,
            },
        ],
        ids=["warmup", "exponential", "cosine", "plateau", "dropout", "regularisation and clipping"],
    )
    def test_schedules_dropout_and_penalties_continue_as_if_uninterrupted(self, small_dataset, tmp_path, choices):
        in_one_go = Trained(small_dataset, tmp_path / "whole", max_epochs=3, validations_per_epoch=2, **choices)

        resumed = self.interrupted_and_resumed(small_dataset, tmp_path / "interrupted", **choices)

        self.assert_the_same(resumed, in_one_go)
        rates = in_one_go.sink.values("train/learning_rate")
        assert (len(set(rates)) > 3) == ("schedule" in choices)

    def test_the_best_so_far_stays_the_best_if_the_resumed_epochs_are_worse(self, overfitted, small_dataset, tmp_path):
        resumed = Trained(
            small_dataset,
            tmp_path,
            max_epochs=overfitted.result.num_epochs + 1,
            patience=9,
            optimizer=AdamConfig(learning_rate=0.05),
            resume_from=overfitted.last,
        )

        assert len(resumed.sink.values("val/log_loss")) == 1
        assert resumed.sink.values("val/log_loss")[0] > min(overfitted.sink.values("val/log_loss"))
        assert resumed.result.best_epoch == overfitted.result.best_epoch
        assert_equal_states(resumed.model.state_dict(), overfitted.model.state_dict())

    def test_patience_counts_across_the_interruption(self, small_dataset, tmp_path, overfitted):
        """Two epochs without improvement stop training, the first of them before and the second after the interruption."""
        best = overfitted.result.best_epoch
        choices = {"patience": 2, "optimizer": AdamConfig(learning_rate=0.05)}
        first = Trained(small_dataset, tmp_path, max_epochs=best + 2, **choices)
        resumed = Trained(small_dataset, tmp_path, max_epochs=30, resume_from=first.last, **choices)

        assert resumed.result.num_epochs == overfitted.result.num_epochs

    def test_a_finished_training_resumed_changes_nothing(self, whole, small_dataset, tmp_path):
        again = Trained(small_dataset, tmp_path, max_epochs=3, validations_per_epoch=2, resume_from=whole.last)

        assert again.sink.values("train/loss") == []
        assert_equal_states(again.model.state_dict(), whole.model.state_dict())

    def test_it_does_not_print_or_log_the_speed_of_the_epoch_it_resumes(self, whole, small_dataset, tmp_path, capsys):
        first = Trained(small_dataset, tmp_path, max_epochs=1)
        resumed = Trained(small_dataset, tmp_path, max_epochs=2, resume_from=first.last, progress_bar=True)

        assert len(resumed.sink.values("train/rows_per_second")) == 1
        assert capsys.readouterr().out.count("epoch") == 1

    @pytest.mark.parametrize("damaged", ["best.ckpt", "last.ckpt"])
    def test_a_missing_checkpoint_is_refused(self, whole, small_dataset, tmp_path, damaged):
        folder = shutil.copytree(whole.last.parent, tmp_path / "copy")
        (folder / damaged).unlink()

        with pytest.raises(TrainingError, match=rf"checkpoint {damaged}: cannot be loaded \(.*No such file.*\); it must be whole"):
            Trained(small_dataset, tmp_path / "new", resume_from=folder / "last.ckpt")

    def test_a_checkpoint_of_another_model_is_refused(self, whole, small_dataset, tmp_path):
        with pytest.raises(TrainingError, match=r"checkpoint best.ckpt: cannot be loaded \(.*\); it must be whole and of this model"):
            Trained(small_dataset, tmp_path, model=BaseConfig(), resume_from=whole.last)


def _raise_interrupt():
    raise KeyboardInterrupt


def _press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


class TestInterrupt:
    @pytest.mark.parametrize("interrupt", [_raise_interrupt, _press_ctrl_c])
    def test_it_comes_out_as_an_interrupt(self, small_dataset, tmp_path, interrupt):
        with pytest.raises(KeyboardInterrupt):
            Trained(small_dataset, tmp_path, max_epochs=50, sink=Recorder(interrupt_at=3, interrupt=interrupt))

    def test_it_comes_out_as_the_kind_of_interrupt_it_was(self, small_dataset, tmp_path):
        class Terminated(KeyboardInterrupt):
            pass

        def terminate():
            raise Terminated("SIGTERM")

        with pytest.raises(Terminated, match="SIGTERM"):
            Trained(small_dataset, tmp_path, sink=Recorder(interrupt_at=3, interrupt=terminate))

    def test_a_second_ctrl_c_works_afterwards(self, small_dataset, tmp_path):
        """Lightning ignores SIGINT only while it shuts down."""
        before = signal.getsignal(signal.SIGINT)
        assert before is not signal.SIG_IGN

        with pytest.raises(KeyboardInterrupt):
            Trained(small_dataset, tmp_path, sink=Recorder(interrupt_at=3, interrupt=_press_ctrl_c))

        assert signal.getsignal(signal.SIGINT) is before

    def test_an_exit_asked_for_by_someone_else_stays_an_exit(self, small_dataset, tmp_path):
        def leave():
            raise SystemExit(7)

        with pytest.raises(SystemExit, match="7"):
            Trained(small_dataset, tmp_path, sink=Recorder(interrupt_at=3, interrupt=leave))

    def test_a_failing_sink_comes_out_as_it_is(self, small_dataset, tmp_path):
        def fail():
            raise OSError("the store is gone")

        with pytest.raises(OSError, match="the store is gone"):
            Trained(small_dataset, tmp_path, sink=Recorder(interrupt_at=3, interrupt=fail))


class TestDivergence:
    def test_a_loss_that_is_not_finite_ends_training_at_once(self, small_dataset, tmp_path):
        message = r"training at step 2, loss = (nan|inf): training diverged; it must be finite; first in .*; lower optimizer.learning_rate"
        sink = Recorder()

        with pytest.raises(TrainingError, match=message):
            Trained(small_dataset, tmp_path, optimizer=AdamConfig(learning_rate=1e30), sink=sink, log_every_num_steps=1000)
        assert all(torch.isfinite(torch.tensor(loss)) for loss in sink.values("train/loss"))

    def test_after_the_last_step_it_is_seen_in_validation(self, small_dataset, tmp_path):
        message = r"validation at step 1, preds = nan: training diverged; it must be finite; first in .*; lower optimizer.learning_rate"

        with pytest.raises(TrainingError, match=message):
            Trained(small_dataset, tmp_path, optimizer=AdamConfig(learning_rate=1e30), batch_size=5_000)


class TestLoadWeights:
    @pytest.mark.parametrize(
        "damage",
        [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"not a checkpoint", lambda whole: b"\x80\x02a."],
        ids=["empty", "cut off", "text", "another pickle"],
    )
    def test_a_damaged_file_is_refused(self, overfitted, tmp_path, damage):
        checkpoint = tmp_path / "best.ckpt"
        checkpoint.write_bytes(damage(overfitted.best.read_bytes()))

        with pytest.raises(
            TrainingError, match=r"checkpoint best.ckpt: cannot be loaded \(.+\); it must be whole and of this model; train"
        ):
            load_weights(overfitted.model, checkpoint)

    def test_it_gives_the_epoch(self, overfitted):
        assert load_weights(overfitted.model, overfitted.best) == overfitted.result.best_epoch


class TestLoaders:
    def test_train_is_shuffled_by_the_seed_and_validation_keeps_its_order(self, small_dataset):
        config = TrainerConfig(batch_size=300, max_history=5)
        train, validation = loaders(small_dataset, config, seed=3)

        assert (train.batch_size, train.max_history, train.seed) == (300, 5, 3)
        assert (validation.max_history, validation.seed) == (5, None)
        assert len(train.split) == len(small_dataset.split("train"))
        assert len(validation.split) == len(small_dataset.split("validation"))

    def test_the_cap_on_histories_reaches_the_batches(self, small_dataset):
        train, validation = loaders(small_dataset, TrainerConfig(max_history=2), seed=0)

        for loader in (train, validation):
            assert max(int(batch.lengths.max()) for batch in loader) == 2


def test_seeding_also_sets_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        seed_everything(5, num_threads=1)
        first = torch.rand(3)
        assert torch.get_num_threads() == 1
        seed_everything(5)
        assert torch.equal(torch.rand(3), first)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Notes:
    """A watcher that records its calls and may end the fit at a validation."""

    def __init__(self, prune_at=None):
        self.epochs, self.validations, self.prune_at = [], [], prune_at

    def after_step(self, epochs, rows_per_second):
        self.epochs.append(epochs)

    def after_validation(self, number, metrics):
        self.validations.append((number, metrics["val/auc"]))
        if number == self.prune_at:
            raise Pruned


class TestWatching:
    def test_every_step_and_validation_is_reported(self, small_dataset, tmp_path):
        notes = Notes()
        trained = Trained(small_dataset, tmp_path, max_epochs=2, validations_per_epoch=2, watcher=notes)
        steps = steps_per_epoch(small_dataset)
        assert notes.epochs == pytest.approx([(step + 1) / steps for step in range(2 * steps)])
        assert notes.validations == list(enumerate(trained.sink.values("val/auc"), start=1))

    def test_a_pruned_fit_ends_there_and_says_so(self, small_dataset, tmp_path):
        notes = Notes(prune_at=2)
        with pytest.raises(Pruned):
            Trained(small_dataset, tmp_path, max_epochs=9, watcher=notes)
        assert len(notes.validations) == 2

    def test_a_resumed_fit_continues_its_count_of_validations(self, small_dataset, tmp_path):
        first = Trained(small_dataset, tmp_path / "first", max_epochs=2, validations_per_epoch=2, watcher=Notes())
        assert read_progress(first.last) == (2 * steps_per_epoch(small_dataset), 4)
        notes = Notes()
        resume_from = first.last
        Trained(small_dataset, tmp_path / "second", max_epochs=3, validations_per_epoch=2, watcher=notes, resume_from=resume_from)
        assert [number for number, _ in notes.validations] == [5, 6]

    def test_the_progress_of_a_damaged_checkpoint_is_refused(self, tmp_path):
        (tmp_path / "last.ckpt").write_bytes(b"damaged")
        with pytest.raises(TrainingError, match=r"checkpoint last\.ckpt: cannot be loaded"):
            read_progress(tmp_path / "last.ckpt")
