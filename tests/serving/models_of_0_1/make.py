"""Models as version 0.1 logged them, and what that version predicts with them.

    python tests/serving/models_of_0_1/make.py FOLDER

Run once, with version 0.1 (commit 8cec48b), and kept to show how the files beside it were made: a model logged by that version has to load
and to score as it did, whatever the code of today looks like, so they are never made again. ``<name>.zip`` is the model folder as
``clickflow.tracking.model.save_model`` wrote it, with the code that travelled along; ``<name>.json`` holds requests, and the probabilities
that MLflow gave for them in a process of that version.

The weights are random and not small, the statistics of Dice are not those of its start, and the vocabularies have what real ones have: ids
that train has not seen, and a row for the unknown.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from clickflow.tracking.bundle import ServingBundle
from clickflow.tracking.model import save_model
from pydantic import TypeAdapter

from clickflow.data.schema import CategoricalField, NumericField, Schema
from clickflow.models import ModelConfig, build_model

VERSION, COMMIT = "0.1.0", "8cec48b"
DATE = (1980, 1, 1, 0, 0, 0)  # of every file in an archive, so that equal files give equal archives
NUM_ITEMS, NUM_CATEGORIES, MAX_HISTORY = 30, 6, 8
UNSEEN = 3  # items at the end that are in the log but not in train: index 0, their category is known


def items_table(raw, generator, with_price):
    """Row 0 is the unknown item."""
    ids = [None, *raw]
    seen = len(raw) - UNSEEN
    order = generator.permutation(seen) + 1
    index = np.concatenate([[0], order, np.zeros(UNSEEN)])
    category = np.concatenate([[0], generator.integers(1, NUM_CATEGORIES + 1, len(raw))])
    columns = {"raw": pa.array(ids), "index/item": pa.array(index, pa.int32()), "index/category": pa.array(category, pa.int32())}
    if with_price:
        columns["numeric/price"] = pa.array(np.concatenate([[0], generator.normal(size=len(raw))]), pa.float32())
    return pa.table(columns)


def vocabulary(*raw):
    return pa.table({"raw": pa.array(raw), "index": pa.array(range(1, len(raw) + 1), pa.int32())})


def field(name, role, size):
    return CategoricalField(name=name, role=role, vocabulary_size=size)


def weights(config, schema, seed):
    """Random; what is a variance is positive."""
    torch.manual_seed(seed)
    model = build_model(TypeAdapter(ModelConfig).validate_python(config), schema)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.normal_(std=0.5)
                if "var" in name:
                    buffer.abs_().add_(0.5)
    return model.state_dict()


def bundle_of(config, seed, raw, impression_fields, numeric):
    generator = np.random.default_rng(seed)
    fields = [field("item", "item", NUM_ITEMS - UNSEEN + 1), field("category", "item", NUM_CATEGORIES + 1)]
    fields += [field(name, role, len(table) + 1) for name, (role, table) in impression_fields.items()]
    schema = Schema(categorical=tuple(fields), numeric=tuple(numeric))
    return ServingBundle(
        model_config=config,
        schema=schema,
        max_history=MAX_HISTORY,
        state_dict=weights(config, schema, seed),
        items=items_table(raw, generator, with_price=any(of.name == "price" for of in numeric)),
        vocabularies={name: table for name, (_, table) in impression_fields.items()},
    )


INTEGERS = [1000 + 7 * item for item in range(NUM_ITEMS)]
LARGE = [2**61 + item for item in range(NUM_ITEMS)]  # a float would take neighbours for one another
STRINGS = [f"B{item:03d}é" for item in range(NUM_ITEMS)]
PRICE = NumericField(name="price", role="item", mean=10.0, std=2.0)
AGE = NumericField(name="age", role="user", mean=40.0, std=10.0)
HOUR = NumericField(name="hour", role="context", mean=12.5, std=6.25)


def base():
    """Integer ids, an item's fields and no other."""
    config = {"name": "base", "embedding_dim": 4, "hidden_units": [8, 4]}
    return bundle_of(config, 1, INTEGERS, {}, []), INTEGERS, {}


def din():
    """String ids, a user field, a text and a boolean of the impression, numbers of each role."""
    config = {"name": "din", "embedding_dim": 4, "hidden_units": [8, 4], "attention_hidden_units": [6, 3]}
    impression_fields = {
        "city": ("user", vocabulary("Oslo", "Rīga", "Zürich")),
        "device": ("context", vocabulary("phone", "tv")),
        "is_new": ("context", vocabulary("false", "true")),
    }
    rows = {
        "known": {"city": "Oslo", "device": "tv", "is_new": True, "age": 55.0, "hour": 23},
        "other": {"city": "Zürich", "device": "phone", "is_new": False, "age": 18, "hour": 0.5},
        "unknown": {"city": "Rome", "device": "radio", "is_new": "TRUE", "age": None, "hour": 7},
        "gaps": {"city": None, "device": None, "is_new": None, "age": None, "hour": None},
    }
    return bundle_of(config, 2, STRINGS, impression_fields, [PRICE, AGE, HOUR]), STRINGS, rows


def dien():
    """Integer ids beyond a float's, integers as a user field, a number of the user; the auxiliary loss has weights that are not served."""
    config = {
        "name": "dien",
        "embedding_dim": 3,
        "hidden_units": [8],
        "gru_hidden_units": 5,
        "auxiliary_score": "mlp",
        "auxiliary_hidden_units": [6],
    }
    rows = {
        "known": {"segment": 7, "age": 30.5},
        "other": {"segment": 11, "age": 71},
        "unknown": {"segment": 8, "age": None},
        "gaps": {"segment": None, "age": 40},
    }
    return bundle_of(config, 3, LARGE, {"segment": ("user", vocabulary(5, 7, 11))}, [AGE]), LARGE, rows


def requests_of(raw, rows):
    """Requests, each a list of rows for ``pandas.DataFrame``."""
    unknown = "nobody knows" if isinstance(raw[0], str) else 999
    contexts = rows or {"known": {}, "other": {}, "unknown": {}, "gaps": {}}
    known, short, long = contexts["known"], raw[3:6], raw[2:14]
    plain = [
        {"item": raw[0], "history": short} | known,
        {"item": raw[1], "history": []} | known,
        {"item": raw[2], "history": None} | known,
        {"item": raw[2], "history": long} | known,
        {"item": raw[2], "history": long[-MAX_HISTORY:]} | known,
        {"item": raw[2], "history": list(reversed(long))} | known,
        {"item": raw[5], "history": [raw[5], raw[5]]} | known,
        {"item": unknown, "history": short} | known,
        {"item": raw[7], "history": [unknown, raw[8], unknown]} | known,
        {"item": raw[7], "history": [unknown]} | known,
        {"item": raw[-1], "history": short} | known,
        {"item": raw[9], "history": [raw[-2], raw[10]]} | known,
        {"item": unknown, "history": []} | contexts["unknown"],
    ]
    spread = [{"item": raw[3 + k], "history": raw[k : 2 * k + 1]} | context for k, context in enumerate(contexts.values())]
    listed = [
        {"item": [*raw[:6], unknown, raw[-1]], "history": long} | contexts["other"],
        {"item": [raw[4]], "history": []} | contexts["gaps"],
        {"item": [], "history": short} | known,
        {"item": raw[11], "history": short} | known,
    ]
    one_each = [{"item": raw[:3], "history": short} | {name: [value] * 3 for name, value in contexts["other"].items()}]
    many = [{"item": candidate, "history": raw[k % 5 : k % 5 + k % 11]} | known for k, candidate in enumerate(raw * 3)]
    return {
        "one row": plain[:1],
        "rows": plain,
        "contexts": spread,
        "without optional columns": [{"item": row["item"], "history": row["history"]} for row in plain],
        "candidates listed": listed,
        "a value for each candidate": one_each,
        "many rows": many,
    }


def pack(folder, archive):
    """All files but compiled ones."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, path.read_bytes(), compresslevel=9)


def predicted(folder, requests):
    """What MLflow gives for each request, at full precision."""
    model = mlflow.pyfunc.load_model(str(folder))
    return {name: model.predict(pd.DataFrame(rows))["probability"].tolist() for name, rows in requests.items()}


def make(target):
    for build in (base, din, dien):
        bundle, raw, rows = build()
        requests = requests_of(raw, rows)
        with tempfile.TemporaryDirectory() as scratch:
            save_model(bundle, Path(scratch) / "model")
            pack(Path(scratch) / "model", target / f"{build.__name__}.zip")
            answers = predicted(Path(scratch) / "model", requests)
        said = {"model": build.__doc__, "version": VERSION, "commit": COMMIT}
        said["requests"] = [{"name": name, "rows": rows, "probability": answers[name]} for name, rows in requests.items()]
        (target / f"{build.__name__}.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
