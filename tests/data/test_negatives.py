import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.negatives import sample_negatives

NUM_ITEMS = 8


def drawn(group, own, weights, uniform, seed=0):
    """Negatives for rows of users who own the (user, item) pairs."""
    own_keys = np.sort(np.array([user * len(weights) + item for user, item in own], np.int64))
    rng = np.random.default_rng(seed)
    return sample_negatives(np.asarray(group), own_keys, np.asarray(weights), uniform=uniform, rng=rng)


def chi_square(items, expected):
    """Pearson's statistic for the counts ``expected``; checks that items with a count of 0 do not occur."""
    found = np.bincount(items, minlength=len(expected))
    assert not found[expected == 0].any()
    possible = expected > 0
    return float(((found - expected)[possible] ** 2 / expected[possible]).sum())


@given(
    own=st.lists(st.tuples(st.integers(0, 3), st.integers(0, NUM_ITEMS - 1)), min_size=1, max_size=30),
    weights=st.lists(st.integers(0, 3), min_size=NUM_ITEMS, max_size=NUM_ITEMS).filter(any),
    uniform=st.booleans(),
    seed=st.integers(0, 5),
)
def test_a_negative_is_a_candidate_that_its_user_never_acted_on(own, weights, uniform, seed):
    group = np.repeat(np.arange(4), 5)
    items = drawn(group, own, weights, uniform, seed)
    for user, item in zip(group, items, strict=True):
        free = {candidate for candidate in range(NUM_ITEMS) if weights[candidate] and (user, candidate) not in own}
        assert item in free if free else item == -1


# 0.999 quantiles of chi-square with 5 and 4 degrees of freedom; the seed is fixed, so the test is not flaky.
@pytest.mark.parametrize(
    ("uniform", "own", "expected_shares", "limit"),
    [
        (True, [(9, 0)], [1, 1, 1, 1, 1, 1, 0, 0], 20.5),
        (False, [(9, 0)], [1, 2, 3, 4, 5, 6, 0, 0], 20.5),
        (True, [(0, 2)], [1, 1, 0, 1, 1, 1, 0, 0], 18.5),
        (False, [(0, 2)], [1, 2, 0, 4, 5, 6, 0, 0], 18.5),
    ],
)
def test_negatives_are_uniform_or_as_popular_as_their_weights(uniform, own, expected_shares, limit):
    items = drawn(np.zeros(60_000, np.int64), own, [1, 2, 3, 4, 5, 6, 0, 0], uniform)
    shares = np.array(expected_shares, float)
    assert chi_square(items, 60_000 * shares / shares.sum()) < limit


@pytest.mark.parametrize("uniform", [True, False])
def test_a_user_who_knows_nearly_all_still_gets_what_is_left(uniform):
    num_items = 5_000
    own = [(0, item) for item in range(num_items) if item not in (17, 4_321)]
    items = drawn(np.zeros(200, np.int64), own, np.ones(num_items, np.int64), uniform)
    assert set(items) == {17, 4_321}


@pytest.mark.parametrize("uniform", [True, False])
def test_a_user_who_knows_the_whole_catalogue_gets_none_and_the_others_get_theirs(uniform):
    own = [(1, item) for item in range(NUM_ITEMS)]
    items = drawn([0, 1, 2], own, np.ones(NUM_ITEMS, np.int64), uniform)
    assert items[1] == -1
    assert (items[[0, 2]] >= 0).all()


def test_the_same_seed_draws_the_same():
    group, weights = np.zeros(100, np.int64), np.arange(NUM_ITEMS)
    assert drawn(group, [(0, 1)], weights, uniform=False, seed=3).tolist() == drawn(group, [(0, 1)], weights, False, 3).tolist()
    assert drawn(group, [(0, 1)], weights, uniform=False, seed=3).tolist() != drawn(group, [(0, 1)], weights, False, 4).tolist()
