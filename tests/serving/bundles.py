"""A small model with made-up vocabularies, and what it must answer, by plain Python."""

import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from pydantic import TypeAdapter

from clickflow.data.batches import Batch
from clickflow.data.schema import CategoricalField, NumericField, Schema
from clickflow.models.config import ModelConfig
from clickflow.serving.bundle import ServingBundle

MAX_HISTORY = 3
SCHEMA = Schema(
    categorical=(
        CategoricalField(name="item", role="item", vocabulary_size=5),
        CategoricalField(name="category", role="item", vocabulary_size=3),
        CategoricalField(name="city", role="user", vocabulary_size=3),
        CategoricalField(name="device", role="context", vocabulary_size=3),
        CategoricalField(name="is_new", role="context", vocabulary_size=3),
    ),
    numeric=(
        NumericField(name="price", role="item", mean=10.0, std=2.0),
        NumericField(name="age", role="user", mean=40.0, std=10.0),
    ),
)
# raw id: (item index, category index, standardised price). Item 50 is in the log but not in train: its index is 0, its category is known.
ITEMS = {None: (0, 0, 0.0), 10: (2, 1, 0.5), 20: (1, 2, -1.0), 30: (3, 1, 0.25), 40: (4, 2, 2.0), 50: (0, 1, -0.5)}
CITIES = {7: 1, 9: 2}
DEVICES = {"phone": 1, "tv": 2}
BOOLEANS = {"false": 1, "true": 2}  # as Polars writes booleans
CONFIG = {"name": "din", "embedding_dim": 4, "hidden_units": [8, 4]}


def raw(item, as_string):
    return f"i{item}" if as_string and item is not None else item


def make_bundle(as_string=False):
    torch.manual_seed(1)
    model = TypeAdapter(ModelConfig).validate_python(CONFIG).build(SCHEMA)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    columns = {"raw": pl.Series([raw(item, as_string) for item in ITEMS])} | {
        name: pl.Series([values[k] for values in ITEMS.values()], dtype=dtype)
        for k, (name, dtype) in enumerate([("index/item", pl.Int32), ("index/category", pl.Int32), ("numeric/price", pl.Float32)])
    }
    return ServingBundle(
        model_config=CONFIG,
        schema=SCHEMA,
        max_history=MAX_HISTORY,
        state_dict=model.state_dict(),
        items=pl.DataFrame(columns).to_arrow(),
        vocabularies={
            "city": pa.table({"raw": list(CITIES), "index": pa.array(CITIES.values(), pa.int32()), "count": [2, 1]}),
            "device": pa.table({"raw": list(DEVICES), "index": pa.array(DEVICES.values(), pa.int32()), "count": [2, 1]}),
            "is_new": pa.table({"raw": list(BOOLEANS), "index": pa.array(BOOLEANS.values(), pa.int32()), "count": [2, 1]}),
        },
    )


def expected(bundle, rows):
    """Probabilities by plain Python: one dictionary lookup at a time, one row a batch."""
    model = TypeAdapter(ModelConfig).validate_python(bundle.model_config).build(bundle.schema)
    model.load_state_dict(bundle.state_dict)
    model.eval()
    probabilities = []
    for row in rows:
        target = ITEMS.get(row["item"], ITEMS[None])
        history = [ITEMS.get(item, ITEMS[None]) for item in row["history"] or []][-MAX_HISTORY:]
        age = row.get("age")
        batch = Batch(
            target=torch.tensor([[target[0]], [target[1]]]),
            history=torch.tensor([[item[0] for item in history], [item[1] for item in history]], dtype=torch.int64),
            offsets=torch.tensor([0, len(history)]),
            context=torch.tensor(
                [
                    [CITIES.get(row.get("city"), 0)],
                    [DEVICES.get(row.get("device"), 0)],
                    [BOOLEANS.get(str(row.get("is_new")).lower(), 0)],
                ]
            ),
            numeric=torch.tensor([[target[2], 0.0 if age is None else (age - 40) / 10]]),
        )
        with torch.inference_mode():
            probabilities.append(float(torch.sigmoid(model(batch).logit.double())))
    return probabilities


def frame(rows, as_string=False):
    def history(row):
        return None if row["history"] is None else [raw(item, as_string) for item in row["history"]]

    return pd.DataFrame([row | {"item": raw(row["item"], as_string), "history": history(row)} for row in rows])


FULL = {"item": 10, "history": [20, 30], "city": 7, "device": "tv", "age": 55.0}
CASES = {
    "a row of known ids": FULL,
    "an empty history": FULL | {"history": []},
    "a history longer than max_history": FULL | {"history": [40, 40, 40, 20, 30, 10]},
    "an unknown item": FULL | {"item": 999},
    "unknown ids in the history": FULL | {"history": [999, 20, 0]},
    "an item that train has not seen": FULL | {"item": 50},
    "unknown context ids": FULL | {"city": 8, "device": "radio"},
    "a null history": FULL | {"history": None},
    "an integer number": FULL | {"age": 55},
    "a boolean number": FULL | {"age": True},
    "a boolean": FULL | {"is_new": True},
    "a boolean as text": FULL | {"is_new": "False"},
    "an id beyond what a float can tell apart": FULL | {"item": 2**62 + 1},
}
