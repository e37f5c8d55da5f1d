"""Placements and the variance of their means against their definitions in plain loops."""

import math
from statistics import fmean, variance

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clickflow.metrics.placements import auc_variance, clustered, twice_placements

# Few strata, users and scores, so that ties, one-class strata and users of one row are common.
rows = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40)


def columns(drawn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    preds, click, user, stratum = (torch.tensor(column) for column in zip(*drawn, strict=True))
    return preds / 4, click, user, torch.unique(stratum, return_inverse=True)[1]


def placements_by_loop(preds: Tensor, click: Tensor) -> list[float]:
    """Twice the number of rows of the other class that are on the right side of each row."""

    def wins(above: float, below: float) -> int:
        return (above > below) + (above >= below)

    scored = list(zip(preds.tolist(), click.tolist(), strict=True))
    return [sum(wins(p, q) if c else wins(q, p) for q, d in scored if c != d) for p, c in scored]


def obuchowski_by_loop(placements: list[float], click: list[bool], user: list[int]) -> float:
    """Obuchowski (1997) as defined there: S10, S01 and S11 over clusters."""
    users = sorted(set(user))
    told = list(zip(placements, click, user, strict=True))
    v10 = {u: [p for p, c, w in told if w == u and c] for u in users}
    v01 = {u: [p for p, c, w in told if w == u and not c] for u in users}
    m, n = sum(map(len, v10.values())), sum(map(len, v01.values()))
    theta = sum(map(sum, v10.values())) / m
    with_clicks, with_non_clicks = sum(map(bool, v10.values())), sum(map(bool, v01.values()))
    if min(with_clicks, with_non_clicks) < 2:
        return math.nan
    s10 = with_clicks / ((with_clicks - 1) * m) * sum((sum(v10[u]) - len(v10[u]) * theta) ** 2 for u in users)
    s01 = with_non_clicks / ((with_non_clicks - 1) * n) * sum((sum(v01[u]) - len(v01[u]) * theta) ** 2 for u in users)
    products = sum((sum(v10[u]) - len(v10[u]) * theta) * (sum(v01[u]) - len(v01[u]) * theta) for u in users)
    s11 = len(users) / (len(users) - 1) * products
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@settings(max_examples=150)
@given(rows)
def test_placements_are_those_of_the_loop_in_each_stratum(drawn):
    preds, click, _, stratum = columns(drawn)
    found = twice_placements(preds, click, stratum)
    for part in stratum.unique():
        member = stratum == part
        assert found[member].tolist() == placements_by_loop(preds[member], click[member])
    assert twice_placements(preds, click).tolist() == placements_by_loop(preds, click)


@settings(max_examples=150)
@given(rows)
def test_the_variance_of_each_stratum_is_obuchowskis(drawn):
    preds, click, user, stratum = columns(drawn)
    shares = twice_placements(preds, click, stratum).double()
    for part in stratum.unique():
        member = stratum == part
        others = torch.where(click[member], (~click[member]).sum(), click[member].sum())
        shares[member] /= 2 * others
    found = auc_variance(shares, click, *clustered(user, stratum))
    for part in stratum.unique():
        member = stratum == part
        if click[member].any() and not click[member].all():
            expected = obuchowski_by_loop(shares[member].tolist(), click[member].tolist(), user[member].tolist())
            assert float(found[part]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        else:
            assert found[part].isnan()


def test_rows_that_are_clusters_of_their_own_give_delongs_variance():
    generator = torch.Generator().manual_seed(0)
    click = torch.rand(60, generator=generator) < 0.4
    shares = torch.rand(60, generator=generator, dtype=torch.float64)
    expected = variance(shares[click].tolist()) / int(click.sum()) + variance(shares[~click].tolist()) / int((~click).sum())
    # A difference of placements has the same mean in both classes; Obuchowski's theta is that of the class.
    assert float(auc_variance(shares, click, torch.arange(60), torch.zeros(60, dtype=torch.long))) == pytest.approx(expected, rel=1e-12)


def test_a_row_repeated_three_times_counts_as_one_row():
    generator = torch.Generator().manual_seed(1)
    preds, click = torch.rand(50, generator=generator), torch.rand(50, generator=generator) < 0.5
    shares = twice_placements(preds, click).double() / (2 * torch.where(click, (~click).sum(), click.sum()))
    once = auc_variance(shares, click, torch.arange(50), torch.zeros(50, dtype=torch.long))
    thrice = auc_variance(shares.repeat(3), click.repeat(3), torch.arange(50).repeat(3), torch.zeros(50, dtype=torch.long))
    assert float(thrice) == pytest.approx(float(once), rel=1e-9)
    assert fmean(shares[click].tolist()) == pytest.approx(fmean(shares[~click].tolist()))


def test_clusters_that_do_not_differ_have_a_variance_of_exactly_zero():
    shares = torch.tensor([0.1, 0.3, 0.1, 0.3, 0.1, 0.3, 0.2, 0.2, 0.2], dtype=torch.float64)
    click = torch.tensor([True, True, True, True, True, True, False, False, False])
    cluster = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 2])
    assert float(auc_variance(shares, click, cluster, torch.zeros(3, dtype=torch.long))) == 0


def test_a_cluster_is_a_user_in_a_stratum():
    cluster, stratum = clustered(torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 0]))
    assert cluster.tolist() == [0, 1, 2, 3, 1]
    assert stratum.tolist() == [0, 0, 1, 1]
    assert np.array_equal(stratum[cluster], [0, 0, 1, 1, 0])
