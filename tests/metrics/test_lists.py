"""Metrics within lists against a loop over all orders of the ties, torchmetrics, scikit-learn and values computed by hand."""

import math
import warnings
from itertools import permutations
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score
from torch import Tensor
from torchmetrics.retrieval import RetrievalAUROC, RetrievalMRR, RetrievalNormalizedDCG

from clickflow.metrics.headings import HEADINGS, LIST_METRICS
from clickflow.metrics.lists import CUTOFFS, list_metrics, list_scores
from clickflow.metrics.ranking import MetricUndefinedWarning, gauc

# Few lists and few distinct predictions, so that ties, one-class lists and lists of one row are common; -1 is no list.
rows = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2), st.booleans()), min_size=1, max_size=16)


def columns(drawn: list[tuple[int, int, bool]]) -> tuple[Tensor, Tensor, Tensor]:
    list_id, halves, target = zip(*drawn, strict=True)
    return torch.tensor(halves) / 2, torch.tensor(target).long(), torch.tensor(list_id)


def pages(num_rows: int, decimals: int = 7, size: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Lists of about ``size`` rows in random order; each has a click and a non-click."""
    generator = torch.Generator().manual_seed(num_rows)
    num_lists = num_rows // size
    target = (torch.rand(num_rows, generator=generator) < 0.2).long()
    list_id = torch.randint(num_lists, (num_rows,), generator=generator)
    list_id[: 2 * num_lists] = torch.arange(2 * num_lists) % num_lists
    target[: 2 * num_lists] = torch.arange(2 * num_lists) // num_lists
    preds = torch.sigmoid(torch.randn(num_rows, generator=generator) + target).round(decimals=decimals)
    order = torch.randperm(num_rows, generator=generator)
    return preds[order], target[order], list_id[order]


def quietly(preds: Tensor, target: Tensor, list_id: Tensor) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        return list_metrics(preds, target, list_id)


def orders(scores: list[float]) -> list[tuple[int, ...]]:
    """All orders of some rows that agree with their predictions."""
    by_score = sorted(range(len(scores)), key=lambda row: -scores[row])
    ranked = [scores[row] for row in by_score]
    return [order for order in permutations(range(len(scores))) if [scores[row] for row in order] == ranked]


def measured_by_loop(preds: Tensor, target: Tensor, list_id: Tensor) -> dict[str, float]:
    """Each metric by its definition, averaged over all orders of the ties; only for short lists."""
    found: dict[str, list[float]] = {name: [] for name in LIST_METRICS}
    sizes, skipped = [], 0
    for one in set(list_id.tolist()) - {-1}:
        scores, labels = preds[list_id == one].tolist(), target[list_id == one].tolist()
        clicks = sum(labels)
        if not 0 < clicks < len(labels):
            skipped += 1
            continue
        sizes.append(len(labels))
        found["list_gauc"].append(len(labels) * roc_auc_score(labels, scores))
        ranked = [[labels[row] for row in order] for order in orders(scores)]
        found["mrr"].append(fmean(1 / (1 + order.index(1)) for order in ranked))
        for k in (5, 10):
            best = sum(1 / math.log2(rank + 1) for rank in range(1, min(clicks, k) + 1))
            gains = [sum(label / math.log2(rank + 1) for rank, label in enumerate(order[:k], start=1)) for order in ranked]
            found[f"ndcg_{k}"].append(fmean(gains) / best)
    means = {name: fmean(values) if sizes else math.nan for name, values in found.items()}
    return means | {"list_gauc": sum(found["list_gauc"]) / sum(sizes) if sizes else math.nan, "lists_skipped": skipped}


@given(rows.filter(lambda drawn: max(sum(row[0] == one for row in drawn) for one in range(4)) <= 7))
def test_they_equal_the_mean_over_all_orders_of_the_ties(drawn):
    assert quietly(*columns(drawn)) == pytest.approx(measured_by_loop(*columns(drawn)), abs=1e-9, nan_ok=True)


def test_a_list_longer_than_the_cut_off_is_measured_down_to_it():
    """Eleven rows: the click is at rank 7, then at rank 11."""
    target = torch.zeros(11, dtype=torch.long)
    preds = torch.linspace(0.9, 0.1, 11)
    target[6] = 1
    found = list_metrics(preds, target, torch.zeros(11, dtype=torch.long))
    assert found == pytest.approx({"list_gauc": 0.4, "mrr": 1 / 7, "ndcg_5": 0, "ndcg_10": 1 / 3, "lists_skipped": 0})
    found = list_metrics(preds, target.roll(4), torch.zeros(11, dtype=torch.long))
    assert found == pytest.approx({"list_gauc": 0, "mrr": 1 / 11, "ndcg_5": 0, "ndcg_10": 0, "lists_skipped": 0})


@pytest.mark.parametrize("num_rows", [240, 6000])
def test_they_agree_with_torchmetrics(num_rows):
    preds, target, list_id = pages(num_rows)
    found = list_metrics(preds, target, list_id)
    expected = {"mrr": RetrievalMRR(), **{f"ndcg_{k}": RetrievalNormalizedDCG(top_k=k) for k in CUTOFFS}}
    for name, metric in expected.items():
        metric.update(preds, target, indexes=list_id)
        assert found[name] == pytest.approx(float(metric.compute()), abs=1e-6), name
    assert found["lists_skipped"] == 0


def test_lists_of_one_length_weigh_the_same_in_the_gauc_as_in_torchmetrics():
    preds, target, _ = pages(6000)
    list_id = torch.arange(6000) // 30
    metric = RetrievalAUROC(empty_target_action="skip")
    metric.update(preds, target, indexes=list_id)
    assert list_metrics(preds, target, list_id)["list_gauc"] == pytest.approx(float(metric.compute()), abs=1e-6)


@pytest.mark.parametrize("decimals", [7, 1], ids=["few ties", "many ties"])
def test_ndcg_agrees_with_scikit_learn_and_gauc_with_that_of_groups(decimals):
    preds, target, list_id = pages(2400, decimals)
    found = list_metrics(preds, target, list_id)
    for k in CUTOFFS:
        of_lists = [ndcg_score(target[None, list_id == one], preds[None, list_id == one], k=k) for one in range(200)]
        assert found[f"ndcg_{k}"] == pytest.approx(fmean(of_lists), abs=1e-9)
    assert found["list_gauc"] == pytest.approx(gauc(preds, target, list_id).value, abs=1e-12)


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_numbers_of_lists_are_irrelevant(drawn, random):
    found = quietly(*columns(drawn))
    preds, target, list_id = columns(random.sample(drawn, len(drawn)))
    renumbered = torch.where(list_id < 0, list_id, 10**12 - 7 * list_id)
    assert quietly(preds, target, renumbered) == pytest.approx(found, abs=1e-12, nan_ok=True)


@given(rows)
def test_they_are_between_0_and_1_and_a_perfect_order_is_1(drawn):
    preds, target, list_id = columns(drawn)
    for name, value in quietly(preds, target, list_id).items():
        assert math.isnan(value) or 0 <= value <= 1 or name == "lists_skipped"
    perfect = quietly((2 * target + preds) / 3, target, list_id)
    assert all(math.isnan(value) or value == 1 for name, value in perfect.items() if name != "lists_skipped")


def test_a_long_tie_is_measured_by_expectation():
    """One click among 100,000 rows with one prediction: its rank is any with equal chance."""
    target = torch.zeros(100_000, dtype=torch.long)
    target[77] = 1
    found = list_metrics(torch.full((100_000,), 0.5), target, torch.zeros(100_000, dtype=torch.long))
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, 100_001)) / 100_000, rel=1e-6)
    target[:50_000] = 1
    found = list_metrics(torch.full((100_000,), 0.5), target, torch.zeros(100_000, dtype=torch.long))
    # Nearly geometric with chance 1/2: the sum over j of 1 / (j 2^j).
    assert found["mrr"] == pytest.approx(math.log(2), abs=1e-4)


def test_rows_in_no_list_change_nothing():
    preds, target, list_id = pages(240)
    others = torch.full((50,), -1)
    joined = torch.cat([preds, torch.rand(50)]), torch.cat([target, others + 2]), torch.cat([list_id, others])
    assert list_metrics(*joined) == list_metrics(preds, target, list_id)


@pytest.mark.parametrize(
    ("list_id", "reason", "skipped"),
    [([0, 0, 1], "none of the 2 lists has both a click and a non-click", 2), ([-1, -1, -1], "no row is in a list", 0)],
)
def test_lists_that_cannot_tell_are_nan_with_one_warning(list_id, reason, skipped):
    with pytest.warns(MetricUndefinedWarning) as caught:
        found = list_metrics(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 0, 1]), torch.tensor(list_id))
    [warning] = caught
    assert str(warning.message) == f"list_gauc, mrr, ndcg_5, ndcg_10: undefined, {reason}; the value is NaN"
    assert found.pop("lists_skipped") == skipped
    assert list(found) == list(LIST_METRICS)
    assert all(math.isnan(value) for value in found.values())


def test_lists_of_one_user_share_a_cluster_and_a_list_of_several_users_is_its_own():
    """Lists 5 and 7 are of user 40, list 6 of user -3 alone, list 8 of users 40 and -3; list 9 has no click."""
    list_id = torch.tensor([5, 5, 6, 6, 7, 7, 8, 8, 9])
    user = torch.tensor([40, 40, -3, -3, 40, 40, 40, -3, 50])
    target = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0, 0]).bool()
    scores = list_scores(torch.linspace(0.1, 0.9, 9), target, user, list_id)
    five, six, seven, eight = scores.cluster.tolist()
    assert five == seven
    assert sorted({five, six, eight}) == [0, 1, 2]
    assert scores.skipped == 1


def test_bad_lists_are_refused():
    with pytest.raises(ValueError, match=r"list_id = torch\.float32 of shape \(2,\): must be an integer column of shape \(2,\)"):
        list_metrics(torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"preds = 0\.1 to 2: must be probabilities"):
        list_metrics(torch.tensor([0.1, 2.0]), torch.tensor([0, 1]), torch.tensor([0, 1]))


def test_every_metric_within_lists_has_a_heading():
    assert [HEADINGS[name] for name in LIST_METRICS] == ["GAUC by list", "MRR", "NDCG@5", "NDCG@10"]
