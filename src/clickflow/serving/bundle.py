"""Everything a trained model needs to score raw ids, as files: weights, config, schema, items, vocabularies.

No pickle anywhere, so that loading a model from a shared store cannot run what somebody else put there: weights are safetensors, tables are
Parquet, the rest is JSON. Tables are Arrow and not Polars, since the served model does without Polars.

A SHA-256 of each file is written with them. Without it, a file that was cut short or changed on its way would load, and then score wrongly
or fail at a request.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from pydantic_core import to_json
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clickflow.data.history_rules import HistoryRules
from clickflow.data.schema import Schema
from clickflow.digests import digest_files, first_difference
from clickflow.errors import DataError
from clickflow.models.config import ModelConfig
from clickflow.models.entry_points import check_installed

CHECKSUMS = "checksums.json"


@dataclass(frozen=True)
class ServingBundle:
    """A trained model with what turns raw ids into its inputs.

    Attributes:
        model_config: the model's config as plain values, ``name`` among them.
        schema: the fields it was trained on.
        max_history: the most behaviours that it was trained with; of a longer history the last ones count.
        state_dict: its weights.
        items: one row per item: ``raw`` id (row 0, the unknown item: null), ``index/<field>`` for each of ``schema.item_fields``,
            ``numeric/<field>`` (standardised) for each numeric item field.
        vocabularies: for each of ``schema.impression_fields`` a table of ``raw`` ids and their ``index``.
        package: the package that the model's code comes from, ``name==version``; None for clickflow.
        histories: how the histories it was trained on were made; None for a model that does not say.
    """

    model_config: dict[str, Any]
    schema: Schema
    max_history: int
    state_dict: dict[str, Tensor]
    items: pa.Table
    vocabularies: dict[str, pa.Table]
    package: str | None = None
    histories: HistoryRules | None = None

    @property
    def config(self) -> ModelConfig:
        """The model's config."""
        config: ModelConfig = TypeAdapter[Any](ModelConfig).validate_json(to_json(self.model_config))  # JSON mode: a list may fill a tuple
        return config

    def build_model(self) -> nn.Module:
        """Build the model with its weights, in evaluation mode; a ConfigError if it comes from a package that is not installed."""
        check_installed(self.model_config["name"], self.package)
        model: nn.Module = self.config.build(self.schema)
        model.load_state_dict(self.state_dict)
        return model.eval()

    def write(self, folder: Path) -> None:
        """Write all files into a new folder."""
        folder.mkdir(parents=True)
        # safetensors refuses tensors that share or skip memory.
        save_file(
            {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.state_dict.items()}, folder / "weights.safetensors"
        )
        description = {"model": self.model_config, "schema": self.schema.model_dump(mode="json"), "max_history": self.max_history}
        description |= {} if self.package is None else {"package": self.package}
        description |= {} if self.histories is None else {"histories": self.histories.model_dump(mode="json")}
        (folder / "model.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        _write_table(self.items, folder / "items.parquet")
        for field in self.schema.impression_fields:
            _write_table(self.vocabularies[field.name].select(["raw", "index"]), folder / "vocabulary" / f"{field.name}.parquet")
        (folder / CHECKSUMS).write_text(json.dumps(digest_files(folder), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises:
            DataError: a file is missing or is not as it was written; names it.
        """
        _verify(folder)
        try:
            description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            schema = Schema.model_validate_json(json.dumps(description["schema"]))  # JSON mode: a list may fill a tuple
            return cls(
                model_config=description["model"],
                schema=schema,
                max_history=description["max_history"],
                state_dict=load_file(folder / "weights.safetensors"),
                items=pq.read_table(folder / "items.parquet"),
                vocabularies={f.name: pq.read_table(folder / "vocabulary" / f"{f.name}.parquet") for f in schema.impression_fields},
                package=description.get("package"),
                histories=HistoryRules.model_validate(description["histories"]) if "histories" in description else None,
            )
        except (OSError, ValueError, SafetensorError) as error:  # of a bundle without checksums
            raise _damaged("the bundle", f"cannot be read ({error})") from error


def _verify(folder: Path) -> None:
    """Compare every file with its checksum; a bundle written before there were any is taken as it is."""
    if not (folder / CHECKSUMS).exists():
        return
    try:
        checksums: dict[str, str] = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        difference = first_difference(folder, checksums)
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(CHECKSUMS, "cannot be read") from error
    if difference:
        raise _damaged(*difference)


def _damaged(file: str, what: str) -> DataError:
    return DataError(
        f"{file}: {what}; a model's files are never changed after it is logged; restore them from a copy or log the model again."
    )


def _write_table(table: pa.Table, path: Path) -> None:
    """Write as Parquet; string views, as Polars gives them, become plain strings, which every reader knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = pa.schema([pa.field(f.name, pa.large_string()) if pa.types.is_string_view(f.type) else f for f in table.schema])
    pq.write_table(table.cast(plain), path)
