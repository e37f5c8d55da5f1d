"""Options that all sources of real data share, and how their files are found and read.

A source only names and types columns. It drops and repairs nothing: :mod:`clickflow.data.validation` judges rows, so
that every source has the same messages and the same options.
"""

import difflib
import gzip
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import polars as pl
from pydantic import Field

from clickflow.config import StrictConfig, matching
from clickflow.data.sources.raw import RawLog
from clickflow.errors import DataError
from clickflow.text import first_line, problem_list

BLOCK_BYTES = 1 << 25


class SourceConfig(StrictConfig):
    """Options of every source."""

    name: Annotated[str, matching(r"[a-z0-9_-]+", "lower-case letters, digits, _ and -")]
    """Name of the data set; its folder and its MLflow experiment are named by it."""
    on_bad_rows: Literal["error", "drop"] = "error"
    """Rows with a missing or unreadable id, timestamp, label or rating, or a timestamp before 1970 or in the future."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of a table's rows that ``on_bad_rows: drop`` may drop, and of a field's values that may be unreadable."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Identical rows (user, item, timestamp, list, kind, candidates, and label or rating); they are counted in either case."""
    on_missing_items: Literal["error", "unknown"] = "error"
    """Items of the log that the item table lacks: refuse, or give them fields with index 0 = unknown."""

    on_missing_users: Literal["error", "unknown"] = "error"
    """Users of the log that the user table lacks: refuse, or give them fields with index 0 = unknown."""

    @abstractmethod
    def files(self, downloads: Path) -> tuple[Path, ...]:
        """The local source files, none of them empty.

        Args:
            downloads: folder for what has to be downloaded first.

        Raises:
            DataError: a file is missing or empty, or a download fails.
        """

    @abstractmethod
    def read(self, files: tuple[Path, ...]) -> RawLog:
        """The log in canonical columns, not yet checked.

        Args:
            files: as returned by :meth:`files`.

        Raises:
            DataError: a file has a wrong format, or wrong columns or types.
        """


REPAIR = "repair the file or write it again"


@contextmanager
def reading(file: str, advice: str = REPAIR) -> Iterator[None]:
    """Wrap every read of a user's file: what a library complains about becomes one error that names the file.

    Args:
        file: its name, for the message.
        advice: how to get a whole file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise unreadable(file, error, advice) from error


def unreadable(file: str, error: BaseException, advice: str = REPAIR) -> DataError:
    """Make an error of a library's complaint about a file."""
    return DataError(f"{file}: cannot be read ({first_line(error)}); {advice}.")


def several(problems: Sequence[str], what: str) -> DataError:
    """One error for one or more problems.

    >>> print(several(["row 1 = 'x': not an integer", "row 2 = 7: not 0 or 1"], "the log"))
    2 problems in the log:
      row 1 = 'x': not an integer
      row 2 = 7: not 0 or 1
    """
    if len(problems) == 1:
        return DataError(problems[0])
    return DataError(problem_list(problems, what))


def existing_file(path: Path, key: str = "data.path") -> Path:
    """The path, if it is a non-empty file.

    Raises:
        DataError: no such file (with the nearest name in its folder), a folder, or a file of 0 bytes.
    """
    if path.is_dir():
        raise DataError(f"{key} = {path}: is a folder, where a file is wanted; name the file.")
    if not path.exists():
        raise DataError(f"{key} = {path}: no such file; {_neighbours(path)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} = 0 bytes: the file is empty; write it again or leave it out.")
    return path


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either; a relative path starts at {Path.cwd()}."
    names = sorted(entry.name for entry in folder.iterdir())
    close = difflib.get_close_matches(path.name, names, n=1)
    if close:
        return f"did you mean {folder / close[0]}?"
    return f"in {folder.resolve()} there is: {', '.join(names[:10]) or 'nothing'}{' …' if len(names) > 10 else ''}."


def line_blocks(stream: IO[bytes] | gzip.GzipFile, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    r"""Cut a stream into blocks that end with a line, so that a file larger than memory is parsed block by block.

    Args:
        stream: binary, for example a decompressed zip member.
        block_bytes: bytes read at a time; a longer line makes its block longer.

    >>> import io
    >>> list(line_blocks(io.BytesIO(b"ab\ncd\ne"), block_bytes=4))
    [b'ab\n', b'cd\n', b'e']
    """
    rest = b""
    while chunk := stream.read(block_bytes):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        else:
            rest += chunk
    if rest:
        yield rest
