"""Raw log -> prepared dataset: checked, sorted once by (user, time), encoded, split, written.

The folder's name carries a digest of (source files, data config, protocol config): preparing twice is a no-op, and two configs never
share a folder. A log that is large passes by in pieces and is worked on in parts of neighbouring users, so memory is for its users, its
items and one part. Where the parts end changes no byte of what is prepared.
"""

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clickflow.data import manifest as manifest_file
from clickflow.data import storage
from clickflow.data.dataset import PreparedDataset
from clickflow.data.dataset_files import RowFiles, write_items
from clickflow.data.log_parts import LogParts
from clickflow.data.log_totals import LogTotals
from clickflow.data.manifest import FORMAT_VERSION, Manifest
from clickflow.data.protocols import ProtocolConfig
from clickflow.data.rows import LogRows
from clickflow.data.scratch import RowProgress, Scratch
from clickflow.data.sources.parts import partition_values
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.union import DataConfig
from clickflow.data.validation import check
from clickflow.digests import digest_values

ORDERED_BY = "time, ties shuffled, negatives in streams"
"""Part of a folder's name, so that folders which were prepared by the order of a file are not taken for those of now."""
PART_BYTES = 1 << 27
"""Bytes of a table that are worked on at a time; the work needs several times that memory."""
Progress = Callable[[str], None]


def prepare(
    data: DataConfig,
    protocol: ProtocolConfig,
    home: Path,
    progress: Progress = lambda stage: None,
    report: RowProgress = lambda done, total: None,
) -> PreparedDataset:
    """Prepare a log, or open what is already prepared.

    Args:
        data: source of the log.
        protocol: which rows are impressions, and the splits.
        home: folder for downloads and prepared datasets.
        progress: called with the name of each stage as it starts.
        report: called with the rows that a stage has done.

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
    raw = data.read(files)
    manifest = storage.write_atomically(folder, lambda scratch: _write(scratch, raw, data, protocol, progress, report))
    return PreparedDataset.open(folder) if manifest is None else PreparedDataset(folder, manifest)


def _identity(data: DataConfig, protocol: ProtocolConfig, files: tuple[Path, ...]) -> str:
    """SHA-256 of everything that determines a prepared dataset; of the location of ``path`` only the columns that folders stand for."""
    contents = [(storage.digest_source(path), partition_values(path)) for path in files]
    values = [FORMAT_VERSION, ORDERED_BY, _described(data), protocol.model_dump(mode="json"), contents]
    return digest_values(values)


def _described(data: DataConfig) -> dict[str, Any]:
    return data.model_dump(mode="json", exclude={"path", "url"})


def _write(folder: Path, raw: RawLog, data: DataConfig, protocol: ProtocolConfig, progress: Progress, report: RowProgress) -> Manifest:
    """Write the whole dataset, the manifest last."""
    scratch = Scratch(folder / "scratch", PART_BYTES, report)
    log = check(raw, data, scratch)
    progress("sorting and splitting")
    parts = LogParts(log, data, scratch)
    rows = LogRows(log, parts, protocol, data.name)
    progress("counting items and fields")
    totals = LogTotals(log, parts, rows, protocol, data.name)
    progress("writing")
    files = RowFiles(rows, parts, totals, protocol, data.name)
    written = write_items(folder, log, totals) | files.write(folder)
    if scratch.folder.exists():
        shutil.rmtree(scratch.folder)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=data.name,
        protocol=protocol.model_dump(mode="json"),
        source=_described(data),
        fields=totals.fields.schema,
        timestamp_unit=raw.timestamp_unit,
        num_users=len(log.users),
        num_items=len(log.item_ids),
        num_behaviours=rows.num_behaviours,
        has_order=rows.has_order,
        history_length_quantiles=totals.splits.history_lengths(),
        splits=totals.splits.summaries(files.rows, None if totals.lists is None else totals.lists.num_lists),
        counts=log.counts | parts.counts | rows.counts | totals.counts | files.counts,
        versions={name: importlib.metadata.version(name) for name in ("clickflow", "polars", "pyarrow", "numpy")},
        checksums=written.checksums,
        files=written.files,
        fingerprint=manifest_file.fingerprint(written.checksums, totals.fields.schema),
    )
    manifest_file.write_manifest(folder, manifest)
    return manifest
