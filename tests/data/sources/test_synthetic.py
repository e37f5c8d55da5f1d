"""The generated log against its documented formula, recomputed by plain loops."""

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
from tests.data.whole_log import check

from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import NextItemConfig
from clickflow.data.sources.synthetic import START_SECONDS, WARM_UP_SECONDS, WINDOW_SECONDS, SyntheticConfig
from clickflow.errors import ConfigError


def generate(**more: object) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Generate impressions, behaviours and items."""
    raw = make_config(**more).read(())
    return raw.interactions.collect(), raw.behaviours.collect(), raw.items.collect()


def make_config(**more: object) -> SyntheticConfig:
    sizes = {"num_users": 1_000, "num_items": 400, "num_categories": 20, "num_impressions": 20_000}
    return validate(SyntheticConfig, {"name": "s", "source": "synthetic", **sizes, **more})


def test_a_log_is_a_function_of_its_config():
    for first, second in zip(generate(), generate(), strict=True):
        assert first.equals(second)
    assert not generate(seed=1)[0].equals(generate()[0])


def test_a_log_passes_the_checks_and_repeats_nothing_but_by_chance():
    config = make_config()
    log = check(config.read(config.files(None)), config)
    assert log.interactions.height == log.counts["rows_read"] == 20_000
    assert log.interactions["timestamp"].is_sorted()
    assert log.items["item"].to_list() == list(range(400))
    assert log.items["category"].n_unique() == 20


def test_behaviours_and_impressions_fall_in_their_windows():
    impressions, behaviours, _ = generate()
    assert behaviours["timestamp"].is_between(START_SECONDS, START_SECONDS + WINDOW_SECONDS, closed="left").all()
    assert impressions["timestamp"].is_between(START_SECONDS + WARM_UP_SECONDS, START_SECONDS + WINDOW_SECONDS, closed="left").all()


@pytest.mark.parametrize("more", [{}, {"appeal_std": 0.0, "bias": -1.0, "relevance": 2.0, "saturation": 5.0}])
def test_a_clicks_probability_is_the_documented_formula(more):
    config = make_config(**more)
    impressions, behaviours, items = generate(**more)
    category = items["category"].to_list()
    # The appeal is a number of the item: it is computed from one impression and must explain all others.
    appeal: dict[int, float] = {}
    past: dict[tuple[int, int], list[int]] = {}
    for user, item, timestamp in behaviours.iter_rows():
        past.setdefault((user, category[item]), []).append(timestamp)
    relevant_counts = Counter()
    for user, item, timestamp, _, probability in impressions.head(3_000).iter_rows():
        relevant = sum(moment < timestamp for moment in past.get((user, category[item]), []))
        relevant_counts[min(relevant, 3)] += 1
        known = config.bias + config.relevance * (1 - math.exp(-relevant / config.saturation))
        own = appeal.setdefault(item, math.log(probability / (1 - probability)) - known)
        assert probability == pytest.approx(1 / (1 + math.exp(-known - own)), rel=1e-9)
    assert min(relevant_counts.values()) > 50
    assert np.std(list(appeal.values())) == pytest.approx(config.appeal_std, rel=0.15, abs=1e-9)


def test_the_click_rate_follows_the_probabilities():
    impressions, _, _ = generate(num_impressions=100_000)
    for low in np.arange(0, 0.9, 0.1):
        bucket = impressions.filter(pl.col("true_probability").is_between(low, low + 0.1))
        if bucket.height < 500:
            continue
        mean = bucket["true_probability"].mean()
        margin = 4 * (mean * (1 - mean) / bucket.height) ** 0.5
        assert bucket["label"].mean() == pytest.approx(mean, abs=margin)
    assert impressions["label"].mean() == pytest.approx(impressions["true_probability"].mean(), abs=0.006)


@pytest.mark.parametrize("mean_history", [3.0, 20.0])
def test_histories_have_the_configured_mean_length(mean_history):
    impressions, behaviours, _ = generate(mean_history=mean_history, num_users=5_000)
    by_user = dict(behaviours.group_by("user").agg("timestamp").iter_rows())
    lengths = [
        sum(moment < timestamp for moment in by_user.get(user, []))
        for user, timestamp in impressions.select("user", "timestamp").head(20_000).iter_rows()
    ]
    assert np.mean(lengths) == pytest.approx(mean_history, rel=0.08)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.4])
def test_popularity_is_zipf(exponent):
    _, behaviours, items = generate(zipf_exponent=exponent, behaviour_noise=1.0, num_users=20_000)
    counts = np.sort(np.bincount(behaviours["item"], minlength=items.height))[::-1]
    expected = (1.0 + np.arange(items.height)) ** -exponent
    expected *= counts.sum() / expected.sum()
    np.testing.assert_allclose(counts[:20], expected[:20], rtol=0.1)
    np.testing.assert_allclose(counts[:200].sum(), expected[:200].sum(), rtol=0.04)


def test_behaviours_follow_few_interests_of_each_user():
    _, behaviours, items = generate(behaviour_noise=0.0, interests_per_user=3, num_users=3_000)
    categories = behaviours.join(items, on="item").group_by("user").agg(pl.col("category").n_unique())["category"]
    assert categories.max() == 3
    noisy = generate(behaviour_noise=0.5, interests_per_user=3, num_users=3_000)[1]
    assert noisy.join(items, on="item").group_by("user").agg(pl.col("category").n_unique())["category"].max() > 3


def test_targets_follow_the_users_interests_at_the_configured_share():
    shares = {}
    for share in (0.0, 1.0):
        impressions, behaviours, items = generate(targeted_share=share, behaviour_noise=0.0, mean_history=60.0)
        held = set(behaviours.join(items, on="item").select("user", "category").iter_rows())
        targets = impressions.join(items, on="item").select("user", "category").rows()
        shares[share] = sum(pair in held for pair in targets) / len(targets)
    assert shares[1.0] > 0.9
    assert shares[0.0] < 0.5


def test_the_smallest_log_there_can_be_is_generated():
    smallest = {"num_users": 1, "num_items": 1, "num_categories": 1, "interests_per_user": 1, "num_impressions": 1, "mean_history": 0.1}
    impressions, _, items = generate(**smallest)
    assert impressions.height == items.height == 1


def test_users_beyond_a_block_of_drawing_get_interests_too():
    _, behaviours, _ = generate(num_users=25_000, mean_history=3.0)
    assert behaviours["user"].max() > 24_900


def test_sizes_that_contradict_each_other_are_all_reported():
    with pytest.raises(ConfigError, match=r"num_categories = 500: more than the items there are; choose at most 400"):
        make_config(num_categories=500)
    with pytest.raises(ConfigError, match=r"interests_per_user = 30: more than the categories there are; choose at most 20"):
        make_config(interests_per_user=30)


def test_next_item_takes_the_behaviours_of_a_generated_log(tmp_path):
    config = make_config()
    dataset = prepare(config, NextItemConfig(), tmp_path)
    behaviours = generate()[1]
    assert dataset.manifest.num_behaviours == behaviours.height
    positives = sum(split.positives for split in dataset.manifest.splits.values())
    assert positives == behaviours.height - behaviours["user"].n_unique()
