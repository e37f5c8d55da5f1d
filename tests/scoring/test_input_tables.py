import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clickflow.data.sources.dialect import Dialect
from clickflow.errors import DataError
from clickflow.scoring.input_tables import open_table


def write(path, text):
    path.write_text(text)
    return path


def read(path, columns, rows_per_batch=2, separator=","):
    return list(open_table(path, "input", Dialect(separator=separator)).rows(columns, rows_per_batch))


def test_parquet_is_cut_into_batches_of_one_size_across_row_groups(tmp_path):
    pq.write_table(pa.table({"a": range(7), "b": range(7)}), tmp_path / "t.parquet", row_group_size=3)
    parts = read(tmp_path / "t.parquet", ["b"], rows_per_batch=4)
    assert [part.batch.to_pydict() for part in parts] == [{"b": [0, 1, 2, 3]}, {"b": [4, 5, 6]}]
    assert [(part.file, part.first_row) for part in parts] == [("t.parquet", 0), ("t.parquet", 4)]


@pytest.mark.parametrize("where", ["", "*.parquet"], ids=["folder", "glob"])
def test_files_of_a_folder_are_one_table_in_the_order_of_their_names(tmp_path, where):
    pq.write_table(pa.table({"a": [3]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    table = open_table(tmp_path / where, "input", Dialect())
    assert [(row.file, row.first_row, row.batch["a"].to_pylist()) for row in table.rows(["a"], 9)] == [
        ("a.parquet", 0, [1, 2]),
        ("b.parquet", 0, [3]),
    ]
    assert table.num_rows == 3


def test_csv_columns_are_texts_as_they_stand(tmp_path):
    path = write(tmp_path / "t.csv", 'a,b\n007,"1 2"\n1.50,\n"x\ny", z\n')
    parts = read(path, ["b", "a"])
    assert [part.batch.to_pydict() for part in parts] == [{"b": ["1 2", None], "a": ["007", "1.50"]}, {"b": [" z"], "a": ["x\ny"]}]
    assert open_table(path, "input", Dialect()).num_rows is None


@pytest.mark.parametrize(("name", "text", "separator"), [("t.tsv", "a\tb\n1\t2\n", ","), ("t.csv", "a;b\n1;2\n", ";")])
def test_separators_of_csv(tmp_path, name, text, separator):
    assert read(write(tmp_path / name, text), ["b"], separator=separator)[0].batch.to_pydict() == {"b": ["2"]}


def test_tables_without_rows_have_columns(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", ["a"]) == []
    assert read(write(tmp_path / "t.csv", "a,b\n"), ["b"]) == []


def test_the_state_changes_when_somebody_writes_the_file(tmp_path):
    path = write(tmp_path / "t.csv", "a\n1\n")
    before = open_table(path, "input", Dialect()).state
    assert open_table(path, "input", Dialect()).state == before
    write(path, "a\n2\n")
    assert open_table(path, "input", Dialect()).state != before


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    table = open_table(write(tmp_path / "t.csv", "sku,user\n1,2\n"), "input", Dialect())
    with pytest.raises(DataError, match=r"t\.csv, column 'skus' \(columns\.item\): no such column; did you mean sku\?"):
        table.refuse_absent({"skus": "columns.item", "user": "keep"})
    table = open_table(write(tmp_path / "t.csv", "sku;user\n1;2\n"), "input", Dialect())
    with pytest.raises(DataError, match="single column: is separator right"):
        table.refuse_absent({"sku": "columns.item"})


def test_missing_files_are_named(tmp_path):
    write(tmp_path / "rows.csv", "a\n")
    with pytest.raises(DataError, match=r"^input = .*row\.csv: no such file; did you mean .*rows\.csv\?"):
        open_table(tmp_path / "row.csv", "input", Dialect())
    with pytest.raises(DataError, match=r"^input = .*: matches no file"):
        open_table(tmp_path / "*.parquet", "input", Dialect())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 nonsense PAR1", r"t\.parquet: cannot be read \(.*\); repair the file"),
        ("t.csv", b"a,b\n1,2\n3\n", r"t\.csv, line 3: 1 field, and the file has 2 columns; every line must be a row: fix the line"),
        ("t.csv", b"a,b\n1,\xff\n", r"t\.csv, line 2 = b'\\xff\\n': not utf-8; set encoding"),
        ("t.csv", b"", r"t\.csv = 0 bytes: the file is empty"),
        ("t.jsonl", b"{}", r"input = .*t\.jsonl: NDJSON; allowed is one of \.parquet, \.pq, \.csv"),
        ("t.csv", b"a,a\n1,2\n", r"t\.csv, column 'a': occurs twice"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name, ["a", "b"])


def test_a_parquet_file_that_is_damaged_in_the_middle_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(100_000)}), path, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read"):
        read(path, ["a"], rows_per_batch=1000)


@pytest.mark.parametrize(("other", "found"), [({"a": ["x"]}, "string"), ({"b": [1]}, "no such column")])
def test_files_with_other_columns_are_refused(tmp_path, other, found):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table(other), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=rf"2\.parquet, column 'a' = {found}: it is int64 in 1\.parquet"):
        open_table(tmp_path, "input", Dialect())
