"""The gate: better beyond chance, by a margin, on the same rows."""

import math

import pytest
import torch

from clickflow.errors import PromotionError
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.metrics.significance import bootstrap_gauc, bootstrap_lists, delong
from clickflow.promotion.gate import Verdict, gate_verdict


def rows(signal, seed, num_rows=6000, num_users=600):
    """Rows of the same users and labels, whatever the signal and the seed of the model."""
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(num_users, (num_rows,), generator=generator)
    target = (torch.rand(num_rows, generator=generator) < 0.3).long()
    noise = torch.randn(num_rows, generator=torch.Generator().manual_seed(seed))
    return ScoredRows((signal * target + noise).sigmoid(), target, group)


def verdict(challenger, champion, metric="gauc", min_effect=0.0, alpha=0.05):
    return gate_verdict(challenger, champion, metric, min_effect=min_effect, alpha=alpha)


def in_lists(found):
    """The same rows in lists of at most 8, each of one user."""
    order = found.group.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    return found._replace(list_id=found.group * len(order) + place // 8)


@pytest.mark.parametrize("metric", ["auc", "gauc", "list_gauc", "mrr", "ndcg_5", "ndcg_10"])
def test_a_better_model_passes_and_a_worse_one_or_an_equal_one_does_not(metric):
    better, worse, equal = in_lists(rows(1.5, 1)), in_lists(rows(1.0, 2)), in_lists(rows(1.0, 3))
    assert verdict(better, worse, metric).is_passed
    assert not verdict(worse, better, metric).is_passed
    assert not verdict(worse, worse, metric).is_passed
    assert not verdict(equal, worse, metric).is_passed


def test_the_difference_is_that_of_the_paired_tests():
    challenger, champion = rows(1.1, 1), rows(1.0, 2)
    columns = challenger.preds[None], champion.preds[None], challenger.target
    assert verdict(challenger, champion, "auc", alpha=0.1).found == delong(*columns, group=challenger.group, alpha=0.1)
    assert verdict(challenger, champion, "gauc").found == bootstrap_gauc(*columns, challenger.group)
    list_id = in_lists(challenger).list_id
    expected = bootstrap_lists("mrr", *columns, challenger.group, list_id)
    found = verdict(in_lists(challenger), in_lists(champion), "mrr")
    assert found.found == expected
    assert found.difference.startswith(f"MRR {expected.difference:+.4f}, 95 % interval [")


def test_the_lower_end_must_lie_above_the_least_effect():
    challenger, champion = rows(1.5, 1), rows(1.0, 2)
    low = verdict(challenger, champion).found.low
    assert verdict(challenger, champion, min_effect=low - 1e-6).is_passed
    assert not verdict(challenger, champion, min_effect=low).is_passed


def test_a_negative_least_effect_is_a_margin_of_non_inferiority():
    challenger, champion = rows(0.99, 1), rows(1.0, 2)
    assert not verdict(challenger, champion).is_passed
    assert verdict(challenger, champion, min_effect=-0.1).is_passed


def test_a_small_alpha_has_enough_replicates_in_its_tails():
    wide, narrow = (verdict(rows(1.05, 1), rows(1.0, 2), alpha=alpha).found for alpha in (0.002, 0.2))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_rows_that_are_not_the_same_are_refused():
    champion = rows(1.0, 2)
    with pytest.raises(PromotionError, match=r"test rows: the 5,999 of the challenger and the 6,000 of the champion are not the same"):
        verdict(ScoredRows(*(column[:-1] for column in champion[:3])), champion)
    for changed in (champion._replace(target=1 - champion.target), champion._replace(group=champion.group + 1)):
        with pytest.raises(PromotionError, match="only models scored on the same rows in the same order can be compared"):
            verdict(changed, champion)


def test_rows_that_cannot_tell_do_not_pass():
    one_class = rows(1.0, 1)._replace(target=torch.zeros(6000, dtype=torch.long))
    found = verdict(one_class, one_class._replace(preds=one_class.preds.flip(0)), min_effect=-0.5)
    assert math.isnan(found.found.low)
    assert not found.is_passed
    assert "these rows cannot tell" in found.needed


def test_what_a_challenger_would_need_is_said():
    found = verdict(rows(1.1, 3), rows(1.0, 2), "auc")
    difference, low, _, _ = found.found
    assert low < 0 < difference
    assert f"{difference:+.4f}, 95 % interval [{low:+.4f}, " in found.difference
    # A quarter of the interval's width needs sixteen times the users.
    assert f"a difference above {difference - low:+.4f} on these rows" in found.needed
    assert f"about {((difference - low) / difference) ** 2:.1f} times the users" in found.needed
    worse = verdict(rows(1.0, 2), rows(1.5, 1), "auc", min_effect=0.01)
    assert worse.needed == "the lower end must lie above +0.0100; a better model is needed"
    same = rows(1.0, 1)
    assert verdict(same, same).needed == "it ranks these rows exactly as the champion does; a better model is needed"


def test_the_larger_difference_that_is_named_would_pass():
    found = verdict(rows(1.1, 3), rows(1.0, 2), "auc", min_effect=0.002)
    difference, low, high, p_value = found.found
    needed = difference - low + 0.002
    shifted = found.found._replace(difference=needed, low=low + needed - difference, high=high + needed - difference, p_value=p_value)
    assert not Verdict("auc", shifted, 0.002, 0.05).is_passed  # exactly at the least effect
    assert Verdict("auc", shifted._replace(low=shifted.low + 1e-9), 0.002, 0.05).is_passed
