import contextlib
import errno

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clickflow.errors import DataError
from clickflow.scoring import partial as module
from clickflow.scoring.partial import OutputError, PartialOutput, partial_folder, refuse_output

FLOAT = np.dtype(np.float64)
SCHEMA = pa.schema([("a", pa.int64())])


@pytest.fixture
def output(tmp_path):
    return tmp_path / "scores.parquet"


def begun(output, values, **identity):
    """An output that was cut short after these values."""
    with contextlib.suppress(KeyboardInterrupt), made(output, **identity) as partial, partial.writer(SCHEMA):
        partial.record(np.array(values))
        raise KeyboardInterrupt


def made(output, **identity):
    return PartialOutput(output, FLOAT, {"model": "m1", "input": ["a", 1]} | identity)


def write_one_row(partial):
    with partial.writer(SCHEMA) as write:
        write(pa.record_batch([[1]], schema=SCHEMA))


def test_the_output_appears_whole_and_nothing_else_is_left(output):
    with made(output) as partial, partial.writer(SCHEMA) as write:
        for value in range(3):
            write(pa.record_batch([[value]], schema=SCHEMA))
            assert not output.exists()
    assert pq.read_table(output).to_pydict() == {"a": [0, 1, 2]}
    assert list(output.parent.iterdir()) == [output]


def test_an_output_without_rows_has_its_columns(output):
    with made(output) as partial, partial.writer(SCHEMA):
        pass
    assert pq.read_table(output).schema == SCHEMA


def test_rows_are_written_in_row_groups_of_one_size(output, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_ROW_GROUP", 4)
    with made(output) as partial, partial.writer(SCHEMA) as write:
        for start in range(0, 10, 2):
            write(pa.record_batch([[start, start + 1]], schema=SCHEMA))
    metadata = pq.read_metadata(output)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 2]


def test_what_was_recorded_is_replayed_batch_by_batch(output):
    begun(output, [0.1, 0.2, 0.3])
    with made(output) as partial:
        assert partial.changed == []
        assert partial.num_recorded == 3
        np.testing.assert_array_equal(partial.replay(2), [0.1, 0.2])
        assert partial.replay(2) is None  # a batch of which a part is there is scored again as a whole
        assert partial.num_recorded == 2
        partial.record(np.array([0.3, 0.4]))
        assert partial.num_recorded == 4


def test_a_result_that_was_cut_within_a_number_is_not_replayed(output):
    begun(output, [0.1, 0.2])
    journal = partial_folder(output) / module.JOURNAL
    journal.write_bytes(journal.read_bytes()[:-3])
    with made(output) as partial:
        np.testing.assert_array_equal(partial.replay(1), [0.1])
        assert partial.replay(1) is None
    assert journal.stat().st_size == 8


@pytest.mark.parametrize(("identity", "changed"), [({"model": "m2"}, ["model"]), ({"model": "m2", "input": ["a", 2]}, ["model", "input"])])
def test_another_model_or_input_begins_anew_and_says_so(output, identity, changed):
    begun(output, [0.1])
    with made(output, **identity) as partial:
        assert partial.changed == changed
        assert partial.replay(1) is None
    with made(output, **identity) as partial:
        assert partial.changed == []


@pytest.mark.parametrize("content", ['{"mod', "[]", ""])
def test_a_manifest_that_was_cut_short_begins_anew(output, content):
    begun(output, [0.1])
    (partial_folder(output) / module.MANIFEST).write_text(content)
    with made(output) as partial:
        assert partial.replay(1) is None


def test_an_output_is_not_written_twice_at_the_same_time(output):
    with made(output), pytest.raises(OutputError, match="another process is writing it; wait for it, or name another file"):
        made(output)
    made(output).__exit__()


def test_a_full_disk_keeps_what_was_scored_and_leaves_no_output(output, monkeypatch):
    def full(self, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    message = r"cannot be written \(No space left on device\); free some space .* carries on"
    with made(output) as partial:
        partial.record(np.array([0.5]))
        with pytest.raises(OutputError, match=message):
            write_one_row(partial)
    assert [path.name for path in output.parent.iterdir()] == [".scores.parquet.partial"]
    assert sorted(path.name for path in partial_folder(output).iterdir()) == [module.JOURNAL, module.LOCK, module.MANIFEST]
    with made(output) as partial:
        np.testing.assert_array_equal(partial.replay(1), [0.5])


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path):
    (tmp_path / "there.parquet").write_text("")
    with pytest.raises(DataError, match=r"there\.parquet: exists already; name another file, or set overwrite=true"):
        refuse_output(tmp_path / "there.parquet", overwrite=False)
    refuse_output(tmp_path / "there.parquet", overwrite=True)
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist; make it"):
        refuse_output(tmp_path / "nowhere" / "scores.parquet", overwrite=True)
    with pytest.raises(DataError, match=r"is a folder; name a file in it"):
        refuse_output(tmp_path, overwrite=True)
