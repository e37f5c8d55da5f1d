"""Random odd files, and what an independent reader makes of them: Python's ``csv`` and ``json``, and a plain loop over the rows.

``python -m tests.data.sources.odd_files 1000 5000`` checks the files of the seeds 1,000 to 4,999 and prints those that are read wrongly.
"""

import codecs
import csv
import gzip
import io
import json
import logging
import math
import random
import re
import string
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ClickflowError

ODD_TEXTS = [
    *["a,b", "a;b", "a\tb", "a|b", "x\ny", 'q"q', '"lead', 'trail"', "'", "é", "٣", "\u200b", "sp ", " sp", "#c", "NaN", "null", "None"],
    *["1.0", "1e3", "0x1", "+1", "-0", "007", "7", "-7", "9223372036854775807", "9223372036854775808", "1" + "0" * 25, "NULL", "\\N", "NA"],
    *["true", "False", "[1, 2]", "a|b|c", "-", "\x00z", "日本", "ß", "  ", ""],
]
TIMES = ("seconds", "milliseconds", "fraction", "whole float", "iso", "iso zone", "date", "hour", "day", "mixed")
NULLS = {"", "NULL", "\\N", "NA"}
COLUMNS = ("user", "item", "ts", "label", "price", "shop", "note")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?(Z|[+-]\d\d(:?\d\d)?)?)?)?", re.ASCII)
MAY_BE_REFUSED = "a quote opens here and closes|= Float64: (ids are|a categorical)|a carriage return in the middle|no such column"
START = datetime(2023, 11, 1, tzinfo=UTC)


class Case(NamedTuple):
    """Files, how to read them, and the rows that are right: None if the independent reader refuses them."""

    config: dict[str, Any]
    rows: list[tuple[Any, ...]] | None
    is_damaged: bool


def make(seed: int, folder: Path) -> Case:
    """Write random files into an empty folder."""
    rng = random.Random(seed)
    kind = rng.choice(["csv", "csv", "csv", "ndjson", "parquet"])
    style = rng.choice(TIMES)
    values: dict[str, Any] = {
        "name": "odd",
        "source": "log",
        "path": str(folder),
        "columns": {"user": "user", "item": "item", "timestamp": "ts", "label": "label"},
        "context_fields": {"price": {"column": "price", "kind": "numeric"}, "shop": {"column": "shop"}},
        "on_bad_rows": "drop",
        "max_bad_share": 1.0,
        "timestamp_unit": "milliseconds" if style == "milliseconds" else "seconds",
        "timestamp_format": {"hour": "%y%m%d%H", "day": "%Y%m%d"}.get(style),
    }
    pools = {column: _pool(rng) for column in ("user", "item", "shop", "note")}
    prices = rng.choice([["1.5", "2", "-3e2"], ["1.5", "2", "", "x", "nan", "1e400", " 3", "NA"], ["7", "8"]])
    labels = rng.choice(
        [["0", "1"], ["1.0", "0.0"], ["true", "False"], ["0", "1", "", "2", " 1"], ["-1", "1"], ["-1.0", "0", "1"], ["Yes", "n", "maybe"]]
    )
    parts = [
        [
            {
                **{column: rng.choice(pool) for column, pool in pools.items()},
                "ts": _time(rng, style),
                "label": rng.choice(labels),
                "price": rng.choice(prices),
            }
            for _ in range(rng.choice([1, 2, 5, 30]))
        ]
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    if kind == "csv":
        return _csv(rng, folder, values, parts)
    return _ndjson(rng, folder, values, parts) if kind == "ndjson" else _parquet(rng, folder, values, parts)


def read(case: Case) -> CheckedLog:
    """Read a case as ``prepare`` does."""
    config = validate(LogConfig, case.config)
    return check(config.read(config.files(Path("nowhere"))), config)


def complaint(case: Case) -> str | None:
    """What is wrong with how a case is read; None if it is right or refused with a reason.

    A file that nobody damaged must not be refused, except where its texts look like rows or nothing in it can be used.
    """
    try:
        log = read(case)
    except ClickflowError as error:
        is_excused = case.is_damaged or not case.rows or re.search(MAY_BE_REFUSED, str(error))
        return None if is_excused else f"refused: {error}"
    if case.rows is None:
        return "accepted, though the independent reader refuses it"
    factor = 1 if log.raw.timestamp_unit == "microseconds" else {"seconds": 10**6, "milliseconds": 10**3}[log.raw.timestamp_unit]
    found = [
        (_id(user), _id(item), time * factor, label, price, _id(shop))
        for user, item, time, label, price, shop in log.interactions.select(
            "user", "item", "timestamp", "label", "price", "shop"
        ).iter_rows()
    ]
    if found == case.rows:
        return None
    surplus, lost = Counter(found) - Counter(case.rows), Counter(case.rows) - Counter(found)
    return f"{len(found)} rows for {len(case.rows)}: {list(surplus)[:2]} for {list(lost)[:2]}"


def tables_complaint(seed: int, folder: Path) -> str | None:
    """The same for a log with an item table and a behaviour table: each in a format of its own, with ids of a type of its own."""
    rng = random.Random(seed)
    pool = {key: rng.choice([["1", "2", "3"], ["1", "u2", "3"], ["007", "7", "8"], [str(2**63), "5", "6"]]) for key in ("user", "item")}
    start = 1_700_000_000

    def event() -> dict[str, str]:
        return {
            "user": rng.choice(pool["user"]),
            "item": rng.choice(pool["item"]),
            "ts": f"{start + rng.randrange(99)}{rng.choice(endings)}",
        }

    endings = rng.choice([[""], ["", ".5"]])
    clicks = [{**event(), "label": rng.choice("01")} for _ in range(rng.choice([1, 3, 20]))]
    endings = rng.choice([[""], [".25"]])
    views = [event() for _ in range(rng.choice([1, 3, 20]))]
    items = [
        {"item": item, "year": rng.choice(["1990", "2000.5", "", "NA", "soon"])}
        for item in sorted({*pool["item"], rng.choice(["9", "u9"])})
    ]
    paths = {name: _table(rng, folder / name, rows) for name, rows in (("clicks", clicks), ("views", views), ("items", items))}
    config = {
        "name": "odd",
        "source": "log",
        "path": paths["clicks"],
        "columns": {"user": "user", "item": "item", "timestamp": "ts", "label": "label"},
        "behaviours": {"path": paths["views"], "columns": {"user": "user", "item": "item", "timestamp": "ts"}},
        "items": {"path": paths["items"], "column": "item"},
        "item_fields": {"year": {"column": "year", "kind": "numeric"}},
        "max_bad_share": 1.0,
    }
    log = read(Case(config, [], is_damaged=False))
    assert log.items is not None
    assert log.behaviours is not None
    factor = 1 if log.raw.timestamp_unit == "microseconds" else 10**6
    right = {
        "clicks": [(row["user"], row["item"], round(float(row["ts"]) * 10**6)) for row in clicks],
        "views": [(row["user"], row["item"], round(float(row["ts"]) * 10**6)) for row in views],
        "items": sorted((row["item"], _float(row["year"], ".")) for row in items),
    }
    found = {
        "clicks": [(_id(user), _id(item), time * factor) for user, item, time, _ in log.interactions.iter_rows()],
        "views": [(_id(user), _id(item), time * factor) for user, item, time in log.behaviours.iter_rows()],
        "items": sorted((str(item), year) for item, year in log.items.iter_rows()),
    }
    alike = len({frame["item"].dtype for frame in (log.interactions, log.behaviours, log.items)}) == 1
    return None if found == right and alike else f"{found} for {right}"


def _table(rng: random.Random, stem: Path, rows: list[dict[str, str]]) -> str:
    """Write a table in some format, with integers as integers if all values of a column are."""
    frame = pl.DataFrame(rows)
    for column in frame.columns:
        integers = frame[column].cast(pl.Int64, strict=False)
        if not integers.has_nulls() and (integers.cast(pl.String) == frame[column]).all() and rng.random() < 0.7:
            frame = frame.with_columns(integers)
    match rng.randrange(4):
        case 0:
            path = stem.with_suffix(".csv")
            frame.write_csv(path, quote_style=rng.choice(["necessary", "always"]))
        case 1:
            path = stem.with_suffix(".tsv")
            frame.write_csv(path, separator="\t")
        case 2:
            path = stem.with_suffix(".ndjson")
            frame.write_ndjson(path)
        case _:
            path = stem.with_suffix(".parquet")
            frame.write_parquet(path)
    return str(path)


def _pool(rng: random.Random) -> list[str]:
    match rng.randrange(5):
        case 0:
            return [str(number) for number in range(8)]
        case 1:
            return [f"u{number}" for number in range(8)]
        case 2:
            return [*(str(number) for number in range(5)), *rng.sample(ODD_TEXTS, 2)]
        case 3:
            return rng.sample(ODD_TEXTS, 6)
    return ["".join(rng.choices(string.printable, k=rng.randrange(5))) for _ in range(6)]


def _time(rng: random.Random, style: str) -> str:
    moment = START + timedelta(seconds=rng.randrange(10**6), microseconds=rng.choice([0, 500_000, 123_456]))
    whole = moment.replace(microsecond=0)
    match style:
        case "seconds":
            return str(int(whole.timestamp()))
        case "milliseconds":
            return str(int(whole.timestamp()) * 1000 + moment.microsecond // 1000)
        case "fraction":
            return f"{int(whole.timestamp())}.{moment.microsecond:06}"
        case "whole float":
            return f"{int(whole.timestamp())}.0"
        case "iso":
            return whole.strftime(rng.choice(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]))
        case "iso zone":
            return moment.isoformat()
        case "date":
            return moment.strftime("%Y-%m-%d")
        case "hour":
            return moment.strftime("%y%m%d%H")
        case "day":
            return moment.strftime("%Y%m%d")
    return rng.choice([str(int(whole.timestamp())), moment.isoformat(), "soon", "", "NA"])


def _csv(rng: random.Random, folder: Path, values: dict[str, Any], parts: list[list[dict[str, str]]]) -> Case:
    separator, quoting = rng.choice(",;\t|"), rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
    ending, encoding = rng.choice(["\n", "\r\n"]), rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"])
    has_header, decimal = rng.random() < 0.8, rng.choice(".....,")
    columns = rng.sample(COLUMNS, len(COLUMNS))
    values |= {"separator": separator, "quote": None if quoting == csv.QUOTE_NONE else '"', "decimal": decimal}
    values |= {"encoding": encoding if encoding in ("cp1252", "utf-16-le") else "utf-8"}
    values |= {} if has_header else {"header": False, "names": columns}
    values |= {} if (suffix := rng.choice([".csv", ".csv.gz", ".inter"])) != ".inter" else {"format": "csv"}
    is_damaged, rows = False, []
    for number, part in enumerate(parts):
        stream = io.StringIO()
        options: dict[str, Any] = {"delimiter": separator, "quoting": quoting, "lineterminator": ending}
        for row in part:
            row |= {"price": row["price"].replace(".", decimal), "ts": row["ts"].replace(".", decimal)}
            if quoting == csv.QUOTE_NONE:
                row |= {column: re.sub(rf"[\r\n{re.escape(separator)}]", "_", row[column]) for column in columns}
            row |= {column: row[column].encode("cp1252", "ignore").decode("cp1252") for column in columns if encoding == "cp1252"}
        if quoting == csv.QUOTE_NONE:
            lines = [separator.join(columns)] * has_header + [separator.join(row[column] for column in columns) for row in part]
            text = "".join(f"{line}{ending}" for line in lines)
        else:
            writer = csv.DictWriter(stream, columns, **options)
            if has_header:
                writer.writeheader()
            writer.writerows(part)
            text = stream.getvalue()
        damage = rng.choice(["", "", "blank lines", "no last line end", "ragged", "quote", "cut", "character"])
        text = _damaged(rng, text, damage, ending, separator)
        is_damaged |= damage in ("ragged", "quote", "cut", "character")
        data = text.encode(encoding, "ignore")
        path = folder / f"{number}{suffix}"
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
        rows.append(_csv_rows(data, encoding, values, columns, separator))
    return _expected(values, rows, decimal, is_damaged)


def _damaged(rng: random.Random, text: str, damage: str, ending: str, separator: str) -> str:
    at = rng.randrange(len(text) + 1)
    match damage:
        case "blank lines":
            return ending + text + ending * 2
        case "no last line end":
            return text.removesuffix(ending)
        case "ragged":
            return text + rng.choice([separator * 9, "a", f"a{separator}b"]) + ending
        case "quote":
            return text[:at] + '"' + text[at:]
        case "cut":
            return text[:at]
        case "character":
            return text[:at] + rng.choice(["\r", "\n", separator, "\x00", "x", "0"]) + text[at + 1 :]
    return text


def _csv_rows(data: bytes, encoding: str, values: dict[str, Any], columns: list[str], separator: str) -> list[dict[str, str]] | None:
    text = codecs.decode(data, encoding)
    quoting: dict[str, Any] = {"quotechar": '"', "strict": True} if values["quote"] else {"quoting": csv.QUOTE_NONE}
    try:
        records = [record for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator, **quoting) if record]
    except csv.Error:
        return None
    names = records.pop(0) if records and values.get("header", True) else columns
    if not {"user", "item", "ts", "label"} <= set(names):
        return None
    blank = dict.fromkeys(COLUMNS, "")
    return [blank | dict(zip(names, record, strict=True)) for record in records if len(record) == len(names)]


def _ndjson(rng: random.Random, folder: Path, values: dict[str, Any], parts: list[list[dict[str, str]]]) -> Case:
    suffix, rows = rng.choice([".jsonl", ".ndjson.gz"]), []
    numeric = {column for column in COLUMNS if rng.random() < 0.5}
    is_damaged = False
    for number, part in enumerate(parts):
        lines = []
        for row in part:
            given: dict[str, Any] = dict(row)
            for column in numeric:
                if re.fullmatch(r"-?(0|[1-9]\d*)", row[column], re.ASCII) and row[column] != "-0":
                    given[column] = int(row[column])
                elif re.fullmatch(r"\d+\.\d+", row[column], re.ASCII) and column in ("price", "ts", "label"):
                    given[column] = float(row[column])
            if rng.random() < 0.1:
                del given["shop"]
            lines.append(json.dumps(given, ensure_ascii=rng.random() < 0.5))
        if rng.random() < 0.3:
            is_damaged = True
            odd = [
                "null",
                "[1]",
                "7",
                "{",
                '{"user": 1}',
                '{"user": 1, "user": 2, "item": 3, "ts": 1700000000, "label": 1}',
                "{} {}",
                "nonsense",
            ]
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(odd))
        lines.insert(rng.randrange(len(lines) + 1), "")
        data = "\n".join(lines).encode()
        (folder / f"{number}{suffix}").write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
        rows.append([_texts(record) for line in lines if (record := _object(line)) is not None])
    return _expected(values, rows, ".", is_damaged)


def _object(line: str) -> dict[str, Any] | None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        record = json.loads(line, object_pairs_hook=once)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _texts(record: dict[str, Any]) -> dict[str, str]:
    return {column: value if isinstance(value := record.get(column, ""), str) else json.dumps(value) for column in COLUMNS}


def _parquet(rng: random.Random, folder: Path, values: dict[str, Any], parts: list[list[dict[str, str]]]) -> Case:
    rows = []
    for number, part in enumerate(parts):
        frame = pl.DataFrame(part, schema=dict.fromkeys(COLUMNS, pl.String))
        for column in COLUMNS:
            frame = frame.with_columns(_physical(rng, frame[column]))
        if rng.random() < 0.2:
            frame = frame.with_columns(pl.lit(None).alias("shop"))
            part = [{**row, "shop": ""} for row in part]
        elif rng.random() < 0.2 and number:
            frame = frame.drop("shop")
            part = [{**row, "shop": ""} for row in part]
        frame.write_parquet(folder / f"{number}.parquet")
        rows.append(part)
    (folder / ".hidden.parquet").write_bytes(b"nothing")
    return _expected(values, rows, ".", is_damaged=False)


def _physical(rng: random.Random, texts: pl.Series) -> pl.Series:
    integers = texts.cast(pl.Int64, strict=False)
    if not integers.has_nulls() and (integers.cast(pl.String) == texts).all() and texts.name != "shop":
        return rng.choice(
            [
                integers,
                texts,
                integers.cast(pl.Decimal(20, 0)),
                integers.cast(pl.UInt64, strict=False).fill_null(0) if (integers >= 0).all() else integers,
            ]
        )
    return rng.choice([texts, texts.cast(pl.Categorical), texts.cast(pl.Binary)])


def _expected(values: dict[str, Any], parts: list[list[dict[str, str]] | None], decimal: str, is_damaged: bool) -> Case:
    if any(part is None for part in parts):
        return Case(values, None, is_damaged)
    rows = [row for part in parts for row in part or []]
    stamps = [row["ts"].strip().replace(",", "." if decimal == "," else ",") for row in rows]
    dates = sum(_iso(stamp) is not None for stamp in stamps)
    numbers = sum(bool(NUMBER.fullmatch(stamp)) for stamp in stamps)
    as_dates = bool(dates) and dates >= numbers
    expected = []
    labels = [_label(row["label"]) for row in rows]
    if -1.0 in labels and 0.0 in labels:  # nobody knows which of them is no click
        labels = [None if label == -1.0 else label for label in labels]
    for row, label in zip(rows, labels, strict=True):
        label = 0.0 if label == -1.0 else label
        moment = _moment(row["ts"].strip().replace(",", "." if decimal == "," else ","), values, as_dates)
        if row["user"].strip() in NULLS or row["item"].strip() in NULLS or label not in (0.0, 1.0) or moment is None:
            continue
        price, shop = _float(row["price"], decimal), row["shop"]
        shown = shop if shop.strip() not in NULLS else None
        expected.append((row["user"], row["item"], moment, int(label), price, shown))
    return Case(values, expected, is_damaged)


def _float(text: str, decimal: str) -> float | None:
    text = text.strip()
    if decimal == ",":
        text = "x" if "." in text else text.replace(",", ".")
    return float(text) if NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if ISO.fullmatch(text) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _label(text: str) -> float | None:
    words = {"true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "f": 0.0, "no": 0.0, "n": 0.0}
    return words.get(text.strip().lower(), _float(text, "."))


def _moment(text: str, values: dict[str, Any], as_dates: bool) -> int | None:
    if (text_format := values["timestamp_format"]) is not None:
        if not re.fullmatch("[0-9]{,8}", text):
            return None
        try:
            moment: datetime | None = datetime.strptime(text.zfill(8), text_format).replace(tzinfo=UTC)
        except ValueError:
            return None
    elif not as_dates:
        factor = 10**3 if values["timestamp_unit"] == "milliseconds" else 10**6
        return round(float(text) * factor) if NUMBER.fullmatch(text) else None
    else:
        moment = _iso(text)
    if moment is None or not 1970 <= moment.year <= 2024:
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _id(value: Any) -> str | None:
    return None if value is None else str(value)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as tables:
            case = make(seed, Path(scratch))
            try:
                wrong = complaint(case) or tables_complaint(seed, Path(tables))
            except BaseException as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                print(seed, wrong[:400])
