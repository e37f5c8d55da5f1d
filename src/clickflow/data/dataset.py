"""A prepared dataset, opened: memory-mapped columns and the batches made from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from clickflow.data import manifest as manifest_file
from clickflow.data import storage
from clickflow.data.batches import Batch, ItemTensors, jagged_ranges
from clickflow.data.manifest import Manifest
from clickflow.data.negatives import OtherItems
from clickflow.data.schema import ITEM, KIND, LABEL, TRUE_PROBABILITY, Schema

RAW_TITLE = "raw/title"
LIST_ID = "list_id"
"""Column of a split with the number of each row's list, -1 for none; only where the log has lists."""


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared folder. Open it with :meth:`open`; splits are opened one by one, so training never maps the test rows.

    Attributes:
        folder: the folder on disk.
        manifest: schema, sizes and checksums of the data set.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> "PreparedDataset":
        """Open a prepared folder and compare every file with its checksum.

        Raises:
            DataError: the folder is missing or damaged.
        """
        manifest = manifest_file.read_manifest(folder)
        storage.verify(folder, manifest)
        return cls(folder, manifest)

    @property
    def schema(self) -> Schema:
        """The fields, as models need them."""
        return self.manifest.fields

    @property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def split(self, name: str) -> "Split":
        """Map one of ``train``, ``validation``, ``test``."""
        behaviours = storage.read_columns(self.folder, "behaviours")[ITEM]
        return Split(storage.read_columns(self.folder, name), behaviours, self.item_tensors)

    @cached_property
    def item_tensors(self) -> ItemTensors:
        """Item columns that models read; made once and shared by all splits."""
        return ItemTensors.of(self.schema, storage.read_columns(self.folder, "items"))

    def vocabulary(self, field: str) -> pl.DataFrame:
        """Raw id, index and count in train of a categorical field."""
        return storage.read_frame(self.folder, f"vocabulary/{field}")

    def behaviour_kinds(self) -> NDArray[np.uint8] | None:
        """(N,) kind of each behaviour by its index in ``vocabulary(KIND)``, 0 if missing or unknown; None if the log has no kinds."""
        return storage.read_columns(self.folder, "behaviours").get(KIND)

    def items(self) -> pl.DataFrame:
        """Every item of the log by row: ``raw`` id (row 0, the unknown item: null), ``index/<field>`` and ``numeric/<field>``."""
        columns, raw = storage.read_columns(self.folder, "items"), self.raw_items().to_frame()
        unknown = pl.DataFrame({"raw": [None]}, schema=raw.schema)
        return pl.concat([unknown, raw]).hstack([pl.Series(name, values) for name, values in columns.items()])

    def raw_items(self) -> pl.Series:
        """Raw id of item row 1, 2, ..."""
        return storage.read_frame(self.folder, "raw/item")["raw"]

    def titles(self) -> pl.Series | None:
        """Title of item row 1, 2, ..., null if unknown; None if the source has no titles."""
        has_titles = f"{RAW_TITLE}.parquet" in self.manifest.files
        return storage.read_frame(self.folder, RAW_TITLE)["raw"] if has_titles else None

    def raw_users(self) -> pl.Series:
        """Raw id of group 0, 1, ..."""
        return storage.read_frame(self.folder, "raw/user")["raw"]


@dataclass(frozen=True)
class Split:
    """The impressions of one split over the shared behaviours and items.

    Attributes:
        rows: columns of the split, each (R,): group, item, history_start, history_end, label, ``index/<field>``, ``numeric/<field>``,
            and list_id if the log has lists.
        behaviours: (N,) item row of each behaviour.
        items: what models read of the I + 1 item rows.
    """

    rows: dict[str, NDArray[Any]]
    behaviours: NDArray[np.int32]
    items: ItemTensors

    @property
    def schema(self) -> Schema:
        """The fields."""
        return self.items.schema

    def __len__(self) -> int:
        return len(self.rows[LABEL])

    def take(self, rows: NDArray[np.int64] | slice, max_history: int, negatives: np.random.Generator | None = None) -> Batch:
        """Batch of some rows, with the last ``max_history`` behaviours of each history and, given a generator, their negatives."""

        def column(name: str, dtype: Any) -> torch.Tensor:
            return torch.from_numpy(self.rows[name][rows].astype(dtype))

        ends = column("history_end", np.int64)
        starts = torch.maximum(column("history_start", np.int64), ends - max_history)
        positions, offsets = jagged_ranges(starts, ends)
        behaviours = self.behaviours.take(positions.numpy()).astype(np.int64)
        others = None if negatives is None else torch.from_numpy(self._other_items.draw(behaviours, negatives))
        return self.items.batch(
            column(ITEM, np.int64),
            torch.from_numpy(behaviours),
            offsets,
            context=[column(f"index/{f.name}", np.int64) for f in self.schema.impression_fields],
            numeric={f.name: column(f"numeric/{f.name}", np.float32) for f in self.schema.numeric if f.role != "item"},
            label=column(LABEL, np.float32),
            group=column("group", np.int64),
            list_id=column(LIST_ID, np.int64) if LIST_ID in self.rows else None,
            negative_history=None if others is None else self.items.index[:, others],
        )

    def true_probability(self) -> NDArray[np.float64] | None:
        """(R,) true click probability of each row, if the source of the log knows it."""
        return self.rows.get(TRUE_PROBABILITY)

    @cached_property
    def _other_items(self) -> OtherItems:
        item_id = next(place for place, field in enumerate(self.schema.item_fields) if field.name == ITEM)
        return OtherItems(self.items.index[item_id].numpy())


class BatchLoader:
    """Iterates a split in batches; one call of ``iter`` is one epoch.

    The order is a function of (seed, epoch), the negatives of (seed, epoch, position), and ``state_dict`` holds epoch and position, so
    that a resumed run sees exactly the batches it would have seen. Lightning saves this state in each checkpoint. An epoch that was left
    early (an interrupt, a limit on batches) is over all the same: only a loaded state continues within an epoch.
    """

    def __init__(self, split: Split, *, batch_size: int, max_history: int, seed: int | None = None, draws_negatives: bool = False) -> None:
        """Make a loader.

        Args:
            split: the rows to iterate.
            batch_size: rows per batch; the last one of an epoch may hold fewer.
            max_history: behaviours per row, the latest ones.
            seed: seed of the shuffling; None keeps the order of the rows.
            draws_negatives: draw ``Batch.negative_history``, which needs a seed.

        Raises:
            ValueError: negatives without a seed.
        """
        if draws_negatives and seed is None:
            raise ValueError("seed = None: negatives are drawn at random, so they need a seed; give one.")
        self.split = split
        self.batch_size = batch_size
        self.max_history = max_history
        self.seed = seed
        self.draws_negatives = draws_negatives
        self._epoch = 0
        self._position = 0
        self._is_begun = False

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        num_rows = len(self.split)
        # A caller that knows the length never asks for the end of an epoch, so the end is noticed at the start of the next one.
        if self._is_begun or self._position >= num_rows:
            self._epoch, self._position = self._epoch + 1, 0
        self._is_begun = True
        order = None if self.seed is None else _shuffled(num_rows, (self.seed, self._epoch))
        while self._position < num_rows:
            rows = slice(self._position, min(self._position + self.batch_size, num_rows))
            self._position = rows.stop  # before the yield: a checkpoint is saved while the batch is in use
            yield self.split.take(rows if order is None else order[rows], self.max_history, self._negatives())

    def _negatives(self) -> np.random.Generator | None:
        """Generator of the negatives of the batch that ends at the current position.

        The position is never 0 there. For numpy a seed that ends in zeros equals the seed without them, here that of the epoch's order.
        """
        if not self.draws_negatives or self.seed is None:
            return None
        return np.random.default_rng((self.seed, self._epoch, self._position))

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of rows already returned."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a saved state, also with another batch size."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._is_begun = False


def _shuffled(size: int, seed: tuple[int, int]) -> NDArray[Any]:
    """The positions 0 ... size - 1 in the order of a seed: 4 bytes for each, the one thing of an epoch that grows with its rows."""
    order = np.arange(size, dtype=np.int32 if size <= np.iinfo(np.int32).max else np.int64)
    np.random.default_rng(seed).shuffle(order)
    return order
