"""Raw log -> prepared dataset: checked, sorted once by (user, time), encoded, split, written.

The folder's name carries a digest of (source files, data config, protocol config): preparing twice is a no-op, and two configs never
share a folder.
"""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data import manifest as manifest_file
from clickflow.data import storage
from clickflow.data.dataset import LIST_ID, RAW_TITLE, PreparedDataset
from clickflow.data.fields import EncodedFields, encode_fields, smallest_integer
from clickflow.data.kinds import behaviour_kinds
from clickflow.data.lists import list_counts, list_numbers, num_lists
from clickflow.data.manifest import FORMAT_VERSION, Manifest, SplitSummary
from clickflow.data.negatives import interleave
from clickflow.data.protocols import Impressions, ProtocolConfig
from clickflow.data.rows import LogRows, make_rows
from clickflow.data.schema import ITEM, KIND, LABEL, TITLE, TRUE_PROBABILITY
from clickflow.data.sources.parts import partition_values
from clickflow.data.sources.union import DataConfig
from clickflow.data.splits import SPLITS
from clickflow.data.storage import Written
from clickflow.data.validation import CheckedLog, check
from clickflow.data.vocabulary import RAW
from clickflow.digests import digest_values

ORDERED_BY = "time, ties shuffled"
"""Part of a folder's name, so that folders which were prepared by the order of a file are not taken for those of now."""
Progress = Callable[[str], None]

HISTORY_QUANTILES = (10, 25, 50, 75, 90, 99, 100)
"""Per cent."""


def prepare(data: DataConfig, protocol: ProtocolConfig, home: Path, progress: Progress = lambda stage: None) -> PreparedDataset:
    """Prepare a log, or open what is already prepared.

    Args:
        data: source of the log.
        protocol: which rows are impressions, and the splits.
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
    storage.refuse_unwritable(folder)
    progress("reading")
    log = check(data.read(files), data)
    progress("sorting and splitting")
    rows = make_rows(log, protocol, data.name)
    fields = encode_fields(log, rows)
    progress("writing")
    manifest = storage.write_atomically(folder, lambda scratch: _write(scratch, data, protocol, log, rows, fields))
    return PreparedDataset.open(folder) if manifest is None else PreparedDataset(folder, manifest)


def _identity(data: DataConfig, protocol: ProtocolConfig, files: tuple[Path, ...]) -> str:
    """SHA-256 of everything that determines a prepared dataset; of the log's location only the columns that folders stand for."""
    contents = [(storage.digest_source(path), partition_values(path)) for path in files]
    values = [FORMAT_VERSION, ORDERED_BY, _described(data), protocol.model_dump(mode="json"), contents]
    return digest_values(values)


def _described(data: DataConfig) -> dict[str, Any]:
    return data.model_dump(mode="json", exclude={"path", "url"})


def _write(folder: Path, data: DataConfig, protocol: ProtocolConfig, log: CheckedLog, rows: LogRows, fields: EncodedFields) -> Manifest:
    """Write the whole dataset, the manifest last."""
    written = storage.write_frame(folder, "raw/item", rows.items.rename(RAW).to_frame())
    written |= storage.write_frame(folder, "raw/user", rows.users.rename(RAW).to_frame())
    if log.items is not None and TITLE in log.items.columns:
        titles = rows.items.rename(ITEM).to_frame().join(log.items.select(ITEM, TITLE), on=ITEM, how="left", maintain_order="left")
        title_file = storage.write_frame(folder, RAW_TITLE, titles.select(pl.col(TITLE).cast(pl.String).alias(RAW)))
        written |= Written({}, title_file.files)  # no model sees the titles, so they are no part of the fingerprint
    for name, vocabulary in fields.vocabularies.items():
        written |= storage.write_frame(folder, f"vocabulary/{name}", vocabulary.table)
    written |= storage.write_columns(folder, "items", fields.item_columns)
    behaviours: dict[str, NDArray[Any]] = {ITEM: rows.behaviours.item.astype(np.int32)}
    kinds = behaviour_kinds(log, rows)
    if kinds is not None:
        behaviours[KIND] = kinds.index
        written |= storage.write_frame(folder, f"vocabulary/{KIND}", kinds.vocabulary.table)
    written |= storage.write_columns(folder, "behaviours", behaviours)
    list_id = list_numbers(log, rows)
    splits: dict[str, SplitSummary] = {}
    for code, name in enumerate(SPLITS):
        chosen = np.flatnonzero(rows.impressions.split == code)
        columns = _split_columns(rows, fields, log, chosen)
        if list_id is not None:
            columns[LIST_ID] = list_id[chosen].astype(np.int32 if len(list_id) <= np.iinfo(np.int32).max else np.int64)
        written |= storage.write_columns(folder, name, columns)
        splits[name] = _summary(columns, rows.impressions.timestamp[chosen])
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=data.name,
        protocol=protocol.model_dump(mode="json"),
        source=_described(data),
        fields=fields.schema,
        timestamp_unit=log.raw.timestamp_unit,
        num_users=len(rows.users),
        num_items=len(rows.items),
        num_behaviours=len(rows.behaviours.group),
        has_order=rows.has_order,
        history_length_quantiles=_history_lengths(rows.impressions),
        splits=splits,
        counts=log.counts
        | rows.counts
        | fields.counts
        | ({} if list_id is None else list_counts(list_id, rows))
        | ({} if kinds is None else kinds.counts),
        versions={name: importlib.metadata.version(name) for name in ("clickflow", "polars", "pyarrow", "numpy")},
        checksums=written.checksums,
        files=written.files,
        fingerprint=manifest_file.fingerprint(written.checksums, fields.schema),
    )
    manifest_file.write_manifest(folder, manifest)
    return manifest


def _split_columns(rows: LogRows, fields: EncodedFields, log: CheckedLog, chosen: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Columns of a split's file for the chosen rows of the impressions, in the smallest types that fit."""
    impressions = rows.impressions
    position = smallest_integer(len(rows.behaviours.group))
    columns: dict[str, NDArray[Any]] = {
        "group": impressions.group[chosen].astype(np.int32),
        ITEM: impressions.item[chosen].astype(np.int32),
        "history_start": impressions.history_start[chosen].astype(position),
        "history_end": impressions.history_end[chosen].astype(position),
        LABEL: impressions.label[chosen],
    }
    source_row = impressions.source_row[chosen]
    columns |= {key: values[source_row] for key, values in fields.row_columns.items()}
    if rows.negatives is not None:
        return interleave(columns, rows.negatives[chosen])
    if TRUE_PROBABILITY in log.interactions.columns:  # of clicks on what was shown; sampled negatives have none
        columns[TRUE_PROBABILITY] = log.interactions[TRUE_PROBABILITY].to_numpy()[source_row]
    return columns


def _history_lengths(impressions: Impressions) -> dict[str, float]:
    lengths = impressions.history_end - impressions.history_start
    quantiles = np.percentile(lengths, HISTORY_QUANTILES).tolist()
    return {f"p{q}": value for q, value in zip(HISTORY_QUANTILES, quantiles, strict=True)} | {"mean": float(lengths.mean())}


def _summary(columns: dict[str, NDArray[Any]], timestamp: NDArray[np.int64]) -> SplitSummary:
    return SplitSummary(
        rows=len(columns[LABEL]),
        positives=int(columns[LABEL].sum()),
        users=int(np.count_nonzero(np.bincount(columns["group"]))),
        first_timestamp=int(timestamp.min()),
        last_timestamp=int(timestamp.max()),
        lists=num_lists(columns[LIST_ID]) if LIST_ID in columns else None,
    )
