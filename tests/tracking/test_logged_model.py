import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from tests.serving.bundles import CASES, FULL, expected, frame, make_bundle, raw

import clickflow
from clickflow.errors import DataError, TrackingError
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.logged_model import load_model, log_model, read_bundle
from clickflow.tracking.search import read_run


def files_of(store, uri):
    """The model's folder; a local store is read in place."""
    return Path(mlflow.artifacts.download_artifacts(store.client.get_logged_model(uri.removeprefix("models:/")).artifact_location))


@pytest.fixture(scope="module", params=[False, True], ids=["integer ids", "string ids"])
def logged(request, store):
    """A run that is still open, the bundle, and the URI of the model logged to it."""
    bundle = make_bundle(request.param)
    with open_run(store, name="model", params={"model.name": "din"}, tags={}, log_system_metrics=False) as run:
        yield run, bundle, log_model(run, bundle), request.param


@pytest.fixture(scope="module")
def served(logged):
    run, bundle, uri, as_string = logged
    return load_model(run.store, uri), bundle, as_string


@pytest.mark.parametrize("case", CASES)
def test_served_probability_is_the_models_own(served, case):
    model, bundle, as_string = served
    preds = model.predict(frame([CASES[case]], as_string))
    assert list(preds.columns) == ["probability"]
    np.testing.assert_allclose(preds["probability"], expected(bundle, [CASES[case]]), rtol=1e-6)


def test_plain_mlflow_reads_booleans_integers_and_null_histories_from_json(served):
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    model, bundle, as_string = served
    rows = [FULL | {"is_new": True, "age": 55, "history": None}, FULL | {"is_new": None, "age": 40}, FULL | {"is_new": "TRUE"}]
    request = json.dumps({"dataframe_records": frame(rows, as_string).astype(object).replace({np.nan: None}).to_dict("records")})
    data = infer_and_parse_data(json.loads(request), model.metadata.get_input_schema())
    np.testing.assert_allclose(model.predict(data)["probability"], expected(bundle, rows), rtol=1e-6)


def test_rows_of_one_request_do_not_touch_each_other(served):
    model, bundle, as_string = served
    rows = list(CASES.values()) * 3
    np.testing.assert_allclose(model.predict(frame(rows, as_string))["probability"], expected(bundle, rows), rtol=1e-6)


@pytest.mark.parametrize("missing", ["city", "device", "age"])
def test_optional_column_may_be_left_out(served, missing):
    model, bundle, as_string = served
    row = {key: value for key, value in FULL.items() if key != missing}
    np.testing.assert_allclose(model.predict(frame([row], as_string))["probability"], expected(bundle, [row]), rtol=1e-6)


def test_gaps_in_optional_columns_are_unknown(served):
    model, bundle, as_string = served
    rows = [FULL, FULL | {"city": None}, FULL | {"device": None}, FULL | {"age": None}]
    np.testing.assert_allclose(model.predict(frame(rows, as_string))["probability"], expected(bundle, rows), rtol=1e-6)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("item", r"Model is missing inputs \['item'\]"), ("history", "column 'history', row 0 = null: missing; send a list")],
)
def test_required_column_must_be_there(served, missing, message):
    model, _, as_string = served
    with pytest.raises(mlflow.MlflowException, match=message):
        model.predict(frame([FULL], as_string).drop(columns=missing))


def test_empty_request_gives_an_empty_answer(served):
    model, _, as_string = served
    assert model.predict(frame([FULL], as_string).iloc[:0]).shape == (0, 1)


@pytest.mark.parametrize("as_json", [False, True], ids=["frame", "json"])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("item", 1.5, r"column 'item', row 1 = 1.5: not an? (integer|string) id"),
        ("item", True, r"column 'item', row 1 = True: not an? (integer|string) id"),
        ("item", None, r"column 'item', row 1 = null: missing; every candidate and behaviour needs an id; leave it out"),
        ("city", 7.5, r"column 'city', row 1 = 7.5: not an integer id; the model was trained on integer ids; send integers"),
        ("city", "7", r"column 'city', row 1 = '7': not an integer id"),
        ("device", 3, r"column 'device', row 1 = 3: not a string id; the model was trained on string ids; send strings"),
        ("is_new", 1, r"column 'is_new', row 1 = 1.0: not a string id"),
        ("age", "old", r"column 'age', row 1 = 'old': not a finite number; send one, or null where it is missing"),
        ("age", float("inf"), r"column 'age', row 1 = inf: not a finite number"),
    ],
)
def test_wrong_value_is_refused_by_column_and_not_truncated(served, column, value, message, as_json):
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    model, _, as_string = served
    good = FULL | {"item": raw(10, as_string), "history": [raw(20, as_string)]}
    rows = [good, good | {column: value}]
    if as_json:  # as `mlflow models serve` reads a request
        data = infer_and_parse_data(json.loads(json.dumps({"dataframe_records": rows})), model.metadata.get_input_schema())
    else:
        data = pd.DataFrame(rows)
    with pytest.raises(DataError, match=f"^{message}"):
        model.predict(data)


@pytest.mark.parametrize("wrong", [[20, 1.5], ["20", "30"], [True]])
def test_wrong_id_in_a_history_is_refused(served, wrong):
    model, _, as_string = served
    with pytest.raises(DataError, match=r"^column 'history', row 0 = .*: not an? (integer|string) id"):
        model.predict(pd.DataFrame([FULL | {"item": raw(10, as_string), "history": [1, 2] if as_string else wrong}]))


def test_signature_states_required_and_optional_columns(served):
    model, _, _ = served
    inputs = {spec["name"]: spec for spec in model.metadata.get_input_schema().to_dict()}
    assert {name for name, spec in inputs.items() if spec["required"]} == {"item"}
    assert {spec["type"] for spec in inputs.values()} == {"any"}
    assert set(inputs) == {"item", "history", "user", "timestamp", "city", "device", "is_new", "age"}
    assert [(spec["name"], spec["type"]) for spec in model.metadata.get_output_schema().to_dict()] == [("probability", "double")]


def test_input_example_travels_along_and_scores(logged):
    run, _, uri, _ = logged
    folder = files_of(run.store, uri)
    model = load_model(run.store, uri)
    assert len(model.predict(model.input_example)) == 2
    assert json.loads((folder / "serving_input_example.json").read_text())


def test_logging_a_model_leaves_the_run_open_and_links_the_two(logged):
    run, _, uri, _ = logged
    assert run.status == "RUNNING"
    assert mlflow.active_run() is None
    model_id = uri.removeprefix("models:/")
    assert [output.model_id for output in run.store.client.get_run(run.id).outputs.model_outputs] == [model_id]
    model = run.store.client.get_logged_model(model_id)
    assert (model.source_run_id, str(model.status), model.name) == (run.id, "READY", "din")
    assert model.params["embedding_dim"] == "4"
    run.log_metrics({"after": 1.0}, 0)
    run.flush()
    assert read_run(run.store, run.id).metrics["after"] == 1.0


def test_model_holds_no_pickle_and_states_its_requirements(logged):
    run, _, uri, _ = logged
    folder = files_of(run.store, uri)
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in requirements] == ["mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "torch"]
    assert not [line for line in requirements if "+" in line]


def test_loading_leaves_the_import_path_as_it_was(logged):
    run, _, uri, _ = logged
    before = list(sys.path)
    load_model(run.store, uri)
    assert sys.path == before
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" not in os.environ


def test_model_that_cannot_be_uploaded_is_not_left_ready(store, run, monkeypatch):
    def refuse(self, model_id, local_dir, artifact_path=None):
        raise OSError("disk full")

    monkeypatch.setattr(type(store.client), "log_model_artifacts", refuse)
    with pytest.raises(TrackingError, match=rf"^run {run.id}: the model cannot be logged \(OSError: disk full\)"):
        log_model(run, make_bundle())
    (model,) = store.client.search_logged_models([store.experiment_id], filter_string=f"source_run_id = '{run.id}'")
    assert str(model.status) == "FAILED"
    assert run.status == "RUNNING"


def test_model_loads_by_alias_and_version_of_the_stores_own_registry(logged):
    run, bundle, uri, as_string = logged
    client, name = run.store.client, f"ctr-{as_string}"
    client.create_registered_model(name)
    location = client.get_logged_model(uri.removeprefix("models:/")).artifact_location
    version = client.create_model_version(name, location, run.id, model_id=uri.removeprefix("models:/")).version
    client.set_registered_model_alias(name, "champion", version)
    for registered in (f"models:/{name}@champion", f"models:/{name}/{version}"):
        preds = load_model(run.store, registered).predict(frame([FULL], as_string))
        np.testing.assert_allclose(preds["probability"], expected(bundle, [FULL]), rtol=1e-6)
        assert_same(read_bundle(run.store, registered), bundle)


def assert_same(found, bundle):
    """Tables are compared by their values: Parquet gives string views back as strings."""
    assert (found.model_config, found.schema, found.max_history) == (bundle.model_config, bundle.schema, bundle.max_history)
    torch.testing.assert_close(found.state_dict, bundle.state_dict, rtol=0, atol=0)
    assert found.items.to_pydict() == bundle.items.to_pydict()
    for name, table in bundle.vocabularies.items():
        assert found.vocabularies[name].to_pydict() == table.select(["raw", "index"]).to_pydict()


def test_bundle_is_read_from_a_logged_model_and_needs_its_files_no_more(logged):
    run, bundle, uri, _ = logged
    assert_same(read_bundle(run.store, uri), bundle)


def copied_model(store, run, uri, change):
    """Another logged model with the files of a first one, changed."""
    logged = store.client.create_logged_model(store.experiment_id, "changed", run.id)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(files_of(store, uri), Path(folder) / "model"))
        change(copy / "artifacts" / "bundle")
        store.client.log_model_artifacts(logged.model_id, str(copy))
    return f"models:/{logged.model_id}"


FILES = ("weights.safetensors", "model.json", "items.parquet", "vocabulary/city.parquet")


@pytest.mark.parametrize("read", [load_model, read_bundle])
@pytest.mark.parametrize("name", FILES)
def test_damaged_or_missing_file_is_named(logged, name, read):
    run, _, uri, _ = logged

    def flip(bundle):
        data = bytearray((bundle / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)

    for change, message in ((flip, "does not match its checksum"), (lambda bundle: (bundle / name).unlink(), "cannot be read")):
        changed = copied_model(run.store, run, uri, change)
        with pytest.raises(TrackingError, match=rf"^model {changed}: cannot be loaded .*{name}: {message}"):
            read(run.store, changed)


def test_damaged_checksums_are_named(logged):
    run, _, uri, _ = logged
    for text in ("{", "[]"):
        changed = copied_model(run.store, run, uri, lambda bundle, text=text: (bundle / "checksums.json").write_text(text))
        with pytest.raises(TrackingError, match=r"checksums.json: cannot be read"):
            read_bundle(run.store, changed)


def test_model_is_read_in_silence(logged, capsys):
    run, _, uri, _ = logged
    read_bundle(run.store, uri)
    load_model(run.store, uri)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_model_logged_before_there_were_checksums_loads_and_its_missing_file_is_named(logged):
    run, bundle, uri, _ = logged
    old = copied_model(run.store, run, uri, lambda folder: (folder / "checksums.json").unlink())
    assert_same(read_bundle(run.store, old), bundle)
    (files_of(run.store, old) / "artifacts" / "bundle" / "items.parquet").unlink()
    with pytest.raises(TrackingError, match=r"bundle: cannot be read .*items.parquet"):
        read_bundle(run.store, old)


def test_model_that_is_not_there_is_answered_with_what_there_is(logged):
    run, _, uri, as_string = logged
    name = f"other-{as_string}"
    run.store.client.create_registered_model(name)
    version = run.store.client.create_model_version(name, files_of(run.store, uri).as_uri(), run.id).version
    run.store.client.set_registered_model_alias(name, "champion", version)
    has = rf"no such version or alias; {name} has versions: 1; aliases: champion \(version 1\)"
    for missing, message in (
        ("models:/m-0000", r"not in sqlite.*; registered there: .*; allowed: models:/m-"),
        ("models:/nobody/1", rf"not in sqlite.*; registered there: .*{name}"),
        ("models:/nobody@champion", rf"not in sqlite.*; registered there: .*{name}"),
        (f"models:/{name}", r"not in sqlite|" + has),
        (f"models:/{name}/7", has),
        (f"models:/{name}/new", has),
        (f"models:/{name}@nobody", has),
        ("runs:/abc/model", "not a model's URI; allowed: models:/m-"),
        ("models:/", "not a model's URI"),
    ):
        for read in (load_model, read_bundle):
            with pytest.raises(TrackingError, match=rf"^model {re.escape(missing)}: {message}"):
                read(run.store, missing)


def test_logging_and_loading_leave_nothing_in_the_working_directory(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_model(run.store, log_model(run, make_bundle())).predict(frame([FULL]))
    assert list(tmp_path.iterdir()) == []


def identity(model_input: pd.DataFrame) -> pd.DataFrame:
    return model_input


def test_pickled_model_is_refused(store, run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of pickle
        mlflow.pyfunc.save_model(path=str(tmp_path / "model"), python_model=identity, pip_requirements=["mlflow"])
    logged = store.client.create_logged_model(store.experiment_id, "pickled", run.id)
    store.client.log_model_artifacts(logged.model_id, str(tmp_path / "model"))
    with pytest.raises(TrackingError, match=r"cannot be loaded .*pickle is disallowed"):
        load_model(store, f"models:/{logged.model_id}")
    with pytest.raises(TrackingError, match=r"cannot be loaded from sqlite"):
        read_bundle(store, f"models:/{logged.model_id}")


LOAD_WITHOUT_CLICKFLOW = """
import importlib.abc, json, sys

source = sys.argv[3]
sys.path = [entry for entry in sys.path if entry and entry != source]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"polars", "pytorch_lightning", "hydra", "omegaconf", "torchmetrics", "optuna"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    import clickflow
except ModuleNotFoundError:
    pass
else:
    sys.exit(f"clickflow is there: {clickflow.__path__}")
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
print(json.dumps(model.predict(pandas.DataFrame(json.loads(sys.argv[4])))["probability"].tolist()))
"""


@pytest.mark.slow
def test_model_loads_where_clickflow_polars_hydra_and_lightning_are_not_installed(logged, tmp_path):
    run, bundle, uri, as_string = logged
    rows = list(CASES.values())
    source = str(Path(clickflow.__path__[0]).parent)
    command = [sys.executable, "-c", LOAD_WITHOUT_CLICKFLOW, run.store.uri, uri, source, frame(rows, as_string).to_json(orient="records")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected(bundle, rows), rtol=1e-6)
    assert "WARNING" not in done.stderr
