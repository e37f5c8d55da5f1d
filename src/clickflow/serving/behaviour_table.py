"""Behaviours of many users in memory or in a folder that is memory-mapped, and the histories that users had at moments.

A behaviour takes 12 bytes, a user 24 and its id. A user is found by the number of its id, by bisection, so that nothing has to be hashed
when a folder is opened, and several servers share its memory. What is strictly earlier is found by the code that prepares training data.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pyarrow import ipc

from clickflow.data.arrays import IntArray
from clickflow.data.batches import jagged_ranges
from clickflow.data.behaviours import known_before, strictly_before
from clickflow.data.history_rules import HistoryRules
from clickflow.data.id_numbers import id_numbers
from clickflow.errors import DataError, system_reason
from clickflow.serving.ids import IdTable

BEHAVIOURS, USERS, ITEMS = "behaviours.arrow", "users.arrow", "items.arrow"
RULES = b"rules"
FOLDER_VARIABLE = "CLICKFLOW_BEHAVIOURS"
"""Environment variable that names a table's folder to a server."""


@dataclass(frozen=True)
class BehaviourTable:
    """N behaviours of U users with I items, in order by user and time.

    Attributes:
        users: (U,) ids as texts, in the order of their numbers.
        user_numbers: (U,) ascending; see :mod:`~clickflow.data.id_numbers`.
        starts: (U + 2,) range of each user's behaviours; the last one is that of an unknown user, and empty.
        items: (I,) raw ids.
        item: (N,) int32, position among the items.
        timestamp: (N,) microseconds since 1970, or positions.
        rules: how the histories were made that the model was trained on.
    """

    users: pa.Array
    user_numbers: NDArray[np.uint64]
    starts: IntArray
    items: pa.Array
    item: NDArray[np.int32]
    timestamp: IntArray
    rules: HistoryRules

    @property
    def num_bytes(self) -> int:
        """Bytes of memory, or of the folder."""
        columns: list[Any] = [self.users, self.user_numbers, self.starts, self.items, self.item, self.timestamp]
        return sum(int(column.nbytes) for column in columns)

    def find(self, users: pa.Array) -> IntArray:
        """(R,) ids as texts -> (R,) positions among the users, U for an unknown one."""
        if not len(self.users):
            return np.zeros(len(users), np.int64)
        place = np.minimum(np.searchsorted(self.user_numbers, id_numbers(users)), len(self.users) - 1)
        return np.where(np.asarray(pc.equal(self.users.take(pa.array(place)), users)), place, len(self.users))

    def histories(self, user: IntArray, moment: IntArray, most: int | None = None) -> tuple[NDArray[np.int32], IntArray]:
        """Make the histories that users had at moments, as the training's were made.

        Args:
            user: (R,) position among the users.
            moment: (R,) microseconds since 1970, or positions.
            most: the most behaviours of each, the last ones; None: all.

        Returns:
            (M,) positions among the items, one history after the other, and (R + 1,) where each begins.
        """
        ends = strictly_before(self, user, known_before(moment, self.rules.history_lag, self.unit))
        starts = self.starts[user] if most is None else np.maximum(self.starts[user], ends - most)
        places, bounds = jagged_ranges(torch.from_numpy(starts), torch.from_numpy(ends))
        return self.item[places.numpy()], bounds.numpy()

    @property
    def unit(self) -> Any:
        """Unit of the timestamps."""
        return "order" if self.rules.timestamp_unit == "order" else "microseconds"

    def write(self, folder: Path) -> None:
        """Write into a folder that is there, for :meth:`open`."""
        rules = {RULES: self.rules.model_dump_json().encode()}
        _write(folder / BEHAVIOURS, pa.table({"item": self.item, "timestamp": self.timestamp}).replace_schema_metadata(rules))
        _write(folder / USERS, pa.table({"raw": self.users, "number": self.user_numbers, "end": self.starts[1:-1]}))
        _write(folder / ITEMS, pa.table({"raw": self.items}))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what :meth:`write` wrote; a DataError if it cannot be read."""
        try:
            behaviours, users, items = (_mapped(folder / name) for name in (BEHAVIOURS, USERS, ITEMS))
            end = users["end"].to_numpy()
            return cls(
                users=_array(users["raw"]),
                user_numbers=users["number"].to_numpy(),
                starts=np.concatenate([[0], end, [len(behaviours)]]),
                items=_array(items["raw"]),
                item=behaviours["item"].to_numpy(),
                timestamp=behaviours["timestamp"].to_numpy(),
                rules=HistoryRules.model_validate(json.loads(behaviours.schema.metadata[RULES])),
            )
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else type(error).__name__
            raise DataError(f"behaviours in {folder}: cannot be read ({reason}); start clickflow serve again, which makes them.") from error


def given_behaviours(rules: HistoryRules | None, ids: IdTable) -> BehaviourTable | None:
    """The table that the environment names, if it does, for a model with these rules and ids of items.

    Raises:
        DataError: it cannot be read, or was made for a model with other rules or other ids.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    table = BehaviourTable.open(Path(folder))
    if table.rules != (rules or HistoryRules()) or not ids.takes(table.items.type):
        raise DataError(
            f"{FOLDER_VARIABLE} = {folder}: made for another model, whose histories or ids are of another kind; "
            "start clickflow serve again, which makes it for the model of now."
        )
    return table


def _write(path: Path, table: pa.Table) -> None:
    with ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _mapped(path: Path) -> pa.Table:
    return ipc.open_file(pa.memory_map(str(path))).read_all()


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
