"""Form of a table's files: format, separator, header, quotes, missing values, decimal mark, encoding."""

from typing import Annotated, Literal

from pydantic import Field

from clickflow.config import Contradictions, Names, StrictConfig

Format = Literal["parquet", "csv", "ndjson"]
Character = Annotated[str, Field(min_length=1, max_length=1)]
Quote = Annotated[str, Field(max_length=1)]
NULL_VALUES = ("NULL", "\\N", "NA")


class Dialect(StrictConfig):
    """Options of the log's files."""

    format: Format | None = None
    """Format of the files; null: as the files' names say."""
    separator: Character = ","
    """Between the columns of a CSV file; a ``.tsv`` file has tabs without saying so."""
    header: bool = True
    """Whether the first line of a CSV file holds the names of the columns; if not, ``names`` gives them."""
    names: Names = ()
    """Names of all columns of a CSV file without a header, in their order."""
    quote: Quote | None = '"'
    """Quotes a text in a CSV file that holds separators or line ends; null or "": none, quotes are part of the texts."""
    null_values: Names = NULL_VALUES
    """Texts that stand for a missing value in any column of any format; blank texts do so always."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of numbers that are texts."""
    encoding: str = "utf-8"
    """Encoding of a text file, by Python's name for it; a byte order mark wins."""

    def _contradictions(self) -> Contradictions:
        yield from dialect_problems(self)


class TableDialect(StrictConfig):
    """The same options for another table; what is null is as in the log, except for the format, the header and the names."""

    format: Format | None = None
    """Format of the files; null: as the files' names say."""
    separator: Character | None = None
    """Between the columns of a CSV file; null: as in the log."""
    header: bool = True
    """Whether the first line of a CSV file holds the names of the columns; if not, ``names`` gives them."""
    names: Names = ()
    """Names of all columns of a CSV file without a header, in their order."""
    quote: Quote | None = None
    """Quotes texts in a CSV file; "": none; null: as in the log."""
    null_values: Names | None = None
    """Texts that stand for a missing value; null: as in the log."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of numbers that are texts; null: as in the log."""
    encoding: str | None = None
    """Encoding of a text file; null: as in the log."""

    def _contradictions(self) -> Contradictions:
        yield from dialect_problems(self)

    def resolved(self, log: Dialect) -> Dialect:
        """The options of this table, with the log's where it has none."""
        inherited = ("separator", "quote", "null_values", "decimal", "encoding")
        own = {key: getattr(self, key) for key in inherited if getattr(self, key) is not None}
        return Dialect.model_validate(
            {key: getattr(log, key) for key in inherited} | own | {"format": self.format, "header": self.header, "names": self.names}
        )


def dialect_problems(dialect: Dialect | TableDialect) -> Contradictions:
    """Options that contradict each other or do not exist."""
    if not dialect.header and not dialect.names:
        yield "names", "= []: a file without a header needs the names of all its columns, in their order"
    if dialect.header and dialect.names:
        yield "names", f"= {list(dialect.names)}: names are for files without a header; set header: false or remove them"
    if twice := sorted({name for name in dialect.names if dialect.names.count(name) > 1}):
        yield "names", f"= {twice}: named twice; every column needs a name of its own"
    if dialect.encoding is not None and not _is_text_encoding(dialect.encoding):
        yield "encoding", f"= {dialect.encoding}: no encoding of that name; such as utf-8, latin-1, cp1252 or utf-16"
    if dialect.quote and dialect.quote == dialect.separator:
        yield "quote", f"= {dialect.quote}: is the separator too; choose another one"


def _is_text_encoding(name: str) -> bool:
    try:
        "a".encode(name)
    except (LookupError, ValueError):  # unknown, or from bytes to bytes, or no name at all
        return False
    return True
