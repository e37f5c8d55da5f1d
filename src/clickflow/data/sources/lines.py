"""Text files as blocks of whole lines in UTF-8, with the number of the line that each block starts with.

A file may be compressed and in any encoding. What is not a text, or not in that encoding, is refused with its line.
"""

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from clickflow.errors import DataError

OTHER_FORMATS = {
    b"PAR1": "this is a Parquet file; name it .parquet, or set format: parquet",
    b"PK\x03\x04": "this is a zip archive; unpack it",
    b"\x28\xb5\x2f\xfd": "this file is compressed with zstd; unpack it, or compress it with gzip",
    b"BZh": "this file is compressed with bzip2; unpack it, or compress it with gzip",
    b"\xfd7zXZ": "this file is compressed with xz; unpack it, or compress it with gzip",
}
CHUNK_BYTES = 1 << 23
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARKS = (  # the longer ones first: that of UTF-32 starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_chunks(file: Path, encoding: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The content of a text file in UTF-8, without a byte order mark, in pieces that may end anywhere in a line.

    Raises:
        DataError: the file is of another format, or not in the encoding.
    """
    with _opened(file) as stream:
        chunk = stream.read(chunk_bytes)
        encoding = next((name for mark, name in BYTE_ORDER_MARKS if chunk.startswith(mark)), encoding)
        _refuse_binary(file, chunk, encoding)
        decoder = codecs.getincrementaldecoder(encoding)()
        lines = 1
        while True:
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                lines += error.object[: error.start].count(b"\n")
                raise DataError(
                    f"{file.name}, line {lines:,} = {error.object[error.start : error.start + 8]!r}: not {encoding}; "
                    "set encoding (such as latin-1 or cp1252) or write the file in UTF-8."
                ) from error
            if text:
                piece = text.encode()
                lines += piece.count(b"\n")
                yield piece
            if not chunk:
                return
            chunk = stream.read(chunk_bytes)


def _opened(file: Path) -> IO[bytes]:
    with file.open("rb") as stream:
        start = stream.read(8)
    for mark, message in OTHER_FORMATS.items():
        if start.startswith(mark):
            raise DataError(f"{file.name}: {message}.")
    return cast(IO[bytes], gzip.open(file)) if start.startswith(GZIP) else file.open("rb")


def _refuse_binary(file: Path, start: bytes, encoding: str) -> None:
    """UTF-16 without a byte order mark is valid UTF-8 with a zero after each letter: no column would be found."""
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        return
    line = start.partition(b"\n")[0]
    if line.count(b"\0") * 4 > len(line):
        raise DataError(
            f"{file.name}, line 1 = {line[:8]!r}: not a text in {encoding}: every other byte is zero; set encoding (such as utf-16), "
            "or format if it is no text file."
        )
    if b"\n" not in start and b"\r" in start:
        raise DataError(f"{file.name}, line 1: its lines end with carriage returns only; write the file with line feeds.")
