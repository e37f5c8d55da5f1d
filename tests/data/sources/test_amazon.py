import gzip
import http.server
import json
import threading
from functools import partial
from pathlib import Path

import pytest
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.sources.amazon import AmazonConfig
from clickflow.errors import ConfigError, DataError

REVIEWS = [
    {"reviewerID": "A1", "asin": "0001", "helpful": [0, 1], "reviewText": 'it\'s "fine"', "overall": 5.0, "unixReviewTime": 1370131200},
    {"reviewerID": "A1", "asin": "B002", "overall": 1.0, "unixReviewTime": 1370131200, "reviewTime": "06 2, 2013"},
    {"unixReviewTime": 1290643200, "overall": 3.0, "asin": "0001", "reviewerID": "A2"},
]
META = [
    {"asin": "0001", "title": "A \"cable\", 'quoted'", "categories": [["Electronics", "Wires"], ["Electronics", "Cables", "HDMI"]]},
    {"title": "never reviewed", "asin": "C003", "categories": [["Electronics"]]},
    {"title": "B", "related": {"also_bought": ["0001"]}, "asin": "B002", "categories": [["Electronics", "Radios"]]},
]


def write(folder: Path, reviews: list[str] | None = None, meta: list[str] | None = None, category: str = "Electronics") -> Path:
    reviews = [json.dumps(review) for review in REVIEWS] if reviews is None else reviews
    meta = [repr(product) for product in META] if meta is None else meta
    folder.mkdir(exist_ok=True)
    for name, lines in ((f"reviews_{category}_5.json.gz", reviews), (f"meta_{category}.json.gz", meta)):
        with gzip.open(folder / name, "wt") as file:
            file.writelines(f"{line}\n" for line in lines)
    return folder


def config(path: Path | None, **more: object) -> AmazonConfig:
    values = {"name": "amazon", "source": "amazon", "category": "Electronics", "path": None if path is None else str(path)}
    return validate(AmazonConfig, values | more)


def checked(path: Path, **more: object) -> CheckedLog:
    source = config(path, **more)
    return check(source.read(source.files(Path("nowhere"))), source)


def test_reviews_and_the_most_specific_category_of_reviewed_items_are_read(tmp_path):
    log = checked(write(tmp_path))
    assert log.interactions.select("user", "item", "rating", "timestamp").rows() == [
        ("A1", "0001", 5.0, 1370131200),
        ("A1", "B002", 1.0, 1370131200),
        ("A2", "0001", 3.0, 1290643200),
    ]
    assert log.items.rows() == [("0001", "HDMI"), ("B002", "Radios")]
    assert [(field.name, field.role) for field in log.raw.fields] == [("category", "item")]
    assert log.raw.timestamp_unit == "seconds"
    assert log.interactions.columns == ["user", "item", "rating", "timestamp"]


def test_metadata_that_nobody_needs_are_not_evaluated(tmp_path):
    meta = [*(repr(product) for product in META), "{'asin': 'D004', 'broken"]
    assert checked(write(tmp_path, meta=meta)).items.height == 2


def test_a_file_that_holds_code_is_not_run(tmp_path):
    code = "{'asin': '0001', 'categories': [[__import__('pathlib').Path('" + str(tmp_path / "ran") + "').touch()]]}"
    with pytest.raises(DataError, match=r"meta_Electronics\.json\.gz, row 1 = .*: not a Python dict with 'asin'"):
        checked(write(tmp_path, meta=[code]))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "line",
    ["{'asin': '0001', 'categories': " + "[" * 5000, "{'asin': '0001', 'categories': 7}", "['asin': '0001']", "7 # 'asin': '0001'"],
)
def test_metadata_of_another_shape_are_refused_with_their_row(tmp_path, line):
    with pytest.raises(DataError, match=r"meta_Electronics\.json\.gz, row 1 = .*: not a Python dict with 'asin'"):
        checked(write(tmp_path, meta=[line]))


def test_an_item_without_categories_has_an_unknown_one(tmp_path):
    meta = [repr({"asin": "0001"}), repr({"asin": "B002", "categories": [[]]})]
    assert checked(write(tmp_path, meta=meta)).items.rows() == [("0001", None), ("B002", None)]


def test_reviews_that_span_several_blocks_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("clickflow.data.sources.amazon.line_blocks.__defaults__", (100,))
    assert checked(write(tmp_path)).interactions.height == 3


def test_a_value_of_a_wrong_type_is_quoted_or_dropped(tmp_path):
    reviews = [json.dumps(review) for review in REVIEWS] + [
        '{"reviewerID": "A3", "asin": "0001", "overall": 2.0, "unixReviewTime": "then"}'
    ]
    folder = write(tmp_path, reviews)
    with pytest.raises(
        DataError, match=r"reviews_Electronics_5\.json\.gz, column 'unixReviewTime', row 4 = 'then': not an integer \(Unix seconds\)"
    ):
        checked(folder)
    log = checked(folder, on_bad_rows="drop", max_bad_share=0.5)
    assert log.interactions.height == 3
    assert log.interactions["timestamp"].to_list() == [1370131200, 1370131200, 1290643200]


def test_a_missing_reviewer_is_reported_by_its_official_name(tmp_path):
    with pytest.raises(DataError, match=r"column 'reviewerID', row 1 = null: missing, and every row needs a user"):
        checked(write(tmp_path, ['{"asin": "0001", "overall": 2.0, "unixReviewTime": 1370131200}']))


def test_a_line_that_is_not_json_is_quoted(tmp_path):
    with pytest.raises(DataError, match=r"reviews_Electronics_5\.json\.gz, row 2 = '\{broken': not a JSON object"):
        checked(write(tmp_path, [json.dumps(REVIEWS[0]), "{broken"]))


def test_an_item_without_metadata_is_refused_or_unknown(tmp_path):
    folder = write(tmp_path, meta=[repr(META[0])])
    with pytest.raises(DataError, match=r"meta_Electronics\.json\.gz, column 'asin': lacks 1 item of the log, such as 'B002'"):
        checked(folder)
    assert checked(folder, on_missing_items="unknown").counts["items_without_fields"] == 1


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no gzip " + content])
def test_a_file_that_is_not_a_whole_gzip_is_refused(tmp_path, damage):
    path = write(tmp_path) / "reviews_Electronics_5.json.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"not a whole gzip file .*fetch it again"):
        checked(tmp_path)


def test_a_folder_without_the_files_and_a_path_that_is_no_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"reviews_Electronics_5\.json\.gz: no such file"):
        config(tmp_path).files(tmp_path)
    with pytest.raises(
        DataError, match=r"not a folder; name the folder that holds reviews_Electronics_5\.json\.gz and meta_Electronics\.json\.gz"
    ):
        config(tmp_path / "x.gz").files(tmp_path)


def test_a_category_that_cannot_be_part_of_a_file_name_is_refused():
    with pytest.raises(ConfigError, match=r"category = '\.\./x'"):
        config(None, category="../x")


def test_without_a_path_both_files_are_downloaded_from_the_base_address(tmp_path):
    mirror = write(tmp_path / "mirror", category="Books")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        source = config(None, category="Books", url=f"http://127.0.0.1:{server.server_port}/")
        files = source.files(tmp_path / "downloads")
        server.shutdown()
        thread.join()
    assert [file.name for file in files] == ["reviews_Books_5.json.gz", "meta_Books.json.gz"]
    assert check(source.read(files), source).interactions.height == 3
