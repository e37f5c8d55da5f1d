"""How a text file is written is seen in its first lines."""

import gzip

import pytest

from clickflow.data.guessing.sample import read_sample
from clickflow.data.guessing.text_format import format_of

ROWS = [
    ("time", "user", "sku", "clicked"),
    *((f"2024-05-{day:02} 09:12:44", f"v-{day % 3}", f"K-{day}", str(day % 2)) for day in range(1, 20)),
]


def text(separator=",", rows=ROWS, quote=""):
    return "".join(separator.join(f"{quote}{value}{quote}" for value in row) + "\n" for row in rows)


def options(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return format_of(path).options


@pytest.mark.parametrize("separator", [";", "\t", "|", "^", "\x01", " "])
def test_the_separator_is_seen(tmp_path, separator):
    rows = [[value.replace(" ", "T") for value in row] for row in ROWS]
    assert options(tmp_path / "log.csv", text(separator, rows)) == {"separator": separator}


def test_what_is_by_default_is_not_said(tmp_path):
    assert options(tmp_path / "log.csv", text()) == {}
    assert options(tmp_path / "log.tsv", text("\t")) == {}
    assert options(tmp_path / "log.csv", text(quote='"')) == {}


@pytest.mark.parametrize("name", ["log.txt", "log.dat", "log", "log.inter"])
def test_a_name_that_says_nothing_needs_the_format(tmp_path, name):
    assert options(tmp_path / name, text()) == {"format": "csv"}
    assert options(tmp_path / name, '{"user": 1}\n') == {"format": "ndjson"}


def test_the_content_wins_over_the_name(tmp_path):
    assert options(tmp_path / "log.csv", '{"user": 1}\n{"user": 2}\n') == {"format": "ndjson"}


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        (text(), True),
        (text(rows=ROWS[1:]), False),
        ("a,b,click\nc,d,view\nc,b,click\n", False),
        ("u1,i5,click\nu2,i5,view\nu1,i7,click\n", False),
        ("who,what,event\nann,lamp,click\nbob,lamp,view\n", True),
        (",user,item\n0,ann,lamp\n1,bob,lamp\n", True),
        ("C1,C14,y\n1,2,3\n1,4,5\n", True),
        ("U13740\tnews\nU13741\tsports\n".replace("\t", ","), False),
    ],
)
def test_a_header_holds_names_and_no_values(tmp_path, content, has_header):
    assert options(tmp_path / "log.csv", content).get("header", True) is has_header


def test_a_file_without_a_header_gets_names(tmp_path):
    (tmp_path / "log.csv").write_text(text(rows=ROWS[1:]))
    sample = read_sample(tmp_path / "log.csv")
    assert sample.options == {"header": False, "names": ["column_1", "column_2", "column_3", "column_4"]}
    assert sample.frame.height == 19


def test_a_decimal_comma_is_seen(tmp_path):
    rows = [(*row, "price" if number == 0 else f"{number},50") for number, row in enumerate(ROWS)]
    assert options(tmp_path / "log.csv", text(";", rows)) == {"separator": ";", "decimal": ","}


def test_quotes_within_texts_turn_quoting_off(tmp_path):
    rows = [("id", "title", "price"), *((f"N{number}", f'the "best" of {number}', "1") for number in range(9))]
    assert options(tmp_path / "log.tsv", text("\t", rows)) == {"quote": None}
    rows = [("id", "title", "price"), *((f"N{number}", f'"best" of {number}', "1") for number in range(9))]
    assert options(tmp_path / "log.tsv", text("\t", rows)) == {"quote": None}


def test_single_quotes_are_seen(tmp_path):
    assert options(tmp_path / "log.csv", text(quote="'")) == {"quote": "'"}


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", {}), ("utf-8-sig", {}), ("utf-16", {}), ("utf-16-le", {"encoding": "utf-16-le"}), ("cp1252", {"encoding": "cp1252"})],
)
def test_the_encoding_is_seen_unless_a_byte_order_mark_says_it(tmp_path, encoding, expected):
    rows = [("time", "user", "ville", "clicked"), *((row[0], row[1], "Orléans", row[3]) for row in ROWS[1:])]
    assert options(tmp_path / "log.csv", text(rows=rows), encoding) == expected
    assert read_sample(tmp_path / "log.csv").frame["ville"].unique().to_list() == ["Orléans"]


def test_a_compressed_file_is_looked_into(tmp_path):
    assert options(tmp_path / "log.csv.gz", gzip.compress(text(";").encode())) == {"separator": ";"}


def test_the_types_are_those_of_a_log(tmp_path):
    (tmp_path / "log.csv").write_text("a,b,c,d\n1,1.5,007,NULL\n2,2,8,\n")
    frame = read_sample(tmp_path / "log.csv").frame
    assert list(map(str, frame.dtypes)) == ["Int64", "Float64", "String", "Null"]
    assert frame.rows() == [(1, 1.5, "007", None), (2, 2.0, "8", None)]


def test_a_text_of_several_lines_that_is_cut_off_hides_nothing_before_it(tmp_path):
    rows = [
        *ROWS,
        *(("2024-06-01", "v-1", f"K-{number}", "0") for number in range(200 - len(ROWS) - 1)),
        ("2024-06-02", '"a\nb"', "K-1", "1"),
    ]
    assert options(tmp_path / "log.csv", text(rows=rows)) == {}
