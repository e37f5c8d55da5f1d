"""The items that users choose from."""

import numpy as np
import pyarrow as pa

from clickflow.errors import DataError
from clickflow.scoring.ids import IdTable
from clickflow.scoring.input_tables import InputTable
from clickflow.scoring.items import ItemTable
from clickflow.scoring.table_encoder import read_column

ROWS_PER_READ = 1 << 16


class Catalogue:
    """M different items, in the order of their table.

    Attributes:
        raw: (M,) their ids.
        rows: (M,) int64, their rows of the items' table; 0 for an unknown item.
        ids: raw id -> place among the candidates.
        num_repeated: rows of the table that repeat an item.
    """

    def __init__(self, table: InputTable, column: str, items: ItemTable) -> None:
        """Read them.

        Args:
            table: of the candidates; all other columns are left alone.
            column: of their ids.
            items: of the model.

        Raises:
            DataError: the column is missing, or a value of it is no id of an item.
        """
        table.refuse_absent({column: "columns.item"})
        found = table.schema.field(column).type
        if not table.is_text and not items.ids.takes(found):
            raise DataError(f"{table.name}, column '{column}' = {found}: not {items.ids.expected}.")
        parts = [
            read_column(rows, column, lambda ids: items.ids.canonical(ids, True, table.is_text))
            for rows in table.rows([column], ROWS_PER_READ)
        ]
        dtype = pa.int64() if items.ids.is_integer else pa.large_string()
        ids = pa.chunked_array(parts, dtype)
        self.raw = ids.unique()
        self.num_repeated = len(ids) - len(self.raw)
        self.rows = items.ids(self.raw, required=True)
        self.ids = IdTable(pa.chunked_array([self.raw]), np.arange(len(self.raw)))

    def __len__(self) -> int:
        return len(self.raw)
