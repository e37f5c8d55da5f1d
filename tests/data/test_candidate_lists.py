"""Rows that list candidates against a loop over the rows of the file."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.row_lists import START, assert_contradictions, checked, config, prepared_rows

from clickflow.config import validate
from clickflow.data.dataset import LIST_ID, PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError
from clickflow.runs.config import PrepareConfig

LABELLED = {"candidates": {"column": "shown", "separator": " ", "label_separator": "-"}}
CLICKED = {"candidates": {"column": "shown", "clicked": "clicked"}}
DEVICE = {"context_fields": {"device": {"column": "device"}}}

shown = st.lists(st.tuples(st.sampled_from(["a", "b-1", "c-0-x", "-", "7x"]), st.integers(0, 1)), max_size=4)
entry = st.tuples(st.integers(0, 2), st.integers(0, 3), shown, st.sampled_from(["x", "y"]))
Entry = tuple[int, int, list[tuple[str, int]], str]


def labelled_frame(entries: list[Entry]) -> pl.DataFrame:
    """Each entry as one row: user, time, ``item-label item-label``, device; its place in the list as the key of the list."""
    rows = [(user, START + time, " ".join(f"{item}-{label}" for item, label in own) or None, device) for user, time, own, device in entries]
    schema = {"user": pl.Int64, "time": pl.Int64, "shown": pl.String, "device": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("key")


def impressions(frame: pl.DataFrame) -> Counter[tuple[object, ...]]:
    """Each list as the set of its rows, whatever number it has."""
    lists: dict[object, list[tuple[object, ...]]] = {}
    for row in frame.select("given list", "user", "timestamp", "item", "label", "device").rows():
        lists.setdefault(row[0], []).append(row[1:])
    return Counter(tuple(sorted(own)) for own in lists.values())


def expected(entries: list[Entry]) -> Counter[tuple[object, ...]]:
    lists = [[(user, START + time, item, label, device) for item, label in own] for user, time, own, device in entries]
    return Counter(tuple(sorted(own)) for own in lists if own)


@settings(max_examples=50)
@given(st.lists(entry, min_size=1).filter(lambda entries: any(own for _, _, own, _ in entries)))
def test_each_candidate_of_a_text_is_an_impression_of_its_row(entries):
    with tempfile.TemporaryDirectory() as folder:
        log = checked(config(Path(folder), labelled_frame(entries), LABELLED, **DEVICE))
    assert impressions(log.interactions) == expected(entries)
    empty = sum(not own for *_, own, _ in entries)
    names = ("rows_read", "rows_without_candidates", "candidate_lists")
    assert [log.counts[name] for name in names] == [len(entries), empty, len(entries) - empty]


items = st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=5)
pair = st.tuples(st.integers(0, 2), st.integers(0, 3), st.one_of(st.none(), items), st.one_of(st.none(), items), st.just("x"))


@pytest.mark.parametrize("written", ["lists", "texts"])
@settings(max_examples=50)
@given(entries=st.lists(pair, min_size=1).filter(lambda entries: any(item is not None for _, _, own, *_ in entries for item in own or [])))
def test_a_candidate_is_clicked_if_the_list_of_clicks_has_it(written, entries):
    rows = [(user, START + time, own, clicks, device) for user, time, own, clicks, device in entries]
    schema = {"user": pl.Int64, "time": pl.Int64, "shown": pl.List(pl.Int32), "clicked": pl.List(pl.Int64), "device": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    columns: dict[str, object] = CLICKED
    if written == "texts":
        texts = pl.col("shown", "clicked").list.eval(pl.element().cast(pl.String).fill_null("NULL")).list.join(",")
        frame, columns = frame.with_columns(texts), {"candidates": {**CLICKED["candidates"], "separator": ","}}
    with tempfile.TemporaryDirectory() as folder:
        log = checked(config(Path(folder), frame, columns, **DEVICE))
    labelled = [
        (user, time, [(item, int(item in (clicks or []))) for item in own or [] if item is not None], device)
        for user, time, own, clicks, device in entries
    ]
    assert impressions(log.interactions) == expected(labelled)
    # The text NULL alone is a missing list, and not a list of something missing.
    lists = [own for _, _, own, *_ in entries if own and not (written == "texts" and own == [None])]
    assert log.counts["missing_candidates"] == sum(own.count(None) for own in lists)
    unseen = sum(len(set(clicks or []) - set(own or []) - {None}) for _, _, own, clicks, _ in entries)
    assert log.counts["clicked_items_not_shown"] == unseen


def random_entries(num_rows: int = 200) -> list[Entry]:
    rng = np.random.default_rng(3)
    sizes = rng.integers(0, 6, num_rows)
    return [
        (int(rng.integers(0, 9)), int(rng.integers(0, 40)), [(f"i{rng.zipf(1.5) % 20}", int(rng.random() < 0.3)) for _ in range(size)], "x")
        for size in sizes
    ]


def prepared(folder: Path, frame: pl.DataFrame, columns: dict[str, object] = LABELLED, **more: object) -> PreparedDataset:
    return prepare(config(folder, frame, columns, **more), ImpressionsConfig(), folder / "home")


def lists_of(dataset: PreparedDataset) -> list[frozenset[tuple[object, object, int]]]:
    rows = prepared_rows(dataset)
    numbers = np.concatenate([dataset.split(split).rows[LIST_ID] for split in ("train", "validation", "test")])
    found: dict[int, list[tuple[object, object, int]]] = {}
    for number, (_, user, item, label, _) in zip(numbers.tolist(), rows, strict=True):
        found.setdefault(number, []).append((user, item, label))
    return sorted((frozenset(Counter(own).items()) for own in found.values()), key=sorted)


def test_a_row_of_the_file_is_a_list_of_the_prepared_rows(tmp_path):
    entries = random_entries()
    dataset = prepared(tmp_path, labelled_frame(entries))
    own_lists = [Counter((user, item, label) for item, label in own) for user, _, own, _ in entries if own]
    assert lists_of(dataset) == sorted((frozenset(own.items()) for own in own_lists), key=sorted)
    assert dataset.manifest.counts["rows_without_list"] == 0


def test_the_clicks_are_the_behaviours_and_a_list_never_sees_its_own(tmp_path):
    entries = random_entries()
    dataset = prepared(tmp_path, labelled_frame(entries))
    clicks = [(user, time, item) for user, time, own, _ in entries for item, label in own if label]
    rows = Counter((user, item, label, tuple(sorted(history))) for _, user, item, label, history in prepared_rows(dataset))
    assert rows == Counter(
        (user, item, label, tuple(sorted(old for who, when, old in clicks if who == user and when < time)))
        for user, time, own, _ in entries
        for item, label in own
    )


def test_a_column_can_name_the_lists(tmp_path):
    frame = labelled_frame([(0, 1, [("a", 0)], "x"), (0, 1, [("b", 1)], "x"), (1, 2, [("c", 0)], "x"), (1, 3, [("c", 1)], "x")])
    frame = frame.with_columns(part=pl.Series(["train", "train", "validation", "test"]))
    dataset = prepared(tmp_path, frame.with_columns(page=pl.Series([8, 8, 9, None])), LABELLED | {"group": "page", "split": "part"})
    by_list = {(0, "a", 0), (0, "b", 1)}
    found = {frozenset(row for row, _ in own) for own in lists_of(dataset)}
    assert frozenset(by_list) in found
    assert dataset.manifest.counts["rows_without_list"] == 1


@pytest.mark.parametrize("shuffle", [1, 2])
def test_the_order_of_the_rows_changes_no_byte(tmp_path, shuffle):
    frame = labelled_frame(random_entries()).drop("key")
    alike = pl.concat([frame, frame.head(20), frame.head(10).with_columns(device=pl.lit("y"))])
    one = prepared(tmp_path / "one", alike, **DEVICE)
    other = prepared(tmp_path / "other", alike.sample(fraction=1.0, shuffle=True, seed=shuffle), **DEVICE)
    assert one.manifest.fingerprint == other.manifest.fingerprint
    assert one.manifest.files == other.manifest.files


def test_equal_rows_are_duplicates_and_an_item_that_is_listed_twice_is_not(tmp_path):
    twice = (0, 1, [("a", 1), ("a", 1), ("b", 0)], "x")
    frame = labelled_frame([twice, twice, (0, 1, [("a", 1)], "x")])
    kept, dropped = (checked(config(tmp_path, frame, LABELLED, duplicates=what)) for what in ("keep", "drop"))
    assert kept.counts["duplicate_rows"] == dropped.counts["duplicate_rows"] == 1
    assert kept.interactions.height == 7
    assert sorted(dropped.interactions["item"]) == ["a", "a", "a", "b"]


def test_items_of_texts_are_integers_if_all_of_them_are(tmp_path):
    frame = labelled_frame([(0, 1, [("12", 1), ("7", 0)], "x")])
    assert checked(config(tmp_path, frame, LABELLED)).interactions["item"].to_list() == [12, 7]
    frame = labelled_frame([(0, 1, [("12", 1), ("07", 0)], "x")])
    assert checked(config(tmp_path, frame, LABELLED)).interactions["item"].to_list() == ["12", "07"]


def test_ids_have_one_type_in_lists_and_in_the_item_table(tmp_path):
    (tmp_path / "items.csv").write_text("id,shop\n1,a\nx,b\n")
    table = {"items": {"path": str(tmp_path / "items.csv"), "column": "id"}, "item_fields": {"shop": {"column": "shop"}}}
    frame = pl.DataFrame({"user": [1], "time": [START], "shown": [[1]], "clicked": [[1]]})
    log = checked(config(tmp_path, frame, CLICKED, **table))
    assert log.interactions.select("item", "label").rows() == [("1", 1)]


def test_a_csv_column_of_single_candidates_stays_a_text(tmp_path):
    log = checked(config(tmp_path, f"user,time,shown,clicked\n1,{START},5,5\n1,{START},6,\n", CLICKED))
    assert log.interactions.select("item", "label").sort("item").rows() == [(5, 1), (6, 0)]


@pytest.mark.parametrize("line", ["", '{"user": 1, "time": 12345678901234567890123, "shown": [4], "clicked": []}\n'])
def test_lists_of_an_ndjson_file_are_read(tmp_path, line):
    rows = f'{{"user": 1, "time": {START}, "shown": [1, 2], "clicked": [2]}}\n{{"user": 1, "time": {START}, "shown": [], "clicked": []}}\n'
    (tmp_path / "log.jsonl").write_text(rows + line)
    values = {"user": "user", "timestamp": "time", **CLICKED}
    bad = {"on_bad_rows": "drop", "max_bad_share": 0.5}
    data = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path / "log.jsonl"), "columns": values, **bad})
    log = checked(data)
    assert log.interactions.select("item", "label").sort("item").rows() == [(1, 0), (2, 1)]
    assert log.counts["rows_without_candidates"] == 1


def test_the_layout_of_eb_nerd_is_read(tmp_path):
    frame = pl.DataFrame(
        {
            "impression_id": pl.Series([149474, 150528, 153068], dtype=pl.UInt32),
            "article_id": pl.Series([None, 9778623, None], dtype=pl.Int32),
            "impression_time": ["2023-05-24T07:47:53", "2023-05-24T07:33:25", "2023-05-24T07:09:04"],
            "device_type": pl.Series([2, 1, 1], dtype=pl.Int8),
            "article_ids_inview": pl.Series([[9778623, 9778682], [9778718, 9778728, 9778718], [9778657]], dtype=pl.List(pl.Int32)),
            "article_ids_clicked": pl.Series([[9778682], [9778728, 9778000], []], dtype=pl.List(pl.Int32)),
            "user_id": pl.Series([139836, 143471, 139836], dtype=pl.UInt32),
            "article_id_fixed": pl.Series([[9778448, 9778682], [9778168], [9778448, 9778682]], dtype=pl.List(pl.Int32)),
        }
    ).with_columns(pl.col("impression_time").str.to_datetime(time_unit="us"))
    columns = {
        "user": "user_id",
        "timestamp": "impression_time",
        "group": "impression_id",
        "history": "article_id_fixed",
        "candidates": {"column": "article_ids_inview", "clicked": "article_ids_clicked"},
    }
    bounds = {"validation_from": "2023-05-24T07:20", "test_from": "2023-05-24T07:40"}
    data = config(tmp_path, frame, columns, context_fields={"device": {"column": "device_type"}})
    dataset = prepare(data, ImpressionsConfig(**bounds), tmp_path / "home")
    own = (9778448, 9778682)
    assert Counter(row[1:] for row in prepared_rows(dataset)) == Counter(
        [
            (139836, 9778623, 0, own),
            (139836, 9778682, 1, own),
            (143471, 9778718, 0, (9778168,)),
            (143471, 9778728, 1, (9778168,)),
            (143471, 9778718, 0, (9778168,)),
            (139836, 9778657, 0, own),
        ]
    )
    counts = dataset.manifest.counts
    names = ("candidate_lists", "clicked_items_not_shown", "different_histories", "clicks_that_end_their_own_history")
    assert [counts[name] for name in names] == [3, 1, 2, 1]
    assert {split.lists for split in dataset.manifest.splits.values()} == {1}


# Faults


def test_a_candidate_without_a_label_is_told_with_its_file_and_row(tmp_path):
    header, row = "user,time,shown\n", f"1,{START},a-1 b-0\n"
    (tmp_path / "1.csv").write_text(header + row)
    (tmp_path / "2.csv").write_text(header + row + f"1,{START},a-1 b c-2\n")
    values = {"name": "mine", "source": "log", "path": str(tmp_path), "columns": {"user": "user", "timestamp": "time", **LABELLED}}
    message = r"2\.csv, column 'shown', row 2 = 'b': not an item that ends with its label, -0 or -1; fix the row"
    with pytest.raises(DataError, match=message):
        checked(validate(LogConfig, values))
    log = checked(validate(LogConfig, values | {"on_bad_rows": "drop", "max_bad_share": 0.5}))
    assert log.counts["bad_rows_dropped"] == 1
    assert log.interactions.height == 4


@pytest.mark.parametrize("bad", ["a", "a-2", "-1", "a-", "a-01"])
def test_what_is_no_candidate_with_a_label(tmp_path, bad):
    frame = pl.DataFrame({"user": [1, 1], "time": [START, START], "shown": ["x-1", bad]})
    with pytest.raises(DataError, match=rf"row 2 = '{bad}': not an item that ends with its label, -0 or -1"):
        checked(config(tmp_path, frame, LABELLED))


def test_a_log_without_labels_is_refused_as_such(tmp_path):
    frame = pl.DataFrame({"user": [1, 1], "time": [START, START], "shown": ["N1 N2", None]})
    with pytest.raises(DataError, match=r"column 'shown' = 'N1': the labels are missing: no candidate ends with -0 or -1"):
        checked(config(tmp_path, frame, LABELLED))


@pytest.mark.parametrize("written", ["N1-1", "N1"])
def test_a_log_without_a_candidate_is_refused(tmp_path, written):
    frame = pl.DataFrame({"user": [1, 1], "time": [START, START], "shown": ["", None], "clicked": [written] * 2})
    with pytest.raises(DataError, match=r"column 'shown': no row has a candidate"):
        checked(config(tmp_path, frame, LABELLED if "-" in written else CLICKED))


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        ([[1.5]], CLICKED, r"column 'shown' = Float64: ids are integers or texts"),
        ([3], CLICKED, r"column 'shown' = Int64: must hold lists of ids, or texts with a separator"),
        ([3], LABELLED, r"column 'shown' = Int64: must hold texts such as N1-1 N2-0"),
        ([[2**63]], CLICKED, r"row 1 = 9223372036854775808: not an integer below 2\*\*63 \(larger ids must be texts\)"),
    ],
)
def test_columns_that_hold_no_lists_of_ids_are_refused(tmp_path, values, columns, message):
    frame = pl.DataFrame({"user": [1], "time": [START], "clicked": [[1]], "shown": values})
    if values == [[2**63]]:
        frame = frame.with_columns(pl.Series("shown", values, pl.List(pl.UInt64)))
    with pytest.raises(DataError, match=message):
        checked(config(tmp_path, frame, columns))


def candidates(**changed: object) -> dict[str, object]:
    own: dict[str, object] = {**LABELLED["candidates"], **changed}
    return {"candidates": {key: value for key, value in own.items() if value is not None}}


@pytest.mark.parametrize(
    ("columns", "more", "message"),
    [
        ({}, {}, r"columns.item = null: every row needs an item; name its column, or name columns.candidates"),
        (LABELLED | {"item": "what"}, {}, r"columns.item = what: the items come from columns.candidates; remove one of them"),
        (LABELLED | {"label": "y"}, {}, r"columns.label = y: the labels come from columns.candidates; remove one of them"),
        (LABELLED | {"rating": "y"}, {}, r"columns.rating = y: the labels come from columns.candidates; remove one of them"),
        (candidates(label_separator=None), {}, r"columns.candidates.label_separator and clicked: neither is given; set the one that"),
        (candidates(clicked="y"), {}, r"columns.candidates.label_separator and clicked: both are given; set the one that"),
        (candidates(label_separator=" "), {}, r"columns.candidates.label_separator = ' ': cannot be told from separator = ' '"),
        (candidates(label_separator="-0"), {}, r"columns.candidates.label_separator = '-0': ends like a label \(0 or 1\)"),
        (candidates(separator=""), {}, r"columns.candidates.separator = '': must not be empty"),
        (LABELLED | {"group": "shown"}, {}, r"columns.candidates.column = shown: is the group column too"),
        (LABELLED, {"item_fields": {"shop": {"column": "s"}}}, r"item_fields = shop: a row lists several items, .*; name an item table"),
        (
            LABELLED,
            {"context_fields": {"list": {"column": "shown"}}},
            r"context_fields.list.column = shown: is columns.candidates.column too, so the model would be given the answer",
        ),
        (
            CLICKED,
            {"user_fields": {"list": {"column": "clicked"}}},
            r"user_fields.list.column = clicked: is columns.candidates.clicked too, so the model would be given the answer",
        ),
    ],
)
def test_contradicting_choices_are_refused(columns, more, message):
    assert_contradictions(columns, more, message)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("next_item", r"data.columns.candidates = lists of what was shown: .* protocol.name = next_item; set protocol=impressions"),
        ("rating", r"protocol.name = rating: needs ratings"),
    ],
)
def test_lists_of_candidates_are_impressions(protocol, message):
    data = {"name": "mine", "source": "log", "path": "x.csv", "columns": {"user": "user", "timestamp": "time", **LABELLED}}
    with pytest.raises(ConfigError, match=message):
        validate(PrepareConfig, {"data": data, "protocol": {"name": protocol}, "home": "."})
    assert validate(PrepareConfig, {"data": data, "protocol": {"name": "impressions"}, "home": "."}).data.columns.names_lists
