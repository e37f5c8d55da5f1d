"""A generated click log whose true click probabilities are known.

Users hold several interests (categories), items belong to categories, popularity is Zipf. A click depends on how many behaviours before the
impression share the target's category, and on the target's own appeal:

    logit p = bias + relevance * (1 - exp(-n / saturation)) + appeal(item),   n = behaviours of the target's category so far

so an equal-weight sum of the history, in which the few relevant behaviours drown, must lose against attention to them. The probabilities
stay with the impressions; they give the best AUC that any model could reach. Drawn column by column, no loop over users or rows.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from clickflow.config import Contradictions
from clickflow.data.arrays import FloatArray, IntArray
from clickflow.data.schema import ITEM, LABEL, TIMESTAMP, TRUE_PROBABILITY, USER, FieldSpec
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig

# Fixed days, so that a log is a function of its config alone: behaviours from 2025-01-01 UTC, impressions in the last 90 days.
START_SECONDS = 1_735_689_600
WARM_UP_SECONDS = 90 * 86_400
WINDOW_SECONDS = 2 * WARM_UP_SECONDS

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class SyntheticConfig(SourceConfig):
    """Size and shape of a generated log."""

    source: Literal["synthetic"] = "synthetic"
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the log itself; the run's seed does not change it."""
    num_users: Count = 20_000
    """Users of the log."""
    num_items: Count = 10_000
    """Items of the catalogue."""
    num_categories: Count = 100
    """Categories of the items."""
    num_impressions: Count = 300_000
    """Labelled rows."""
    mean_history: Annotated[float, Field(gt=0)] = 12.0
    """Behaviours before an impression, on average."""
    interests_per_user: Count = 4
    """Categories that a user is interested in."""
    zipf_exponent: Annotated[float, Field(ge=0)] = 1.0
    """Popularity of the r-th item is r^-exponent."""
    behaviour_noise: Share = 0.3
    """Share of behaviours that follow popularity instead of the user's interests."""
    targeted_share: Share = 0.5
    """Share of impressions drawn from the user's interests; the others follow popularity."""
    bias: float = -2.2
    """Logit of a click on an average item without a relevant behaviour."""
    relevance: float = 3.0
    """Logit gained by many relevant behaviours."""
    saturation: Annotated[float, Field(gt=0)] = 2.0
    """Relevant behaviours after which 63 % of the gain is reached."""
    appeal_std: Annotated[float, Field(ge=0)] = 0.5
    """Spread of the items' own logits."""

    def _contradictions(self) -> Contradictions:
        for key, value, what, limit in (
            ("num_categories", self.num_categories, "items", self.num_items),
            ("interests_per_user", self.interests_per_user, "categories", self.num_categories),
        ):
            if value > limit:
                yield key, f"= {value}: more than the {what} there are; choose at most {limit}"

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """Return no files: the log is a function of this config."""
        return ()

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """Generate the log."""
        rng = np.random.default_rng(self.seed)
        catalogue = _draw_catalogue(self, rng)
        interests = _draw_interests(self, catalogue, rng)
        behaviours = _draw_behaviours(self, catalogue, interests, rng)
        interactions = _draw_impressions(self, catalogue, interests, behaviours, rng)
        items = pl.DataFrame({ITEM: np.arange(self.num_items), "category": catalogue.category})
        return RawLog(
            interactions=interactions.lazy(),
            behaviours=pl.DataFrame(behaviours._asdict()).lazy(),
            items=items.lazy(),
            fields=(FieldSpec(name="category", role="item"),),
            origins={"interactions": f"synthetic log {self.name}"},
        )


class _Catalogue(NamedTuple):
    category: IntArray  # (I,) category of each item
    appeal: FloatArray  # (I,)
    by_category: IntArray  # (I,) items, sorted by category
    popularity: FloatArray  # (I + 1,) cumulative, in the order of by_category
    bounds: IntArray  # (C + 1,) range of each category in by_category


class _Behaviours(NamedTuple):
    user: IntArray
    item: IntArray
    timestamp: IntArray


def _draw_catalogue(config: SyntheticConfig, rng: np.random.Generator) -> _Catalogue:
    num_items, num_categories = config.num_items, config.num_categories
    # Every category holds an item; the other items follow a mild Zipf distribution over categories.
    size = (1.0 + np.arange(num_categories)) ** -0.5
    rest = rng.choice(num_categories, num_items - num_categories, p=size / size.sum())
    category = rng.permutation(np.concatenate([np.arange(num_categories), rest]))
    popularity = rng.permutation((1.0 + np.arange(num_items)) ** -config.zipf_exponent)
    by_category = np.argsort(category, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(popularity[by_category])])
    bounds = np.searchsorted(category[by_category], np.arange(num_categories + 1))
    return _Catalogue(category, rng.normal(0, config.appeal_std, num_items), by_category, cumulative, bounds)


def _draw_interests(config: SyntheticConfig, catalogue: _Catalogue, rng: np.random.Generator) -> IntArray:
    """(U, K) distinct categories of each user, drawn by the square root of category popularity, so that no interest is universal."""
    mass = np.sqrt(np.diff(catalogue.popularity[catalogue.bounds]))
    # Gumbel top-K draws without replacement, in blocks of users, so that memory is limited to block * categories.
    blocks = []
    for start in range(0, config.num_users, 10_000):
        users = min(10_000, config.num_users - start)
        keys = np.log(mass) + rng.gumbel(size=(users, config.num_categories))
        blocks.append(np.argpartition(-keys, config.interests_per_user - 1, axis=1)[:, : config.interests_per_user])
    return np.concatenate(blocks)


def _draw_items(catalogue: _Catalogue, category: IntArray, by_popularity: NDArray[np.bool_], rng: np.random.Generator) -> IntArray:
    """One item per row, drawn by popularity within its category, or within the whole catalogue if ``by_popularity``."""
    low = np.where(by_popularity, 0.0, catalogue.popularity[catalogue.bounds[category]])
    high = np.where(by_popularity, catalogue.popularity[-1], catalogue.popularity[catalogue.bounds[category + 1]])
    position = np.searchsorted(catalogue.popularity, low + (high - low) * rng.random(len(category)), side="right") - 1
    return catalogue.by_category[np.minimum(position, len(catalogue.by_category) - 1)]


def _draw_behaviours(config: SyntheticConfig, catalogue: _Catalogue, interests: IntArray, rng: np.random.Generator) -> _Behaviours:
    # An impression in the window's second half sees three quarters of a user's behaviours on average.
    lengths = np.floor(rng.exponential(config.mean_history / 0.75 + 0.5, config.num_users)).astype(np.int64)
    user = np.repeat(np.arange(config.num_users), lengths)
    category = interests[user, rng.integers(0, config.interests_per_user, len(user))]
    item = _draw_items(catalogue, category, rng.random(len(user)) < config.behaviour_noise, rng)
    return _Behaviours(user, item, START_SECONDS + rng.integers(0, WINDOW_SECONDS, len(user)))


def _draw_impressions(
    config: SyntheticConfig, catalogue: _Catalogue, interests: IntArray, behaviours: _Behaviours, rng: np.random.Generator
) -> pl.DataFrame:
    num_rows = config.num_impressions
    user = rng.integers(0, config.num_users, num_rows)
    category = interests[user, rng.integers(0, config.interests_per_user, num_rows)]
    item = _draw_items(catalogue, category, rng.random(num_rows) >= config.targeted_share, rng)
    timestamp = START_SECONDS + rng.integers(WARM_UP_SECONDS, WINDOW_SECONDS, num_rows)
    relevant = _count_relevant(config, catalogue, behaviours, user, item, timestamp)
    logit = config.bias + config.relevance * (1 - np.exp(-relevant / config.saturation)) + catalogue.appeal[item]
    probability = 1 / (1 + np.exp(-logit))
    columns = {USER: user, ITEM: item, TIMESTAMP: timestamp, LABEL: rng.random(num_rows) < probability, TRUE_PROBABILITY: probability}
    return pl.DataFrame(columns).with_columns(pl.col(LABEL).cast(pl.Int8)).sort(TIMESTAMP, maintain_order=True)


def _count_relevant(
    config: SyntheticConfig, catalogue: _Catalogue, behaviours: _Behaviours, user: IntArray, item: IntArray, timestamp: IntArray
) -> IntArray:
    """Behaviours of the same user and category before the impression: two binary searches in one sorted key."""

    def key(user: IntArray, item: IntArray, seconds: IntArray) -> IntArray:
        return (user * config.num_categories + catalogue.category[item]) * WINDOW_SECONDS + seconds

    past = np.sort(key(behaviours.user, behaviours.item, behaviours.timestamp - START_SECONDS))
    before = np.searchsorted(past, key(user, item, timestamp - START_SECONDS))
    return before - np.searchsorted(past, key(user, item, np.zeros_like(timestamp)))
