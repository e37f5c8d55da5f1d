"""The items that users choose from."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickflow.data.schema import ITEM
from clickflow.scoring.input_tables import InputTable, TableRows
from clickflow.scoring.parsing import parsed, without_null_values
from clickflow.scoring.table_encoder import located
from clickflow.serving.items import ItemTable
from clickflow.serving.raw_columns import of_column

ROWS_PER_READ = 1 << 16


class Catalogue:
    """M different items, in the order of the table that has their ids in a column.

    Attributes:
        raw: (M,) their ids, in the form of the model's.
        rows: (M,) int64, their rows of the item table; 0 for an unknown item.
        num_repeated: rows of the table that repeat an item.
    """

    def __init__(self, table: InputTable, column: str, items: ItemTable) -> None:
        table.refuse_absent({column: "columns.item"})
        table.refuse_types([(column, items.ids.takes, items.ids.expected)])

        def canonical(rows: TableRows) -> pa.Array:
            values = rows.batch.column(column)
            with located(rows, {ITEM: column}), of_column(ITEM):
                return items.ids.canonical(parsed(without_null_values(values, table.dialect), items.ids) if table.is_text else values)

        ids = pa.chunked_array([canonical(rows) for rows in table.rows([column], ROWS_PER_READ)], items.ids.dtype)
        self.raw = ids.unique()
        self.num_repeated = len(ids) - len(self.raw)
        self.rows: NDArray[np.int64] = items.ids(self.raw).numpy()

    def __len__(self) -> int:
        return len(self.raw)
