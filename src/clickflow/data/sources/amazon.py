"""Amazon reviews, 5-core categories of 2014 in their official layout (McAuley et al., 2015).

Item metadata are gigabytes of Python literals, one dict per line. They are streamed, and only lines of items that somebody reviewed
are evaluated (``ast.literal_eval``, never ``eval``): memory stays at one block of lines.
"""

import ast
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl

from clickflow.config import FilePath, matching
from clickflow.data.schema import ITEM, RATING, TIMESTAMP, USER, FieldSpec
from clickflow.data.sources import columns
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.source import SourceConfig, existing_file, line_blocks
from clickflow.data.sources.timestamps import unix_seconds
from clickflow.errors import DataError
from clickflow.text import cut

ADDRESS = "http://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
COLUMNS = {USER: "reviewerID", ITEM: "asin", RATING: "overall", TIMESTAMP: "unixReviewTime"}
DTYPES = {"reviewerID": pl.String, "asin": pl.String, "overall": pl.Float64, "unixReviewTime": pl.Int64}
ASIN = re.compile(rb"['\"]asin['\"]: ['\"]([^'\"]+)['\"]")


class AmazonConfig(SourceConfig):
    """A 5-core category: reviewers, products, stars, days in Unix seconds; the product's most specific category."""

    source: Literal["amazon"] = "amazon"
    category: Annotated[str, matching(r"[A-Za-z0-9_]+", "letters, digits and _")]
    """As in the files' names: Electronics, Books, Sports_and_Outdoors."""
    path: FilePath | None = None
    """Folder that holds ``reviews_<category>_5.json.gz`` and ``meta_<category>.json.gz``; null: download them."""
    url: str | None = None
    """Address of the folder that holds both, if not the official one. The publisher gives no checksums."""

    def files(self, downloads: Path) -> tuple[Path, ...]:
        """Reviews and metadata; see :meth:`SourceConfig.files`."""
        names = (f"reviews_{self.category}_5.json.gz", f"meta_{self.category}.json.gz")
        if self.path is None:
            from clickflow.data.sources.download import download

            return tuple(download(f"{(self.url or ADDRESS).rstrip('/')}/{name}", downloads / name) for name in names)
        folder = self.path.expanduser()
        if not folder.is_dir():
            raise DataError(f"data.path = {folder}: not a folder; name the folder that holds {' and '.join(names)}.")
        return tuple(existing_file(folder / name) for name in names)

    def read(self, files: tuple[Path, ...]) -> RawLog:
        """See :meth:`SourceConfig.read`."""
        reviews_file, meta_file = files
        try:
            reviews = _reviews(reviews_file)
            items = _categories(meta_file, set(reviews["asin"].drop_nulls()))
        except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
            raise DataError(f"{' or '.join(file.name for file in files)}: not a whole gzip file ({error}); fetch it again.") from error
        names = {columns.qualified("items", ITEM): "asin", columns.qualified("items", "category"): "categories"}
        table = columns.Selection(reviews.lazy(), reviews_file.name)
        for name, make in ((USER, columns.identifier), (ITEM, columns.identifier), (RATING, columns.number), (TIMESTAMP, unix_seconds)):
            table.add(make, name, COLUMNS[name])
        return RawLog(
            interactions=table.select(names),
            items=items.lazy(),
            fields=(FieldSpec(name="category", role="item"),),
            columns=names,
            origins={"interactions": reviews_file.name, "items": meta_file.name},
        )


def _reviews(file: Path) -> pl.DataFrame:
    """The four columns in use; all as texts if some value has not the type it should have, so that the check can quote it."""
    try:
        return _parsed_reviews(file, DTYPES)
    except pl.exceptions.PolarsError:
        try:
            return _parsed_reviews(file, dict.fromkeys(DTYPES, pl.String))
        except pl.exceptions.PolarsError as error:
            raise DataError(_broken_line(file)) from error


def _parsed_reviews(file: Path, dtypes: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    with gzip.open(file, "rb") as stream:
        blocks = [pl.read_ndjson(io.BytesIO(block), schema=dtypes) for block in line_blocks(stream)]
    return pl.concat(blocks) if blocks else pl.DataFrame(schema=dtypes)


def _broken_line(file: Path) -> str:
    with gzip.open(file, "rb") as stream:
        for row, line in enumerate(stream, start=1):
            try:
                json.loads(line)
            except ValueError:
                return f"{file.name}, row {row:,} = {_shown(line)}: not a JSON object; fetch the file again."
    return f"{file.name}: cannot be read as JSON lines; fetch the file again."


def _categories(file: Path, wanted: set[str]) -> pl.DataFrame:
    """Item and category (the last of its last path) of the wanted items, in the file's order."""
    return pl.DataFrame(list(_products(file, wanted)), schema={ITEM: pl.String, "category": pl.String}, orient="row")


def _products(file: Path, wanted: set[str]) -> Iterator[tuple[str, str | None]]:
    with gzip.open(file, "rb") as stream:
        for row, line in enumerate(stream, start=1):
            # Most lines describe items that nobody reviewed five times: a search costs 1 % of an evaluation.
            found = ASIN.search(line)
            if found and found[1].decode(errors="replace") not in wanted:
                continue
            try:
                product: dict[str, Any] = ast.literal_eval(line.decode())
                path = (product.get("categories") or [[]])[-1]
                if product["asin"] in wanted:
                    yield product["asin"], str(path[-1]) if path else None
            except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
                raise DataError(
                    f"{file.name}, row {row:,} = {_shown(line)}: not a Python dict with 'asin'; fetch the file again."
                ) from error


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace").strip()
    return repr(cut(text, 60))
