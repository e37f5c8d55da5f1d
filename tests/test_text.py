"""Tables are read back by other means than they were written with."""

import csv
import io

import pytest

from clickflow.text import csv_table, cut, first_line, markdown_table, problem_list


def test_the_columns_of_a_markdown_table_are_padded_to_one_width_and_aligned():
    table = markdown_table([{"model": "din", "AUC": "0.7", "runs": "a"}, {"model": "wide_deep", "AUC": "0.71"}], "lrl")
    assert table.splitlines() == [
        "| model     |  AUC | runs |",
        "| --------- | ---: | ---- |",
        "| din       |  0.7 | a    |",
        "| wide_deep | 0.71 |      |",
    ]


def test_a_bar_or_a_line_end_in_a_cell_does_not_end_the_cell():
    *_, row = markdown_table([{"a|b": "x|y", "c": "one\ntwo"}]).splitlines()
    assert row.replace("\\|", "").count("|") == 3
    assert "x\\|y" in row
    assert "one two" in row


def test_a_csv_table_has_the_columns_of_all_rows_and_reads_back():
    rows = [{"a": "1,5", "b": 'say "x"'}, {"a": "two\nlines", "c": "3"}]
    read = list(csv.DictReader(io.StringIO(csv_table(rows), newline="")))
    assert read == [{"a": "1,5", "b": 'say "x"', "c": ""}, {"a": "two\nlines", "b": "", "c": "3"}]


@pytest.mark.parametrize(("length", "found"), [(3, "ab…"), (4, "abcd"), (9, "abcd")])
def test_a_cut_text_has_at_most_its_length(length, found):
    assert cut("abcd", length) == found


def test_a_cut_text_may_end_with_another_mark():
    assert cut("x" * 20, 12, " …[cut]") == "xxxxx …[cut]"


def test_the_first_line_names_the_class_and_hides_passwords():
    assert first_line(ValueError()) == "ValueError"
    assert first_line(OSError("cannot open postgresql://ada:s3cr@host/db\nsecond")) == "OSError: cannot open postgresql://ada:***@host/db"
    assert len(first_line(ValueError("x" * 1000))) == 500


@pytest.mark.parametrize(("problems", "heading"), [(["a: b"], "1 problem in the log:"), (["a: b", "c: d"], "2 problems in the log:")])
def test_problems_are_counted_and_listed(problems, heading):
    assert problem_list(problems, "the log").splitlines() == [heading, *(f"  {problem}" for problem in problems)]
