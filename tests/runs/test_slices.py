"""The table of slices against Polars' own grouping of the raw rows and scikit-learn on each group."""

import re

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError
from clickflow.metrics.scored_rows import ScoredRows
from clickflow.runs.slices import COUNTS, LENGTHS, NUM_VALUES, OTHER, UNKNOWN, check_fields, slice_table, slices_as_markdown

DEVICE = pl.when(pl.col("user") < 185).then(pl.format("d{}", pl.col("user") % 30)).otherwise(pl.format("new{}", "user"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A log whose fields follow from its ids, with users, items and devices that come up only at its end."""
    folder = tmp_path_factory.mktemp("sliced")
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": np.r_[rng.integers(0, 150, 5400), rng.integers(140, 200, 600)],
            "item": np.r_[rng.zipf(1.3, 5400) % 60, rng.zipf(1.3, 600) % 80],
            "timestamp": 1_700_000_000 + 3600 * np.arange(6000),
            "label": rng.integers(0, 2, 6000),
        }
    ).with_columns(
        device=DEVICE,
        category=pl.format("c{}", pl.col("item") % 4),
        price=(pl.col("item") % 7).cast(pl.Float64),
        hour=(pl.col("timestamp") // 3600 % 24).cast(pl.Float64),
    )
    frame.write_parquet(folder / "log.parquet")
    fields = {
        "item_fields": {"category": {"column": "category"}, "price": {"column": "price", "kind": "numeric"}},
        "context_fields": {"device": {"column": "device"}, "hour": {"column": "hour", "kind": "numeric"}},
    }
    columns = {name: name for name in ("user", "item", "timestamp", "label")}
    source = {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": columns, **fields}
    return prepare(validate(LogConfig, source), ImpressionsConfig(), folder / "home")


@pytest.fixture(scope="module")
def scored(dataset):
    """Random predictions of the test split, in single precision as models make them."""
    split = dataset.split("test")
    preds = torch.rand(len(split), generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    return ScoredRows(preds, torch.from_numpy(split.rows["label"].copy()), torch.from_numpy(split.rows["group"].astype(np.int64)))


@pytest.fixture(scope="module")
def raw(dataset, scored):
    """The test split as a person would write it down: raw ids, and fields as they follow from these."""
    rows = dataset.split("test").rows
    train = dataset.raw_users().gather(dataset.split("train").rows["group"].astype(np.uint32)).unique()
    return pl.DataFrame(
        {
            "user": dataset.raw_users().gather(rows["group"].astype(np.uint32)),
            "item": dataset.raw_items().gather(rows["item"].astype(np.uint32) - 1),
            "label": rows["label"],
            "preds": scored.preds.numpy(),
            "length": rows["history_end"].astype(np.int64) - rows["history_start"],
        }
    ).with_columns(
        pl.format("c{}", pl.col("item") % 4).alias("category"),
        DEVICE.alias("device"),
        pl.col("user").is_in(train.implode()).alias("is_known"),
    )


def of(table: pl.DataFrame, name: str) -> dict[str, dict[str, object]]:
    return {row["value"]: row for row in table.filter(pl.col("slice") == name).iter_rows(named=True)}


def check(found: dict[str, dict[str, object]], groups: dict[object, pl.DataFrame]) -> None:
    assert found.keys() == groups.keys()
    for value, group in groups.items():
        line, label, preds = found[value], group["label"].to_numpy(), group["preds"].to_numpy().astype(np.float64)
        assert (line["rows"], line["users"], line["clicks"]) == (len(group), group["user"].n_unique(), label.sum())
        assert line["log_loss"] == pytest.approx(log_loss(label, preds, labels=[0, 1]), rel=1e-6)
        if 0 < label.sum() < len(label):
            assert line["auc"] == pytest.approx(roc_auc_score(label, preds), abs=1e-9)
            assert line["calibration"] == pytest.approx(preds.sum() / label.sum(), rel=1e-6)
        else:
            assert line["auc"] is line["auc_low"] is line["auc_high"] is None


def grouped(raw: pl.DataFrame, by: pl.Expr) -> dict[object, pl.DataFrame]:
    return {value: group for (value,), group in raw.group_by(by)}


def bucket(column: str, buckets: dict[int, str]) -> pl.Expr:
    value = pl.lit(None, pl.String)
    for least, name in buckets.items():
        value = pl.when(pl.col(column) >= least).then(pl.lit(name)).otherwise(value)
    return value


def test_each_slice_has_the_metrics_of_its_rows(dataset, scored, raw):
    table = slice_table(dataset, "test", scored)
    assert table["slice"].unique(maintain_order=True).to_list() == [
        "all rows", "history length", "item count in train", "user", "category", "device", "price", "hour"
    ]  # fmt: skip
    check(of(table, "all rows"), {"": raw})
    check(of(table, "history length"), grouped(raw, bucket("length", LENGTHS)))
    counts = dataset.vocabulary("item").select(item="raw", count="count")
    with_counts = raw.join(counts, on="item", how="left", maintain_order="left").with_columns(pl.col("count").fill_null(0))
    check(of(table, "item count in train"), grouped(with_counts, bucket("count", COUNTS)))
    check(of(table, "user"), grouped(raw, pl.when("is_known").then(pl.lit("in train")).otherwise(pl.lit("cold"))))
    check(of(table, "category"), grouped(raw, pl.col("category")))
    assert "0 (cold)" in of(table, "item count in train")


def test_a_field_of_many_values_shows_the_most_frequent_and_the_others_together(dataset, scored, raw):
    known = dataset.vocabulary("device")["raw"].implode()
    frequent = raw.filter(pl.col("device").is_in(known))["device"].value_counts().sort("count", descending=True)
    table = slice_table(dataset, "test", scored, ["device"])
    shown = list(of(table, "device"))
    assert len(shown) == NUM_VALUES + 2
    assert shown[-2:] == [OTHER, UNKNOWN]
    assert set(shown[:5]) >= set(frequent["device"].head(3))
    value = pl.when(~pl.col("device").is_in(known)).then(pl.lit(UNKNOWN)).when(pl.col("device").is_in(shown)).then("device")
    check(of(table, "device"), grouped(raw, value.otherwise(pl.lit(OTHER))))


def test_a_number_is_cut_into_quarters(dataset, scored, raw):
    table = slice_table(dataset, "test", scored, ["price", "hour"])
    price = (raw["item"] % 7).cast(pl.Float64)
    edges = sorted({float(np.quantile(price, share)) for share in (0.25, 0.5, 0.75)})
    lines = list(of(table, "price").values())
    assert lines[0]["value"] == f"to {edges[0]:.4g}"
    assert lines[0]["rows"] == (price <= edges[0]).sum()
    assert sum(line["rows"] for line in lines) == len(raw)
    assert [line["rows"] for line in of(table, "hour").values()] == pytest.approx([len(raw) / 4] * 4, rel=0.15)


def test_only_the_fields_asked_for_are_sliced_by_and_an_item_id_may_be(dataset, scored):
    table = slice_table(dataset, "test", scored, ["item"])
    assert table["slice"].unique().to_list().count("item") == 1
    assert not {"category", "device", "price", "hour"} & set(table["slice"])
    assert set(slice_table(dataset, "test", scored, [])["slice"]) == {"all rows", "history length", "item count in train", "user"}


def test_the_slices_of_a_field_hold_each_row_once(dataset, scored):
    table = slice_table(dataset, "test", scored)
    assert table.group_by("slice").agg(pl.col("rows").sum())["rows"].unique().to_list() == [len(scored.preds)]


def test_a_field_that_the_data_set_lacks_is_refused(dataset):
    check_fields(["device", "price", "item"], dataset.schema, "mine")
    with pytest.raises(ConfigError, match=r"slice_fields = devise: no field of data set mine; did you mean device\?"):
        check_fields(["device", "devise"], dataset.schema, "mine")


def test_the_markdown_table_reads_as_one_line_a_slice(dataset, scored):
    table = slice_table(dataset, "test", scored, ["category"]).with_columns(value=pl.col("value").str.replace("c1", "a|b"))
    lines = slices_as_markdown(table).splitlines()
    headings = [heading.strip() for heading in lines[0].strip("|").split(" | ")]
    assert headings == ["slice", "value", "rows", "users", "click rate", "AUC [95 %]", "GAUC", "log loss", "calibration"]
    assert len(lines) == len(table) + 2
    assert re.match(rf"\| all rows +\| +\| +{len(scored.preds):,} \| ", lines[2])
    assert any(re.search(r"\| a\\\|b +\|", line) for line in lines)
