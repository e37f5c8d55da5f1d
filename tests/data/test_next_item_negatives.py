import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.behaviours import Behaviours
from clickflow.data.item_counts import ItemCounts
from clickflow.data.next_item_negatives import Negatives, NegativeSampler, refuse_without_negatives
from clickflow.data.protocols import Interactions, NextItemConfig
from clickflow.data.rows import PartRows
from clickflow.data.splits import TEST, TRAIN, VALIDATION
from clickflow.errors import DataError

NUM_ITEMS = 8


def drawn(group, own, weights, seed=0):
    """Negatives for rows of users who own the (user, item) pairs."""
    own_keys = np.sort(np.array([user * len(weights) + item for user, item in own], np.int64))
    return NegativeSampler(np.asarray(weights), (seed,)).draw(np.asarray(group), own_keys)


def chi_square(items, expected):
    """Pearson's statistic for the counts ``expected``; checks that items with a count of 0 do not occur."""
    found = np.bincount(items, minlength=len(expected))
    assert not found[expected == 0].any()
    possible = expected > 0
    return float(((found - expected)[possible] ** 2 / expected[possible]).sum())


@given(
    own=st.lists(st.tuples(st.integers(0, 3), st.integers(0, NUM_ITEMS - 1)), min_size=1, max_size=30),
    weights=st.lists(st.integers(0, 3), min_size=NUM_ITEMS, max_size=NUM_ITEMS).filter(any),
    seed=st.integers(0, 5),
)
def test_a_negative_is_a_candidate_that_its_user_never_acted_on(own, weights, seed):
    group = np.repeat(np.arange(4), 5)
    items = drawn(group, own, weights, seed)
    for user, item in zip(group, items, strict=True):
        free = {candidate for candidate in range(NUM_ITEMS) if weights[candidate] and (user, candidate) not in own}
        assert item in free if free else item == -1


# 0.999 quantiles of chi-square with 5, 4 and 2 degrees of freedom; the seed is fixed, so the test is not flaky.
@pytest.mark.parametrize(
    ("own", "weights", "expected", "limit"),
    [
        ([(9, 0)], [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0], 20.5),
        ([(9, 0)], [1, 2, 3, 4, 5, 6, 0, 0], [1, 2, 3, 4, 5, 6, 0, 0], 20.5),
        ([(0, 2)], [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1, 0, 0], 18.5),
        ([(0, 2), (0, 2)], [1, 2, 3, 4, 5, 6, 0, 0], [1, 2, 0, 4, 5, 6, 0, 0], 18.5),
        ([(0, 0), (0, 1), (0, 5), (0, 7), (1, 2), (1, 3)], [1, 2, 3, 4, 5, 6, 0, 9], [0, 0, 3, 4, 5, 0, 0, 0], 13.8),
    ],
)
def test_negatives_are_as_likely_as_their_weights_among_what_the_user_left(own, weights, expected, limit):
    items = drawn(np.zeros(60_000, np.int64), own, weights)
    shares = np.array(expected, float)
    assert chi_square(items, 60_000 * shares / shares.sum()) < limit


def test_a_user_who_knows_nearly_all_still_gets_what_is_left():
    num_items = 5_000
    own = [(0, item) for item in range(num_items) if item not in (17, 4_321)]
    assert set(drawn(np.zeros(200, np.int64), own, np.ones(num_items, np.int64))) == {17, 4_321}


def test_a_user_who_knows_the_whole_catalogue_gets_none_and_the_others_get_theirs():
    own = [(1, item) for item in range(NUM_ITEMS)]
    items = drawn([0, 1, 2], own, np.ones(NUM_ITEMS, np.int64))
    assert items[1] == -1
    assert (items[[0, 2]] >= 0).all()


def test_the_same_seed_draws_the_same():
    group, weights = np.zeros(100, np.int64), np.arange(NUM_ITEMS)
    assert drawn(group, [(0, 1)], weights, seed=3).tolist() == drawn(group, [(0, 1)], weights, seed=3).tolist()
    assert drawn(group, [(0, 1)], weights, seed=3).tolist() != drawn(group, [(0, 1)], weights, seed=4).tolist()


@given(st.lists(st.integers(0, 9), max_size=60), st.data())
def test_where_the_rows_are_cut_changes_no_draw(group, data):
    group = np.sort(np.array(group, np.int64))
    own_keys = np.sort(np.array([user * NUM_ITEMS + item for user in range(10) for item in range(user % NUM_ITEMS)], np.int64))
    cut = data.draw(st.integers(0, len(group)))
    weights = np.arange(1, NUM_ITEMS + 1)
    whole, parts = NegativeSampler(weights, (1,)), NegativeSampler(weights, (1,))
    assert np.concatenate([parts.draw(group[:cut], own_keys), parts.draw(group[cut:], own_keys)]).tolist() == (
        whole.draw(group, own_keys).tolist()
    )


@pytest.mark.parametrize(
    ("negatives", "of_validation", "of_test"),
    [("popularity", {0, 1, 2}, {0, 1, 2, 3}), ("uniform", {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4})],
)
def test_popularity_is_what_was_known_by_then(negatives, of_validation, of_test):
    """Users 0 ... 199 act on items 0, 1, then 2, 3, 4; user 200 on item 5 only, so that all others may draw what he left."""
    users, items = 200, [0, 1, 2, 3, 4]
    group = np.append(np.repeat(np.arange(users), 5), [users] * 4)
    item = np.append(np.tile(items, users), [5] * 4)
    timestamp = np.append(np.tile(np.arange(5), users), np.arange(4))
    behaviours = Behaviours.of(group, item, timestamp, np.arange(len(group)), users + 1)
    positives = NextItemConfig().impressions(Interactions(group, item, timestamp, np.arange(len(group))), behaviours)
    in_train = np.bincount(item[:-4], minlength=6) * (np.arange(6) < 3)
    part = PartRows(0, behaviours, positives, pl.DataFrame(), None)
    counts = ItemCounts(6)
    counts.add(part)
    counts.in_train = in_train
    found = Negatives(NextItemConfig(negatives=negatives), counts).draw(part)
    of_last_user = {int(code): set(found[(positives.split == code) & (positives.group == users)]) for code in (TRAIN, VALIDATION, TEST)}
    assert of_last_user[int(TRAIN)] <= {0, 1, 2}
    assert of_last_user[int(VALIDATION)] <= of_validation
    assert of_last_user[int(TEST)] <= of_test
    # One draw says little; many seeds say which items can be drawn at all.
    drawn_items = {int(VALIDATION): set(), int(TEST): set()}
    for seed in range(200):
        found = Negatives(NextItemConfig(negatives=negatives, seed=seed), counts).draw(part)
        for code, seen in drawn_items.items():
            seen |= set(found[(positives.split == code) & (positives.group == users)].tolist())
    assert drawn_items == {int(VALIDATION): of_validation, int(TEST): of_test}


def test_too_many_positives_without_a_negative_are_refused():
    refuse_without_negatives(5, 100, "mine")
    message = (
        r"^data set mine: 6 of 100 positives have no negative, since their users acted on every item; at most 5% may; "
        r"leave out users who are no persons \(an anonymous id, a crawler\), or bring more items\.$"
    )
    with pytest.raises(DataError, match=message):
        refuse_without_negatives(6, 100, "mine")
