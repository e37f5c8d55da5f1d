"""The metric class, which collects rows and leaves the computation to functions."""

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import Tensor

from clickflow.metrics.calibration import calibration, log_loss
from clickflow.metrics.click_metrics import ClickMetrics
from clickflow.metrics.lists import list_metrics
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, gauc, pr_auc


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    preds = torch.rand(1000, generator=generator).round(decimals=2)
    target = (torch.rand(1000, generator=generator) < preds).float()
    return preds, target, torch.randint(300, (1000,), generator=generator)


def updated(rows: tuple[Tensor, Tensor, Tensor], batch_size: int) -> ClickMetrics:
    metrics = ClickMetrics()
    for batch in zip(*(column.split(batch_size) for column in rows), strict=True):
        metrics.update(*batch)
    return metrics


@pytest.mark.parametrize("batch_size", [1, 128, 1000])
def test_batches_accumulate_to_the_functions_on_the_whole(rows, batch_size):
    preds, target, group = rows
    by_user = gauc(preds, target, group)
    assert updated(rows, batch_size).compute() == {
        "auc": auc(preds, target),
        "gauc": by_user.value,
        "gauc_users_skipped": by_user.users_skipped,
        "pr_auc": pr_auc(preds, target),
        "log_loss": log_loss(preds, target),
        "calibration": calibration(preds, target),
    }
    assert by_user.users_skipped > 0


def test_rows_are_handed_out_in_order_and_concatenated_once(rows):
    metrics = updated(rows, 128)
    before = metrics.rows()
    metrics.compute()
    after = metrics.rows()
    for column, one, other in zip(rows, before[:3], after[:3], strict=True):
        assert torch.equal(one.to(column.dtype), column)
        assert one.data_ptr() == other.data_ptr()
    assert (before.target.dtype, before.group.dtype) == (torch.uint8, torch.int64)


def test_rows_go_on_accumulating_after_compute(rows):
    metrics = updated(rows, 500)
    once = metrics.compute()
    metrics.update(*rows)
    assert len(metrics.rows().preds) == 2000
    assert metrics.compute()["auc"] == pytest.approx(once["auc"], abs=1e-7)


def test_reset_forgets_all_rows(rows):
    metrics = updated(rows, 500)
    metrics.compute()
    metrics.reset()
    metrics.update(torch.tensor([0.9, 0.1]), torch.tensor([1, 0]), torch.tensor([5, 5]))
    assert metrics.rows().preds.tolist() == pytest.approx([0.9, 0.1])
    assert metrics.compute()["auc"] == 1.0


def test_before_the_first_update_everything_is_nan_without_a_warning():
    metrics = ClickMetrics()
    *columns, list_id = metrics.rows()
    assert [len(column) for column in columns] == [0, 0, 0]
    assert list_id is None
    with warnings.catch_warnings(record=True) as caught:
        values = metrics.compute()
    assert caught == []
    assert values.pop("gauc_users_skipped") == 0
    assert values.keys() == {"auc", "gauc", "pr_auc", "log_loss", "calibration"}
    assert all(math.isnan(value) for value in values.values())


def test_an_update_without_rows_is_nan_with_the_functions_warnings():
    metrics = ClickMetrics()
    metrics.update(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.long))
    with pytest.warns(MetricUndefinedWarning) as caught:
        values = metrics.compute()
    assert {str(warning.message).split(":")[0] for warning in caught} == {"auc", "gauc", "pr_auc", "log_loss", "calibration"}
    assert math.isnan(values["log_loss"])


def test_every_compute_on_one_class_warns_anew():
    metrics = ClickMetrics()
    for _ in range(2):
        metrics.update(torch.tensor([0.2]), torch.tensor([1]), torch.tensor([0]))
        with pytest.warns(MetricUndefinedWarning) as caught:
            assert math.isnan(metrics.compute()["auc"])
        assert [str(warning.message).split(":")[0] for warning in caught] == ["gauc", "auc", "pr_auc"]


def test_a_faulty_batch_is_refused_at_its_update():
    metrics = ClickMetrics()
    with pytest.raises(ValueError, match="not logits"):
        metrics.update(torch.tensor([4.2]), torch.tensor([1]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"target = 0\.5"):
        metrics.update(torch.tensor([0.2]), torch.tensor([0.5]), torch.tensor([0]))
    with pytest.raises(ValueError, match="group = "):
        metrics.update(torch.tensor([0.2]), torch.tensor([1]), torch.tensor([0.0]))
    with pytest.raises(ValueError, match=r"list_id = torch\.float32 of shape"):
        metrics.update(torch.tensor([0.2]), torch.tensor([1]), torch.tensor([0]), torch.tensor([0.0]))
    assert len(metrics.rows().preds) == 0


def test_predictions_are_kept_without_their_graph():
    logit = torch.zeros(4, requires_grad=True)
    metrics = ClickMetrics()
    metrics.update(logit.sigmoid(), torch.tensor([0, 1, 0, 1]), torch.zeros(4, dtype=torch.long))
    assert not metrics.rows().preds.requires_grad


def test_rows_are_not_part_of_a_checkpoint(rows):
    assert updated(rows, 500).state_dict() == {}


def test_copies_measure_the_same(rows):
    metrics = updated(rows, 500)
    expected = metrics.compute()
    for twin in (copy.deepcopy(metrics), pickle.loads(pickle.dumps(metrics))):
        assert twin.compute() == expected


def test_rows_of_several_processes_are_gathered_for_compute_and_given_back_after_it(rows):
    """torchmetrics calls ``dist_sync_fn`` for each state in each process; here both processes hold the same rows."""
    metrics = ClickMetrics(dist_sync_fn=lambda state, group: [state, state], distributed_available_fn=lambda: True)
    metrics.update(*rows)
    doubled = [torch.cat([column, column]) for column in rows]
    assert metrics.compute()["gauc"] == gauc(*doubled).value
    assert len(metrics.rows().preds) == 1000


def test_rows_with_lists_also_have_the_metrics_within_lists(rows):
    """Over batches and, as above, over two processes."""
    preds, target, _ = rows
    metrics = ClickMetrics()
    twice = ClickMetrics(dist_sync_fn=lambda state, group: [state, state], distributed_available_fn=lambda: True)
    list_id = torch.arange(1000) // 7 - 1
    twice.update(*rows, list_id)
    for batch in zip(*(column.split(128) for column in (*rows, list_id)), strict=True):
        metrics.update(*batch)
    values = metrics.compute()
    expected = list_metrics(preds, target, list_id)
    assert {name: values[name] for name in expected} == expected
    assert values.keys() - expected.keys() == {"auc", "gauc", "gauc_users_skipped", "pr_auc", "log_loss", "calibration"}
    assert torch.equal(metrics.rows().list_id, list_id)
    doubled = [torch.cat([column, column]) for column in (preds, target, list_id)]
    assert twice.compute()["mrr"] == list_metrics(*doubled)["mrr"]
    metrics.reset()
    assert metrics.rows().list_id is None
