"""Jagged batches: the concatenated histories of a batch and their offsets; no padding, no mask.

A :class:`Batch` is made by slicing memory-mapped arrays for all its rows at once. There is no per-row ``__getitem__`` and no collate:
on short histories they would cost more than the model. Models import this file, so it does without Polars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.data.schema import Schema


@dataclass(frozen=True, slots=True)
class Batch:
    """B impressions over H histories with N behaviours in all, as indices into embedding tables.

    In training every row has its own history. When the candidates of one user are scored, their rows share one history, and a model
    processes it once.

    Attributes:
        target: (F, B) int64, index of the target item in each of the F item fields, in the order of ``Schema.item_fields``.
        history: (F, N) int64, the same for every behaviour of every history, oldest first.
        offsets: (H + 1,) int64; history h is ``history[:, offsets[h]:offsets[h + 1]]``.
        context: (C, B) int64, user and context fields in the order of ``Schema.impression_fields``.
        numeric: (B, M) float32, standardised numeric fields in the order of ``Schema.numeric``.
        label: (B,) float32, 1 click, 0 no click; None when scoring.
        group: (B,) int64, the user as GAUC groups by it; None when scoring.
        negative_history: (F, N) int64, for each behaviour another item, drawn uniformly from the items of train (the unknown item if
            there is no other); None unless requested.
        history_of: (B,) int64, the history that each row reads; None: row b reads history b.
        list_id: (B,) int64, the list that each row was ranked in, -1 for none; None when scoring, and if the log has no lists.
    """

    target: Tensor
    history: Tensor
    offsets: Tensor
    context: Tensor
    numeric: Tensor
    label: Tensor | None = None
    group: Tensor | None = None
    negative_history: Tensor | None = None
    history_of: Tensor | None = None
    list_id: Tensor | None = None

    def __len__(self) -> int:
        return self.target.shape[1]

    @property
    def lengths(self) -> Tensor:
        """(B,) number of behaviours of each row."""
        return self.of_rows(self.offsets.diff())

    def of_rows(self, values: Tensor) -> Tensor:
        """(H, ...) one value per history -> (B, ...) the value of each row's history."""
        return values if self.history_of is None else values.index_select(0, self.history_of)

    def part(self, start: int, stop: int) -> "Batch":
        """The rows from ``start`` up to ``stop``, with the histories from the first to the last that they read."""
        rows = slice(start, stop)
        first, last = start, min(stop, len(self)) - 1
        if self.history_of is not None:
            of_part = self.history_of[rows]
            first, last = int(of_part.min()), int(of_part.max())
        offsets = self.offsets[first : last + 2]
        values = slice(int(offsets[0]), int(offsets[-1]))
        return Batch(
            target=self.target[:, rows],
            history=self.history[:, values],
            offsets=offsets - offsets[0],
            context=self.context[:, rows],
            numeric=self.numeric[rows],
            label=None if self.label is None else self.label[rows],
            group=None if self.group is None else self.group[rows],
            negative_history=None if self.negative_history is None else self.negative_history[:, values],
            history_of=None if self.history_of is None else of_part - first,
            list_id=None if self.list_id is None else self.list_id[rows],
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device; the batch itself if it is there already."""
        if self.target.device == device:
            return self
        moved: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return Batch(**{name: tensor.to(device) for name, tensor in moved.items()})


@dataclass(frozen=True)
class ItemTensors:
    """Item columns that a model reads of I items; training, serving and scoring gather their batches from it.

    Attributes:
        schema: the fields.
        index: (F, I) int64, each item's index in each of ``schema.item_fields``; column 0 is the unknown item.
        numeric: (I,) float32 by name, the standardised numeric item fields.
    """

    schema: Schema
    index: Tensor
    numeric: dict[str, Tensor]

    @classmethod
    def of(cls, schema: Schema, columns: Mapping[str, NDArray[Any]]) -> Self:
        """Make the tensors from an item table's columns ``index/<field>`` and ``numeric/<field>``, each (I,)."""
        index = np.stack([columns[f"index/{field.name}"] for field in schema.item_fields]).astype(np.int64)
        numeric = {f.name: torch.from_numpy(columns[f"numeric/{f.name}"].astype(np.float32)) for f in schema.numeric if f.role == "item"}
        return cls(schema, torch.from_numpy(index), numeric)

    def batch(
        self, item: Tensor, history: Tensor, offsets: Tensor, context: list[Tensor], numeric: Mapping[str, Tensor], **others: Any
    ) -> Batch:
        """Gather a batch of B rows.

        Args:
            item: (B,) int64, the column of each row's target item.
            history: (N,) int64, the columns of the behaviours' items.
            offsets: (H + 1,) int64, as in :class:`Batch`.
            context: (B,) int64 for each of ``schema.impression_fields``.
            numeric: (B,) float32 by name, the user and context fields.
            others: attributes of :class:`Batch` that have a default.
        """
        columns = [self.numeric[f.name][item] if f.role == "item" else numeric[f.name] for f in self.schema.numeric]
        return Batch(
            target=self.index[:, item],
            history=self.index[:, history],
            offsets=offsets,
            context=torch.stack(context) if context else torch.zeros(0, len(item), dtype=torch.int64),
            numeric=torch.stack(columns, dim=1) if columns else torch.zeros(len(item), 0),
            **others,
        )


def jagged_ranges(starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of many half-open ranges, concatenated.

    Args:
        starts: (B,) int64 first positions.
        ends: (B,) int64 one past the last position, not before ``starts``.

    Returns:
        positions (N,) int64 and offsets (B + 1,) int64.

    >>> jagged_ranges(torch.tensor([5, 9, 0]), torch.tensor([7, 9, 3]))
    (tensor([5, 6, 0, 1, 2]), tensor([0, 2, 2, 5]))
    """
    lengths = ends - starts
    offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=lengths.device)
    torch.cumsum(lengths, 0, out=offsets[1:])
    positions = torch.arange(int(offsets[-1]), device=lengths.device) + torch.repeat_interleave(starts - offsets[:-1], lengths)
    return positions, offsets
