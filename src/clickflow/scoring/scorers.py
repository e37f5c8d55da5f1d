"""Scorers of the rows of a table: one probability per row, or the best candidates of each user.

Both give a fixed number of bytes for each row of the input, which makes a journal of results simple.
"""

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import ITEM
from clickflow.scoring.catalogue import Catalogue
from clickflow.scoring.input_tables import TableRows
from clickflow.scoring.table_encoder import TableEncoder
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.items import Users

ROWS_PER_FORWARD = 4096
"""Enough that a batch's fixed cost, during which threads wait for each other, does not matter."""
BEHAVIOURS_PER_FORWARD = 1 << 15
"""Bounds the memory of a batch where histories are long."""
ROWS_PER_READ = 8192
SCORES_PER_READ = 1 << 18
"""Scores of users with candidates: about a second's work, which is what an interrupt costs."""
PROBABILITY, RANK = "probability", "rank"


class Unknown:
    """Shares of what was scored that the model does not know; several threads may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {"items": [0, 0], "behaviours": [0, 0]}

    def count(self, what: str, rows: NDArray[np.integer[Any]]) -> None:
        """Count (N,) rows of the item table; row 0 is the unknown item."""
        with self._lock:
            self._counts[what][0] += int((rows == 0).sum())
            self._counts[what][1] += len(rows)

    def __str__(self) -> str:
        shares = [f"{100 * unknown / total:.1f} % of the {what}" for what, (unknown, total) in self._counts.items() if total]
        return ", ".join(shares)


class Scorer(ABC):
    """Scores the rows of a table."""

    rows_per_read: int
    """Rows of the input that make one batch."""
    record: np.dtype[Any]
    """Type of one row's result."""
    added: pa.Schema
    """The columns that the output has besides those of the input."""
    columns: list[str]
    """Columns of the input that are read."""
    unknown: Unknown
    """Share of the rows scored so far that the model does not know."""

    @abstractmethod
    def score(self, rows: TableRows) -> NDArray[Any]:
        """Score R rows; (R,) results. Any thread may call this."""

    @abstractmethod
    def output(self, kept: pa.RecordBatch, results: NDArray[Any]) -> pa.RecordBatch:
        """Make the rows of the output: those of the input with their results."""


class RowScorer(Scorer):
    """A probability for the item of each row."""

    rows_per_read = ROWS_PER_READ
    record = np.dtype(np.float64)
    added = pa.schema([pa.field(PROBABILITY, pa.float64(), nullable=False)])

    def __init__(self, bundle: ServingBundle, encoder: TableEncoder) -> None:
        self._model, self._encoder, self.unknown = bundle.build_model(), encoder, Unknown()
        self.columns = [encoder.item_column, *encoder.user_columns]

    def score(self, rows: TableRows) -> NDArray[np.float64]:
        """(R,) probabilities."""
        item, users = self._encoder.encode(rows)
        self.unknown.count("items", item.numpy())
        self.unknown.count("behaviours", users.history.numpy())
        result = np.empty(len(item))
        for start, end in users.cuts(ROWS_PER_FORWARD, BEHAVIOURS_PER_FORWARD):
            batch = self._encoder.items.batch(item[start:end], users.slice(start, end))
            result[start:end] = probabilities(self._model, batch)
        return result

    def output(self, kept: pa.RecordBatch, results: NDArray[np.float64]) -> pa.RecordBatch:
        """Row for row."""
        return pa.record_batch([*kept.columns, pa.array(results)], schema=pa.schema([*kept.schema, *self.added]))


class TopScorer(Scorer):
    """The best candidates of each user."""

    def __init__(self, bundle: ServingBundle, encoder: TableEncoder, candidates: Catalogue, top_k: int, exclude_history: bool) -> None:
        self._model, self._encoder, self._candidates = bundle.build_model(), encoder, candidates
        self.columns, self.unknown = encoder.user_columns, Unknown()
        self.unknown.count("items", candidates.rows)
        # Items that are equal for the model are scored once, so that no rounding by their place in the batch decides between them.
        self._items, self._item_of = encoder.items.distinct(torch.from_numpy(candidates.rows))
        self._exclude_history = exclude_history
        k = min(top_k, len(candidates))
        self.rows_per_read = min(ROWS_PER_READ, max(1, SCORES_PER_READ // max(1, len(candidates))))
        self.record = np.dtype([("candidate", np.int32, (k,)), ("probability", np.float64, (k,))])
        item = pa.field(ITEM, candidates.raw.type, nullable=False)
        self.added = pa.schema([pa.field(RANK, pa.int32(), nullable=False), item, *RowScorer.added])

    def score(self, rows: TableRows) -> NDArray[Any]:
        """(R,) candidates and probabilities of R users, the best first; -1 where there are no more."""
        users = self._encoder.users(rows)
        self.unknown.count("behaviours", users.history.numpy())
        scores = self._scores(users)[:, self._item_of]
        if self._exclude_history:
            places, bounds = self._encoder.history_among(rows, self._candidates.raw)
            user = np.repeat(np.arange(len(scores)), np.diff(bounds))
            scores[user[places >= 0], places[places >= 0]] = -np.inf
        results = np.empty(len(scores), dtype=self.record)
        k = results["candidate"].shape[1]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # of equal ones the first in the table
        results["probability"] = np.take_along_axis(scores, best, axis=1)
        results["candidate"] = np.where(np.isneginf(results["probability"]), -1, best)
        return results

    def output(self, kept: pa.RecordBatch, results: NDArray[Any]) -> pa.RecordBatch:
        """One row per candidate, each user's best first."""
        users, ranks = np.nonzero(results["candidate"] >= 0)
        added = [
            pa.array(ranks.astype(np.int32) + 1),
            self._candidates.raw.take(pa.array(results["candidate"][users, ranks])),
            pa.array(results["probability"][users, ranks]),
        ]
        return pa.record_batch([*kept.take(pa.array(users)).columns, *added], schema=pa.schema([*kept.schema, *self.added]))

    def _scores(self, users: Users) -> NDArray[np.float64]:
        """(R, I) probabilities of the I different items among the candidates for R users."""
        num_items = len(self._items)
        scores = np.empty((len(users.offsets) - 1, num_items))
        for first, last in users.cuts(max(1, ROWS_PER_FORWARD // max(1, num_items)), BEHAVIOURS_PER_FORWARD // max(1, num_items)):
            some = users.slice(first, last)
            step = min(ROWS_PER_FORWARD, max(1, BEHAVIOURS_PER_FORWARD // max(1, len(some.history))))  # all, where users are several
            for start in range(0, num_items, step):
                items = self._items[start : start + step]
                batch = self._encoder.items.batch_of_pairs(items, some)
                scores[first:last, start : start + len(items)] = probabilities(self._model, batch).reshape(-1, len(items))
        return scores


def probabilities(model: nn.Module, batch: Batch) -> NDArray[np.float64]:
    """(B,) click probabilities."""
    with torch.inference_mode():
        result: NDArray[np.float64] = torch.sigmoid(model(batch).logit.double()).numpy()
    return result
