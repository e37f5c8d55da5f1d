"""Raw log -> prepared dataset: sorted once by (user, time), encoded, split, written beside its place and renamed into it.

The folder's name carries a fingerprint of (source files, data config, protocol config): preparing twice is a no-op, and two configs never
share a folder. Raw ids become dense codes at once; everything after that is arithmetic on integer arrays.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data import storage
from clickflow.data.dataset import PreparedDataset
from clickflow.data.negatives import sample_negatives
from clickflow.data.protocols import Behaviours, Impressions, Interactions, NextItemConfig, ProtocolConfig, sort_behaviours
from clickflow.data.schema import ITEM, LABEL, RATING, TIMESTAMP, TRUE_PROBABILITY, USER, CategoricalField, FieldSpec, NumericField, Schema
from clickflow.data.sources.union import DataConfig
from clickflow.data.splits import SPLITS, TRAIN, refuse_empty_splits
from clickflow.data.storage import FORMAT_VERSION, Manifest, SplitSummary
from clickflow.data.validation import CheckedLog, check
from clickflow.data.vocabulary import RAW, Vocabulary
from clickflow.errors import DataError

Integers = NDArray[np.int64]
Progress = Callable[[str], None]


def prepare(data: DataConfig, protocol: ProtocolConfig, home: Path, progress: Progress = lambda stage: None) -> PreparedDataset:
    """Prepare a log, or open what is already prepared.

    Args:
        data: where the log comes from.
        protocol: who is an impression, and the splits.
        home: folder for downloads and prepared datasets.
        progress: called with the name of each stage as it starts.

    Raises:
        DataError: the log cannot be used, or the folder cannot be written; nothing half-written is left.
    """
    progress("looking for the source")
    files = data.files(home / "downloads")
    folder = home / "datasets" / f"{data.name}-{protocol.name}-{_identity(data, protocol, files)[:12]}"
    if folder.exists():
        progress("checking what is prepared")
        return PreparedDataset.open(folder)
    progress("reading")
    log = check(data.read(files), data)
    progress("sorting and splitting")
    prepared = _Prepared(log, data, protocol)
    progress("writing")
    _write_atomically(folder, prepared.write)
    return PreparedDataset.open(folder)


def _identity(data: DataConfig, protocol: ProtocolConfig, files: tuple[Path, ...]) -> str:
    """SHA-256 of what a prepared dataset is a function of; where the files lie is not part of it."""
    config = data.model_dump(mode="json", exclude={"path", "url"})
    contents = []
    for path in files:
        with path.open("rb") as file:
            contents.append(hashlib.file_digest(file, "sha256").hexdigest())
    values = [FORMAT_VERSION, config, protocol.model_dump(mode="json"), contents]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _write_atomically(folder: Path, write: Callable[[Path], None]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        write(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        # Another process may have prepared the same meanwhile: its folder is as good as ours.
        if not (folder / storage.MANIFEST).exists():
            raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> DataError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return DataError(f"{folder}: cannot be written ({reason}); free some space or set home=FOLDER to a place that can be written.")


class _Prepared:
    """One log on its way from raw frames to the folder; each step reads what the steps before it left."""

    def __init__(self, log: CheckedLog, data: DataConfig, protocol: ProtocolConfig) -> None:
        self.log, self.data, self.protocol = log, data, protocol
        self.counts = dict(log.counts)
        self.users, self.items = _distinct(log, USER), _distinct(log, ITEM)
        self.behaviours, interactions = self._sorted()
        self.impressions = protocol.impressions(interactions, self.behaviours)
        refuse_empty_splits(self.impressions.split, f"data set {data.name}")
        self.train_rows = np.flatnonzero(self.impressions.split == TRAIN)
        self.item_counts = self._count_items()
        if isinstance(protocol, NextItemConfig):
            self.impressions = self._with_negatives(protocol)
        self.item_order, self.item_row = self._order_items()

    def _sorted(self) -> tuple[Behaviours, Interactions]:
        interactions = self._encode(self.log.interactions)
        if self.log.behaviours is not None:
            if isinstance(self.protocol, NextItemConfig) and any(f.role != "item" for f in self.log.raw.fields):
                raise DataError(
                    f"data set {self.data.name}: next_item takes its rows from the behaviour table, which has no user or context fields; "
                    "leave out data.behaviours or the fields, or choose protocol=impressions."
                )
            past, source_row = self._encode(self.log.behaviours), np.arange(self.log.behaviours.height)
        else:
            past, source_row = interactions, np.arange(len(interactions.group))
            if interactions.label is not None:  # behaviours are the clicks
                source_row = np.flatnonzero(interactions.label)
        group, item, timestamp = (column[source_row] for column in (past.group, past.item, past.timestamp))
        behaviours = sort_behaviours(group, item, timestamp, source_row, len(self.users))
        self.counts["users_with_one_behaviour"] = int((np.diff(behaviours.starts) == 1).sum())
        return behaviours, interactions

    def _encode(self, frame: pl.DataFrame) -> Interactions:
        return Interactions(
            group=_codes(frame[USER], self.users),
            item=_codes(frame[ITEM], self.items),
            timestamp=frame[TIMESTAMP].to_numpy(),
            label=frame[LABEL].to_numpy().astype(np.uint8) if LABEL in frame.columns else None,
            rating=frame[RATING].to_numpy().astype(np.float64) if RATING in frame.columns else None,
        )

    def _count_items(self) -> Integers:
        """Occurrences of each item in train: as a target, and as a behaviour that some train history covers."""
        rows, past = self.impressions, self.behaviours
        edges = np.zeros(len(past.group) + 1, np.int64)
        np.add.at(edges, rows.history_start[self.train_rows], 1)
        np.add.at(edges, rows.history_end[self.train_rows], -1)
        covered = np.cumsum(edges[:-1]) > 0
        targets = np.bincount(rows.item[self.train_rows], minlength=len(self.items))
        return targets + np.bincount(past.item[covered], minlength=len(self.items))

    def _with_negatives(self, protocol: NextItemConfig) -> Impressions:
        """Each positive followed by its negative; train draws among train's items, the other splits among all of them."""
        rows, past, num_items = self.impressions, self.behaviours, len(self.items)
        own_keys = np.unique(past.group * num_items + past.item)
        everywhere = np.bincount(past.item, minlength=num_items)
        rng = np.random.default_rng(protocol.seed)
        negatives = np.empty(len(rows.item), np.int64)
        is_train = rows.split == TRAIN
        for chosen, weights in ((is_train, self.item_counts), (~is_train, everywhere)):
            uniform = protocol.negatives == "uniform"
            negatives[chosen] = sample_negatives(rows.group[chosen], own_keys, weights, uniform=uniform, rng=rng)
        kept = np.ones(2 * len(negatives), bool)
        kept[1::2] = negatives >= 0
        self.counts["positives_without_negative"] = int((negatives < 0).sum())
        doubled = {name: np.repeat(values, 2)[kept] for name, values in vars(rows).items()}
        doubled[ITEM] = np.stack([rows.item, negatives], axis=1).ravel()[kept]
        doubled[LABEL] = np.tile(np.array([1, 0], np.uint8), len(negatives))[kept]
        return replace(rows, **doubled)

    def _order_items(self) -> tuple[Integers, Integers]:
        """Item codes in the order of their rows (train's by count, then those train never saw), and each code's row (from 1)."""
        order = np.lexsort((np.arange(len(self.items)), -self.item_counts))
        row = np.empty(len(order), np.int64)
        row[order] = np.arange(1, len(order) + 1)
        self.counts["items_unseen_in_train"] = int((self.item_counts == 0).sum())
        return order, row

    def write(self, folder: Path) -> None:
        """Write the whole dataset."""
        checksums: dict[str, str] = {}
        raw_items = self.items[self.item_order].rename(RAW)
        fields, item_columns, row_columns = self._encode_fields(folder, raw_items, checksums)
        checksums |= storage.write_frame(folder, "raw/item", raw_items.to_frame())
        checksums |= storage.write_frame(folder, "raw/user", self.users.rename(RAW).to_frame())
        checksums |= storage.write_columns(folder, "items", item_columns)
        checksums |= storage.write_columns(folder, "behaviours", {ITEM: self.item_row[self.behaviours.item].astype(np.int32)})
        for code, name in enumerate(SPLITS):
            rows = np.flatnonzero(self.impressions.split == code)
            checksums |= storage.write_columns(folder, name, {key: values[rows] for key, values in row_columns.items()})
        storage.write_manifest(folder, self._manifest(fields, checksums))

    def _encode_fields(
        self, folder: Path, raw_items: pl.Series, checksums: dict[str, str]
    ) -> tuple[Schema, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Fit and write the vocabularies; the columns of ``items`` and of the impressions."""
        rows = self.impressions
        position = _smallest(len(self.behaviours.group))
        row_columns: dict[str, NDArray[Any]] = {
            "group": rows.group.astype(np.int32),
            ITEM: self.item_row[rows.item].astype(np.int32),
            "history_start": rows.history_start.astype(position),
            "history_end": rows.history_end.astype(position),
            LABEL: rows.label,
        }
        counts = self.item_counts[self.item_order]
        item_table = pl.DataFrame({ITEM: raw_items})
        if self.log.items is not None:
            item_table = item_table.join(self.log.items, on=ITEM, how="left", maintain_order="left")
        categorical: list[CategoricalField] = []
        numeric: list[NumericField] = []
        item_columns: dict[str, NDArray[Any]] = {}
        for spec in (FieldSpec(name=ITEM, role="item"), *self.log.raw.fields):
            of_item = spec.role == "item"
            values = item_table[spec.name] if of_item else self.log.interactions[spec.name]
            train = values if of_item else values[rows.source_row[self.train_rows]]
            if spec.kind == "categorical":
                vocabulary = Vocabulary.fit(train, counts if of_item else None)
                checksums |= storage.write_frame(folder, f"vocabulary/{spec.name}", vocabulary.table)
                categorical.append(CategoricalField(name=spec.name, role=spec.role, vocabulary_size=len(vocabulary)))
                column, key = vocabulary.encode(values).astype(_smallest(len(vocabulary))), f"index/{spec.name}"
            else:
                field = _fit_numeric(spec, train, counts if of_item else None)
                numeric.append(field)
                column, key = _standardise(values, field), f"numeric/{spec.name}"
            if of_item:
                item_columns[key] = np.concatenate([np.zeros(1, column.dtype), column])
            else:
                row_columns[key] = column[rows.source_row]
        if TRUE_PROBABILITY in self.log.interactions.columns and not isinstance(self.protocol, NextItemConfig):
            row_columns[TRUE_PROBABILITY] = self.log.interactions[TRUE_PROBABILITY].to_numpy()[rows.source_row]
        return Schema(categorical=tuple(categorical), numeric=tuple(numeric)), item_columns, row_columns

    def _manifest(self, fields: Schema, checksums: dict[str, str]) -> Manifest:
        rows = self.impressions
        lengths = rows.history_end - rows.history_start
        quantiles = {f"p{q}": float(np.quantile(lengths, q / 100)) for q in (10, 25, 50, 75, 90, 99, 100)}
        return Manifest(
            format_version=FORMAT_VERSION,
            name=self.data.name,
            protocol=self.protocol.model_dump(mode="json"),
            source=self.data.model_dump(mode="json", exclude={"path", "url"}),
            fields=fields,
            timestamp_unit=self.log.raw.timestamp_unit,
            num_users=len(self.users),
            num_items=len(self.items),
            num_behaviours=len(self.behaviours.group),
            history_length_quantiles=quantiles | {"mean": float(lengths.mean())},
            splits={name: _summary(rows, rows.split == code) for code, name in enumerate(SPLITS)},
            counts=self.counts,
            versions={name: importlib.metadata.version(name) for name in ("clickflow", "polars", "pyarrow", "numpy")},
            checksums=checksums,
            fingerprint=storage.fingerprint(checksums, fields),
        )


def _distinct(log: CheckedLog, column: str) -> pl.Series:
    """Sorted raw ids of the whole log; an item that is only in the item table does not count."""
    frames = [log.interactions] if log.behaviours is None else [log.interactions, log.behaviours]
    return pl.concat([frame.select(column).unique() for frame in frames]).unique().sort(column)[column]


def _codes(raw: pl.Series, distinct: pl.Series) -> Integers:
    """Position of each raw id among the sorted distinct ones."""
    table = pl.DataFrame({"raw": distinct}).with_row_index("code")
    joined = pl.DataFrame({"raw": raw}).join(table, on="raw", how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)


def _smallest(size: int) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
    """The smallest integer type that holds 0 ... size."""
    for dtype in (np.uint8, np.uint16, np.int32):
        if size <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def _fit_numeric(spec: FieldSpec, train: pl.Series, weights: NDArray[np.int64] | None) -> NumericField:
    """Mean and spread over train; an item's value counts as often as the item occurs."""
    values = train.cast(pl.Float64).to_numpy()
    known = np.isfinite(values)
    weight = known.astype(np.float64) if weights is None else weights * known
    filled = np.where(known, values, 0.0)
    total = max(weight.sum(), 1.0)
    mean = float((filled * weight).sum() / total)
    std = float(np.sqrt((weight * (filled - mean) ** 2).sum() / total))
    return NumericField(name=spec.name, role=spec.role, mean=mean, std=std if std > 0 else 1.0)


def _standardise(values: pl.Series, field: NumericField) -> NDArray[np.float32]:
    standardised = (values.cast(pl.Float64).to_numpy() - field.mean) / field.std
    return np.where(np.isfinite(standardised), standardised, 0.0).astype(np.float32)


def _summary(rows: Impressions, chosen: NDArray[np.bool_]) -> SplitSummary:
    timestamps = rows.timestamp[chosen]
    return SplitSummary(
        rows=int(chosen.sum()),
        positives=int(rows.label[chosen].sum()),
        users=len(np.unique(rows.group[chosen])),
        first_timestamp=int(timestamps.min()),
        last_timestamp=int(timestamps.max()),
    )
