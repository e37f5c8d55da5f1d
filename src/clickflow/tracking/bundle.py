"""Everything a trained model needs to score raw ids, as files: weights, config, schema, items, vocabularies.

No pickle anywhere, so that loading a model from a shared store cannot run what somebody else put there: weights are safetensors, tables are
Parquet, the rest is JSON. Tables are Arrow and not Polars, since the served model does without Polars.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file
from torch import Tensor

from clickflow.data.schema import Schema


@dataclass(frozen=True)
class ServingBundle:
    """A trained model with what turns raw ids into its inputs.

    Attributes:
        model_config: the model's config as plain values, ``name`` among them.
        schema: the fields it was trained on.
        max_history: behaviours it was trained with at most; of a longer history the last ones count.
        state_dict: its weights.
        items: one row an item: ``raw`` id (row 0, the unknown item: null), ``index/<field>`` for each of ``schema.item_fields``,
            ``numeric/<field>`` (standardised) for each numeric item field.
        vocabularies: for each of ``schema.impression_fields`` a table of ``raw`` ids and their ``index``.
    """

    model_config: dict[str, Any]
    schema: Schema
    max_history: int
    state_dict: dict[str, Tensor]
    items: pa.Table
    vocabularies: dict[str, pa.Table]

    def write(self, folder: Path) -> None:
        """Write all files into a new folder."""
        folder.mkdir(parents=True)
        # safetensors refuses tensors that share or skip memory.
        save_file(
            {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.state_dict.items()}, folder / "weights.safetensors"
        )
        description = {"model": self.model_config, "schema": self.schema.model_dump(mode="json"), "max_history": self.max_history}
        (folder / "model.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        _write_table(self.items, folder / "items.parquet")
        for field in self.schema.impression_fields:
            _write_table(self.vocabularies[field.name].select(["raw", "index"]), folder / "vocabulary" / f"{field.name}.parquet")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :meth:`write` wrote."""
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        schema = Schema.model_validate_json(json.dumps(description["schema"]))  # JSON mode: a list may fill a tuple
        return cls(
            model_config=description["model"],
            schema=schema,
            max_history=description["max_history"],
            state_dict=load_file(folder / "weights.safetensors"),
            items=pq.read_table(folder / "items.parquet"),
            vocabularies={f.name: pq.read_table(folder / "vocabulary" / f"{f.name}.parquet") for f in schema.impression_fields},
        )


def _write_table(table: pa.Table, path: Path) -> None:
    """Write as Parquet; string views, as Polars gives them, become plain strings, which every reader knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = pa.schema([pa.field(f.name, pa.large_string()) if pa.types.is_string_view(f.type) else f for f in table.schema])
    pq.write_table(table.cast(plain), path)
