"""MovieLens ratings in their official layouts: latest-small, 1M, 20M and 25M, as zip or folder (Harper and Konstan, 2015).

The zip is read in place, block by block. An unpacked copy would cost disk and a clean-up that an interrupt can skip.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple

import polars as pl

from clickflow.config import FilePath
from clickflow.data.schema import ITEM, RATING, TIMESTAMP, TITLE, USER, FieldSpec
from clickflow.data.sources import columns
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig, existing_file, line_blocks, reading
from clickflow.data.sources.timestamps import unix_seconds
from clickflow.errors import DataError

ADDRESS = "https://files.grouplens.org/datasets/movielens"
ADVICE = "fetch the official file again"
GENRE = FieldSpec(name="genre", role="item")
USER_FIELDS = (FieldSpec(name="gender", role="user"), FieldSpec(name="age", role="user"), FieldSpec(name="occupation", role="user"))

Dtypes = Mapping[str, type[pl.DataType]]


class Edition(NamedTuple):
    """Layout of one edition.

    Attributes:
        folder: name of the zip and of the folder in it.
        suffix: ``dat`` (``::`` between the columns, Latin-1, no header) or ``csv``.
        md5: checksum of the official zip; None if it changes over the years.
        rating: type of the ratings; whole stars are integers, half stars are not.
    """

    folder: str
    suffix: Literal["dat", "csv"]
    md5: str | None
    rating: type[pl.Int64] | type[pl.Float64]

    @property
    def ratings(self) -> str:
        """File of the ratings."""
        return f"ratings.{self.suffix}"

    @property
    def movies(self) -> str:
        """File of the films."""
        return f"movies.{self.suffix}"

    @property
    def users(self) -> str:
        """File of the users, which only 1M has."""
        return f"users.{self.suffix}"


EDITIONS = {
    "latest_small": Edition("ml-latest-small", "csv", None, pl.Float64),
    "1m": Edition("ml-1m", "dat", "c4d9eecfca2ab87c1945afe126590906", pl.Int64),
    "20m": Edition("ml-20m", "csv", "cd245b17a1ae2cc31bb14903e1204af3", pl.Float64),
    "25m": Edition("ml-25m", "csv", "6b51fb2759a8657d3bfcbfc42b592ada", pl.Float64),
}
COLUMNS = {
    "csv": {USER: "userId", ITEM: "movieId", RATING: "rating", TIMESTAMP: "timestamp"},
    "dat": {USER: "UserID", ITEM: "MovieID", RATING: "Rating", TIMESTAMP: "Timestamp"},
}


class MovieLensConfig(SourceConfig):
    """MovieLens: users, films, stars, seconds; the film's first genre; in 1M gender, age and occupation of the user."""

    source: Literal["movielens"] = "movielens"
    edition: Literal["latest_small", "1m", "20m", "25m"]
    """One of the official data sets."""
    path: FilePath | None = None
    """The official zip, its unpacked folder, or the folder around that; null: download the zip."""
    url: str | None = None
    """Address of the zip, if not the official one. Its checksum must be the official one's (latest_small has none)."""

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """The zip, or ratings, movies and (1M) users; see :meth:`SourceConfig.files`."""
        edition = EDITIONS[self.edition]
        if self.path is None:
            from clickflow.data.sources.download import download

            url = self.url or f"{ADDRESS}/{edition.folder}.zip"
            return (download(url, downloads / f"{edition.folder}.zip", edition.md5),)
        path = self.path.expanduser()
        if not path.is_dir():
            return (existing_file(path),)
        folder = path / edition.folder if (path / edition.folder).is_dir() else path
        names = {entry.name for entry in folder.iterdir()}
        wanted = _present(edition, names, str(folder))
        return tuple(existing_file(folder / name) for name in wanted)

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """See :meth:`SourceConfig.read`."""
        edition = EDITIONS[self.edition]
        if files[0].name == edition.ratings:
            return _read(edition, {file.name: file for file in files}, str(files[0].parent))
        try:
            with zipfile.ZipFile(files[0]) as archive:
                return _read(edition, _members(edition, archive, files[0].name), files[0].name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # the last if it is encrypted
            raise DataError(f"{files[0]}: not a whole zip file ({error}); fetch it again.") from error


def _members(edition: Edition, archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.Path]:
    """File name -> member, for files in the edition's folder or at the top."""
    members = {PurePosixPath(member) for member in archive.namelist() if not member.endswith("/")}
    inside = {member.name: member for member in members if str(member.parent) in (edition.folder, ".")}
    if not {edition.ratings, edition.movies} <= inside.keys():
        _present(edition, {str(member) for member in members}, name)
    return {file: zipfile.Path(archive, str(member)) for file, member in inside.items()}


def _present(edition: Edition, names: set[str], where: str) -> list[str]:
    """The files of the edition that exist.

    Raises:
        DataError: ratings or movies are missing.
    """
    if not {edition.ratings, edition.movies} <= names:
        found = sorted(names)
        raise DataError(
            f"{where}: not the layout of MovieLens {edition.folder}; expected {edition.folder}/{edition.ratings} and "
            f"{edition.folder}/{edition.movies}; found {', '.join(found[:8]) or 'nothing'}{' …' if len(found) > 8 else ''}; "
            "check data.path and data.edition."
        )
    return [name for name in (edition.ratings, edition.movies, edition.users) if name in names]


def _read(edition: Edition, files: dict[str, Path] | dict[str, zipfile.Path], where: str) -> RawLog:
    names = COLUMNS[edition.suffix]
    with reading(f"{where}/{edition.ratings}", ADVICE), files[edition.ratings].open("rb") as stream:
        ratings, expected = _ratings(edition, stream, where)
    movies = _table(files[edition.movies].read_bytes(), edition, (ITEM, "title", "genres"), f"{where}/{edition.movies}")
    genre = pl.col("genres").str.split("|").list.first().alias(GENRE.name)
    fields: tuple[FieldSpec, ...] = (GENRE,)
    if edition.suffix == "dat" and edition.users in files:
        users = _table(files[edition.users].read_bytes(), edition, (USER, "gender", "age", "occupation", "zip"), f"{where}/{edition.users}")
        _check_one_row_a_user(users, f"{where}/{edition.users}")
        whole = [pl.col("age").cast(pl.Int64), pl.col("occupation").cast(pl.Int64)]
        ratings = ratings.join(users.lazy().select(USER, "gender", *whole), on=USER, how="left", maintain_order="left")
        fields += USER_FIELDS
    return RawLog(
        interactions=ratings,
        items=movies.lazy().select(ITEM, genre, pl.col("title").alias(TITLE)),
        fields=fields,
        columns={**expected, **names, columns.qualified("items", ITEM): names[ITEM]},
        origins={"interactions": f"{where}/{edition.ratings}", "items": f"{where}/{edition.movies}"},
    )


def _ratings(edition: Edition, stream: IO[bytes], where: str) -> tuple[pl.LazyFrame, dict[str, str]]:
    """The ratings, and descriptions of valid values for columns with unreadable ones."""
    dtypes: Dtypes = {USER: pl.Int64, ITEM: pl.Int64, RATING: edition.rating, TIMESTAMP: pl.Int64}
    if edition.suffix == "csv":
        _check_header(stream, where)
    start = stream.tell()
    try:
        blocks = [_parse(block, edition, dtypes) for block in line_blocks(stream)]
        return pl.concat(blocks).lazy() if blocks else pl.LazyFrame(schema=dtypes), {}
    except pl.exceptions.PolarsError:
        # Some value is not a number. Read the file again as texts, so that the check can name the row and quote it.
        names: dict[str, str] = {}
        stream.seek(start)
        texts = pl.concat([_parse(block, edition, dict.fromkeys(dtypes, pl.String)) for block in line_blocks(stream)]).lazy()
    table = columns.Selection(texts, where)
    for name, make in ((USER, columns.integer), (ITEM, columns.integer), (RATING, columns.number), (TIMESTAMP, unix_seconds)):
        table.add(make, name, name)
    return table.select(names), names


def _check_one_row_a_user(users: pl.DataFrame, where: str) -> None:
    """Refuse a repeated user, who would multiply the ratings that are joined to it.

    Raises:
        DataError: a user has several rows.
    """
    repeated = users[USER].filter(users[USER].is_duplicated())
    if len(repeated):
        raise DataError(f"{where}, column '{USER}' = {repeated[0]}: occurs in several rows; every user has one; {ADVICE}.")


def _check_header(stream: IO[bytes], where: str) -> None:
    header = stream.readline().decode("utf-8", errors="replace").strip()
    wanted = ",".join(COLUMNS["csv"].values())
    if header != wanted:
        raise DataError(
            f"{where}, first line of the ratings = {header[:80]!r}: not the header '{wanted}'; check data.path and data.edition."
        )


def _parse(block: bytes, edition: Edition, dtypes: Dtypes) -> pl.DataFrame:
    """Parse a block of ratings. ``::`` is two separators with an empty column between them, so the fast parser reads it."""
    source = io.BytesIO(block)
    if edition.suffix == "csv":
        return pl.read_csv(source, has_header=False, schema=dtypes, truncate_ragged_lines=True)
    schema = dict(_between(dtypes))
    table = pl.read_csv(source, separator=":", quote_char=None, has_header=False, schema=schema, truncate_ragged_lines=True)
    return table.select(list(dtypes))


def _between(dtypes: Dtypes) -> Iterator[tuple[str, type[pl.DataType]]]:
    for position, (name, dtype) in enumerate(dtypes.items()):
        if position:
            yield f"empty_{position}", pl.String
        yield name, dtype


def _table(content: bytes, edition: Edition, names: tuple[str, ...], where: str) -> pl.DataFrame:
    """Read a small file as texts with an integer id."""
    if edition.suffix == "csv":
        with reading(where, ADVICE):
            table = pl.read_csv(content, has_header=False, skip_rows=1, new_columns=names, infer_schema=False)
    else:
        # Titles hold single colons, so each line is split at the double ones.
        lines = pl.Series("line", content.decode("latin-1").splitlines())
        table = lines.str.split_exact("::", len(names) - 1).struct.rename_fields(names).struct.unnest()
    try:
        return table.with_columns(pl.col(names[0]).cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where}, column '{names[0]}': holds an id that is not an integer; {ADVICE}.") from error
