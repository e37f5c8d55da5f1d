"""Files of a prepared dataset: mapped and not copied, whole or refused."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickflow.data import manifest as manifest_file
from clickflow.data import storage
from clickflow.data.dataset import PreparedDataset
from clickflow.errors import DataError

REMEDY = "a prepared folder is never changed after it is made; remove it and prepare again"


@pytest.fixture
def copied(small_dataset, tmp_path) -> Path:
    """Copy of a prepared folder that a test may damage."""
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "prepared"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 1_000])
def test_columns_come_back_as_they_were(tmp_path, dtype, size):
    values = np.random.default_rng(0).integers(0, 200, size).astype(dtype)
    storage.write_columns(tmp_path, "some", {"a": values, "b": values[::-1]})
    columns = storage.read_columns(tmp_path, "some")
    np.testing.assert_array_equal(columns["a"], values)
    np.testing.assert_array_equal(columns["b"], values[::-1])
    assert size == 0 or columns["a"].dtype == dtype


def test_columns_are_views_of_the_file_that_nobody_can_write_to(tmp_path):
    values = np.arange(10_000, dtype=np.int32)
    storage.write_columns(tmp_path, "some", {"a": values})
    column = storage.read_columns(tmp_path, "some")["a"]
    assert not column.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1
    # A change of the file changes the column, so it is not a copy.
    content = (tmp_path / "some.arrow").read_bytes()
    with (tmp_path / "some.arrow").open("r+b") as file:
        file.seek(content.index(values.tobytes()))
        file.write(np.int32(77).tobytes())
    assert column[0] == 77


def test_splits_read_from_the_mapped_files_of_the_dataset(small_dataset):
    split = small_dataset.split("train")
    for column in (split.behaviours, *split.rows.values()):
        assert not column.flags.writeable
        assert not column.flags.owndata


def test_the_checksum_of_a_column_depends_on_values_order_type_and_length():
    columns = [[1, 2, 3], [1, 3, 2], [1, 2], [1, 2, 3, 0]]
    arrays = [np.array(values, dtype) for values in columns for dtype in (np.int32, np.int64)]
    assert len({storage.digest(values) for values in arrays}) == len(arrays)
    assert storage.digest(np.arange(6)[::2]) == storage.digest(np.array([0, 2, 4]))


def test_columns_of_the_same_bytes_but_other_types_have_other_checksums():
    zeros = [np.zeros(8, np.uint8), np.zeros(4, np.uint16), np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(1, np.int64)]
    assert len({column.tobytes() for column in zeros}) == 1
    assert len({storage.digest(column) for column in zeros}) == len(zeros)


def test_the_checksum_of_a_column_is_the_one_that_prepared_folders_carry():
    """Another formula would call every data set prepared so far damaged."""
    column = np.array([1, 2, 3], np.int32)
    assert storage.digest(column) == hashlib.sha256(b"<i4:3:" + column.tobytes()).hexdigest()
    assert storage.digest(column[:0]) == hashlib.sha256(b"<i4:0:").hexdigest()


def test_the_checksum_of_a_frame_depends_on_the_types_of_its_columns():
    zeros = [pl.Series("raw", [0, 0], pl.Int32), pl.Series("raw", [0], pl.Int64), pl.Series("raw", [0.0], pl.Float64)]
    assert len({storage.digest_frame(column.to_frame()) for column in zeros}) == len(zeros)


def test_the_checksum_of_a_frame_depends_on_where_one_text_ends_and_the_next_begins():
    frames = [["ab", "c"], ["a", "bc"], ["ab", None], ["ab", "null"], ["ab"], ["ab", ""]]
    digests = {storage.digest_frame(pl.DataFrame({"raw": texts}, schema={"raw": pl.String})) for texts in frames}
    assert len(digests) == len(frames)
    assert storage.digest_frame(pl.DataFrame({"raw": [1, 2]})) != storage.digest_frame(pl.DataFrame({"other": [1, 2]}))


def test_the_fingerprint_is_a_function_of_values_and_not_of_the_files_bytes(small_dataset):
    manifest = small_dataset.manifest
    for split in ("train", "validation", "test"):
        for name, values in small_dataset.split(split).rows.items():
            assert manifest.checksums[f"{split}.arrow:{name}"] == storage.digest(values)
    assert manifest.checksums["raw/item.parquet"] == storage.digest_frame(small_dataset.raw_items().to_frame())
    assert manifest.fingerprint == manifest_file.fingerprint(manifest.checksums, manifest.fields)
    assert manifest_file.MANIFEST not in manifest.files


DAMAGE = {
    "truncated": lambda content: content[:-1],
    "halved": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "longer": lambda content: content + b"\0",
}


def damage_each(folder: Path, how: str) -> Iterator[str]:
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        content = path.read_bytes()
        if how == "deleted":
            path.unlink()
        else:
            path.write_bytes(DAMAGE[how](content))
        yield path.relative_to(folder).as_posix()
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["deleted", *DAMAGE])
def test_any_missing_file_of_a_prepared_folder_is_noticed(copied, how):
    for name in damage_each(copied, how):
        if name == manifest_file.MANIFEST and how == "truncated":
            continue  # the end of the line; nothing is lost
        with pytest.raises(DataError, match=f"{name} (cannot be read|does not match its checksum).*{REMEDY}"):
            PreparedDataset.open(copied)
    PreparedDataset.open(copied)


@given(st.data())
@settings(max_examples=150)
def test_no_flipped_bit_in_any_file_goes_unnoticed(small_dataset, tmp_path_factory, data):
    names = sorted(small_dataset.manifest.files)
    folder = tmp_path_factory.getbasetemp() / "flipped"
    if not folder.exists():
        shutil.copytree(small_dataset.folder, folder)
    path = folder / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        with pytest.raises(DataError, match=f"does not match its checksum; {REMEDY}"):
            PreparedDataset.open(folder)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"text"', "{}", '{"format_version": 2}', "\0\0\0", '{"format_version": "2"}'],
)
def test_a_garbled_manifest_is_refused(copied, text):
    (copied / manifest_file.MANIFEST).write_text(text)
    with pytest.raises(DataError, match=rf"manifest\.json cannot be read.*{REMEDY}|format version 2: this clickflow reads"):
        PreparedDataset.open(copied)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b'{"format_version": \xe9}'])
def test_a_manifest_that_is_not_text_is_refused(copied, content):
    (copied / manifest_file.MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        PreparedDataset.open(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest["fields"]["categorical"][0].update(vocabulary_size=3), "does not match its fingerprint"),
        (lambda manifest: manifest["checksums"].popitem(), "does not match its fingerprint"),
        (lambda manifest: manifest.update(fingerprint="0" * 64), "does not match its fingerprint"),
        (lambda manifest: manifest.pop("splits"), "cannot be read"),
        (lambda manifest: manifest.update(extra=1), "cannot be read"),
    ],
)
def test_a_changed_manifest_is_refused(copied, change, message):
    path = copied / manifest_file.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=rf"manifest\.json {message}.*{REMEDY}"):
        PreparedDataset.open(copied)


def test_another_format_version_is_refused_with_its_number(copied):
    path = copied / manifest_file.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    message = (
        rf"prepared = format version 99: this clickflow reads version {manifest_file.FORMAT_VERSION}; remove the folder and prepare again"
    )
    with pytest.raises(DataError, match=message):
        PreparedDataset.open(copied)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: manifest\.json cannot be read .*No such file or directory"):
        PreparedDataset.open(tmp_path / "nowhere")


def test_a_file_that_vanishes_after_opening_is_reported(copied):
    dataset = PreparedDataset.open(copied)
    (copied / "train.arrow").write_bytes(b"no arrow")
    (copied / "vocabulary" / "item.parquet").unlink()
    with pytest.raises(DataError, match=r"train\.arrow cannot be read \(.+\); "):
        dataset.split("train")
    with pytest.raises(DataError, match=r"vocabulary/item\.parquet cannot be read \(.+\); "):
        dataset.vocabulary("item")


def test_an_error_of_another_sort_is_not_taken_for_a_full_disk(tmp_path):
    def wrong(scratch: Path) -> manifest_file.Manifest:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        storage.write_atomically(tmp_path / "some", wrong)
    assert list(tmp_path.iterdir()) == []
