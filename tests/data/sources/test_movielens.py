import http.server
import threading
import zipfile
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.schema import FieldSpec
from clickflow.data.sources.movielens import EDITIONS, MovieLensConfig
from clickflow.errors import DataError

RATINGS_DAT = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
MOVIES_DAT = "661::James: the Giant Peach (1996)::Animation|Children's\n1193::Les Misérables (1975)::Drama\n".encode("latin-1")
USERS_DAT = "1::F::1::10::48067\n2::M::56::16::70072\n"
RATINGS_CSV = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,3.5,964981247\n2,1,0.5,964982224\n"
MOVIES_CSV = 'movieId,title,genres\n1,"Misérables, Les (1995)",Drama|War\n3,Grumpier Old Men (1995),(no genres listed)\n'.encode()


def files_of(edition: str) -> dict[str, bytes]:
    if edition == "1m":
        return {"ratings.dat": RATINGS_DAT.encode(), "movies.dat": MOVIES_DAT, "users.dat": USERS_DAT.encode()}
    return {"ratings.csv": RATINGS_CSV.encode(), "movies.csv": MOVIES_CSV, "links.csv": b"movieId\n"}


def as_folder(parent: Path, edition: str) -> Path:
    folder = parent / EDITIONS[edition].folder
    folder.mkdir(parents=True)
    for name, content in files_of(edition).items():
        (folder / name).write_bytes(content)
    return folder


def as_zip(parent: Path, edition: str, inside: str | None = None) -> Path:
    path = parent / f"{EDITIONS[edition].folder}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files_of(edition).items():
            archive.writestr(f"{EDITIONS[edition].folder}/{name}" if inside is None else f"{inside}{name}", content)
    return path


def config(edition: str, path: Path | None, **more: object) -> MovieLensConfig:
    values = {"name": "ml", "source": "movielens", "edition": edition, "path": None if path is None else str(path)}
    return validate(MovieLensConfig, values | more)


def checked(edition: str, path: Path, **more: object) -> CheckedLog:
    source = config(edition, path, **more)
    return check(source.read(source.files(Path("nowhere"))), source)


@pytest.mark.parametrize("form", ["zip", "flat zip", "folder", "folder around it"])
def test_1m_is_read_from_every_official_form(tmp_path, form):
    path = {
        "zip": lambda: as_zip(tmp_path, "1m"),
        "flat zip": lambda: as_zip(tmp_path, "1m", inside=""),
        "folder": lambda: as_folder(tmp_path, "1m"),
        "folder around it": lambda: as_folder(tmp_path / "around", "1m").parent,
    }[form]()
    log = checked("1m", path)
    assert log.interactions.columns == ["user", "item", "rating", "timestamp", "gender", "age", "occupation"]
    assert log.interactions.rows() == [
        (1, 1193, 5, 978300760, "F", 1, 10),
        (1, 661, 3, 978302109, "F", 1, 10),
        (2, 1193, 4, 978298413, "M", 56, 16),
    ]
    assert log.items.rows() == [(661, "Animation", "James: the Giant Peach (1996)"), (1193, "Drama", "Les Misérables (1975)")]
    assert [field.name for field in log.raw.fields] == ["genre", "gender", "age", "occupation"]
    assert log.raw.timestamp_unit == "seconds"


def test_1m_without_users_has_no_user_fields(tmp_path):
    folder = as_folder(tmp_path, "1m")
    (folder / "users.dat").unlink()
    log = checked("1m", folder)
    assert log.interactions.columns == ["user", "item", "rating", "timestamp"]
    assert log.raw.fields == (FieldSpec(name="genre", role="item"),)


@pytest.mark.parametrize("edition", ["latest_small", "20m", "25m"])
@pytest.mark.parametrize("make", [as_zip, as_folder])
def test_csv_editions_keep_half_stars(tmp_path, edition, make):
    log = checked(edition, make(tmp_path, edition))
    assert log.interactions.rows() == [(1, 1, 4.0, 964982703), (1, 3, 3.5, 964981247), (2, 1, 0.5, 964982224)]
    assert log.items.rows() == [
        (1, "Drama", "Misérables, Les (1995)"),
        (3, "(no genres listed)", "Grumpier Old Men (1995)"),
    ]


def test_ratings_that_span_several_blocks_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("clickflow.data.sources.movielens.line_blocks.__defaults__", (1000,))
    ratings = [(user, user % 50 + 1, user % 5 + 1, 978300000 + user) for user in range(1, 2001)]
    folder = as_folder(tmp_path, "1m")
    (folder / "users.dat").unlink()
    (folder / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in ratings))
    log = checked("1m", folder, on_missing_items="unknown")
    assert log.interactions.rows() == ratings


def test_a_value_that_is_not_a_number_is_quoted_with_its_row_or_dropped(tmp_path):
    folder = as_folder(tmp_path, "1m")
    (folder / "ratings.dat").write_text(RATINGS_DAT + "2::661::many::978298413\nnonsense\n")
    with pytest.raises(DataError) as caught:
        checked("1m", folder, max_bad_share=0.5)
    message = str(caught.value)
    assert "ratings.dat, column 'Rating', row 4 = 'many': not a finite number; fix the row or set data.on_bad_rows=drop" in message
    assert "ratings.dat, column 'UserID', row 5 = 'nonsense': not an integer" in message
    assert "ratings.dat, column 'Timestamp', row 5 = null: missing" in message
    log = checked("1m", folder, on_bad_rows="drop", max_bad_share=0.5)
    assert log.interactions["item"].to_list() == [1193, 661, 1193]
    assert log.counts["bad_rows_dropped"] == 2


def test_a_zip_of_another_layout_is_refused_with_what_was_expected_and_found(tmp_path):
    path = as_zip(tmp_path, "latest_small")
    with pytest.raises(
        DataError, match=r"not the layout of MovieLens ml-1m; expected ml-1m/ratings\.dat and ml-1m/movies\.dat; found ml-latest-small/"
    ):
        checked("1m", path)
    with pytest.raises(DataError, match=r"expected ml-25m/ratings\.csv .* check data\.path and data\.edition"):
        checked("25m", path)


def test_a_folder_of_another_layout_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"not the layout of MovieLens ml-20m; .*found notes\.txt"):
        config("20m", tmp_path).files(tmp_path)


def test_ratings_with_another_header_are_refused(tmp_path):
    folder = as_folder(tmp_path, "20m")
    (folder / "ratings.csv").write_text(RATINGS_CSV.replace("movieId", "film"))
    with pytest.raises(DataError, match="= 'userId,film,rating,timestamp': not the header 'userId,movieId,rating,timestamp'"):
        checked("20m", folder)


def test_a_file_that_is_not_a_zip_and_a_zip_cut_short_are_refused(tmp_path):
    path = as_zip(tmp_path, "1m")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"ml-1m\.zip: not a whole zip file .*fetch it again"):
        checked("1m", path)


def test_a_zip_with_a_damaged_member_is_refused(tmp_path):
    path = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files_of("1m").items():
            archive.writestr(f"ml-1m/{name}", content)
    path.write_bytes(path.read_bytes().replace(b"978302109", b"978302100", 1))
    with pytest.raises(DataError, match=r"ml-1m\.zip: not a whole zip file \(Bad CRC-32"):
        checked("1m", path)


def test_an_empty_rating_file_and_a_missing_zip_are_refused(tmp_path):
    folder = as_folder(tmp_path, "1m")
    (folder / "ratings.dat").write_text("")
    with pytest.raises(DataError, match=r"ratings\.dat = 0 bytes"):
        config("1m", folder).files(tmp_path)
    with pytest.raises(DataError, match=r"data\.path = .*ml-1m\.zip: no such file"):
        config("1m", tmp_path / "ml-1m.zip").files(tmp_path)


def test_a_film_without_metadata_is_an_item_that_the_table_lacks(tmp_path):
    folder = as_folder(tmp_path, "1m")
    (folder / "movies.dat").write_bytes(MOVIES_DAT.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"movies\.dat, column 'MovieID': lacks 1 item of the log, such as 1193"):
        checked("1m", folder)


def test_without_a_path_the_zip_is_downloaded_once(tmp_path):
    (tmp_path / "mirror").mkdir()
    as_zip(tmp_path / "mirror", "latest_small")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "mirror"))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        source = config("latest_small", None, url=f"http://127.0.0.1:{server.server_port}/ml-latest-small.zip")
        files = source.files(tmp_path / "downloads")
        wrong = config("1m", None, url=f"http://127.0.0.1:{server.server_port}/ml-latest-small.zip")
        with pytest.raises(DataError, match="not the file that was expected"):
            wrong.files(tmp_path / "downloads")
        server.shutdown()
        thread.join()
    assert files == (tmp_path / "downloads" / "ml-latest-small.zip",)
    assert source.files(tmp_path / "downloads") == files
    assert source.read(files).interactions.select(pl.len()).collect().item() == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [("movies.csv", b""), ("movies.csv", MOVIES_CSV + b"4,\xff\xfe,Drama\n"), ("ratings.csv", RATINGS_CSV.encode() + b"1,\xff,3,5\n")],
)
def test_a_damaged_member_of_the_zip_is_named(tmp_path, name, content):
    path = tmp_path / "ml-latest-small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in (files_of("latest_small") | {name: content}).items():
            archive.writestr(f"ml-latest-small/{member}", text)
    with pytest.raises(DataError, match=rf"ml-latest-small\.zip/{name}: cannot be read \(.*\); fetch the official file again"):
        checked("latest_small", path)


def test_a_repeated_user_is_refused_because_it_would_multiply_ratings(tmp_path):
    folder = as_folder(tmp_path, "1m")
    (folder / "users.dat").write_text(USERS_DAT + "2::F::1::3::11111\n")
    with pytest.raises(DataError, match=r"users\.dat, column 'user' = 2: occurs in several rows; every user has one; fetch"):
        checked("1m", folder)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = as_zip(tmp_path, "latest_small")
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + at] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole zip file \(.*encrypted.*\); fetch it again"):
        checked("latest_small", path)
