"""The items of a model as one table, and batches of its rows with the users they are scored for."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.data.batches import Batch
from clickflow.scoring.ids import IdTable
from clickflow.tracking.bundle import ServingBundle


class Users(NamedTuple):
    """What the model reads of R rows besides their items.

    Attributes:
        history: (N,) rows of the items' table, row after row.
        offsets: (R + 1,) int64, where each row's history begins.
        context: (C, R) int64, as in :class:`Batch`.
        numeric: (R,) float32 standardised values of each user and context field, by name.
    """

    history: Tensor
    offsets: Tensor
    context: Tensor
    numeric: dict[str, Tensor]

    def slice(self, start: int, end: int) -> "Users":
        """The users of some rows."""
        bounds = self.offsets[start : end + 1]
        return Users(
            history=self.history[bounds[0] : bounds[-1]],
            offsets=bounds - bounds[0],
            context=self.context[:, start:end],
            numeric={name: values[start:end] for name, values in self.numeric.items()},
        )


class ItemTable:
    """The items of a model: raw id -> row -> its fields."""

    def __init__(self, bundle: ServingBundle) -> None:
        items = bundle.items
        self.ids = IdTable(items["raw"], np.arange(len(items)))
        self._schema = bundle.schema
        fields = [items[f"index/{field.name}"].to_numpy().astype(np.int64) for field in self._schema.item_fields]
        self._fields = torch.from_numpy(np.stack(fields))  # (F, I)
        self._numeric = {
            field.name: torch.from_numpy(items[f"numeric/{field.name}"].to_numpy().astype(np.float32))
            for field in self._schema.numeric
            if field.role == "item"
        }

    def distinct(self, item: Tensor) -> tuple[Tensor, NDArray[np.int64]]:
        """(M,) rows of this table -> (I,) rows that differ in what the model sees of them, and (M,) the place of each row's like."""
        seen = np.vstack([self._fields[:, item].numpy(), *(values[item].numpy() for values in self._numeric.values())])
        _, first, place = np.unique(seen, axis=1, return_index=True, return_inverse=True)
        return item[torch.from_numpy(first)], place.reshape(-1)

    def batch(self, item: Tensor, users: Users) -> Batch:
        """The batch of B items (rows of this table), each with the user of its place."""
        numeric = [users.numeric[f.name] if f.role != "item" else self._numeric[f.name][item] for f in self._schema.numeric]
        return Batch(
            target=self._fields[:, item],
            history=self._fields[:, users.history],
            offsets=users.offsets,
            context=users.context,
            numeric=torch.stack(numeric, dim=1) if numeric else torch.zeros(len(item), 0),
        )

    def batch_of_pairs(self, item: Tensor, users: Users) -> Batch:
        """The batch of R users with each of M items: R * M rows, user after user; those of a user share its history."""
        num_users = len(users.offsets) - 1
        user_of = torch.arange(num_users).repeat_interleave(len(item))  # (R * M,)
        repeated = users._replace(
            context=users.context[:, user_of], numeric={name: values[user_of] for name, values in users.numeric.items()}
        )
        return replace(self.batch(item.repeat(num_users), repeated), history_of=user_of)
