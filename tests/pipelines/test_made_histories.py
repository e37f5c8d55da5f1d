"""The test rows have one score, whichever way they come: evaluation, ``predict`` with histories or behaviours, the served model.

Each log has every user and item of a row once, so that rows of the predictions can be told by these two.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import requests
from tests.runs.small import SMALL
from tests.servers import running

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.raw_rows import raw_rows
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import TrainedRun, train
from clickflow.scoring.config import PredictConfig
from clickflow.scoring.predict import predict
from clickflow.scoring.served_behaviours import served_behaviours
from clickflow.serving.config import BehavioursConfig
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.logged_model import load_model
from clickflow.tracking.store import open_store

pytestmark = pytest.mark.slow
DAY = 86_400
START = 1_700_006_400  # midnight
USERS, ITEMS, EVENTS = 60, 40, 16
MAX_HISTORY = 5  # many histories are cut, also within a moment
TRAINING = [choice for choice in SMALL if choice.startswith(("trainer.", "tracking."))]


def events(moments, seed=0, as_text=False):
    """Events of users whose items are all different, many at the same moment."""
    draw = np.random.default_rng(seed)
    rows = [
        {
            "user": f"u{user}" if as_text else user,
            "item": int(item),
            "timestamp": int(draw.choice(moments)),
            "clicked": int(draw.random() < 0.4),
        }
        for user in range(USERS)
        for item in draw.choice(ITEMS, EVENTS, replace=False)
    ]
    return pl.DataFrame(rows).with_columns((pl.col("item") % 3).cast(pl.String).alias("device"))


SECONDS = START + np.arange(12) * DAY
COLUMNS = {"user": "user", "item": "item", "timestamp": "timestamp"}
CLICKED = {"columns": COLUMNS | {"label": "clicked"}}


@dataclass(frozen=True)
class Case:
    """A log, the config of its training, and the behaviours that predict is given."""

    log: pl.DataFrame
    data: dict
    overrides: tuple
    behaviours: pl.DataFrame


def own_table():
    log, views = events(SECONDS, as_text=True), events(SECONDS, 1, as_text=True).drop("clicked", "device")
    data = CLICKED | {"context_fields": {"device": {"column": "device"}}, "behaviours": {"columns": COLUMNS}}
    return Case(log, data, ("protocol=impressions",), views)


def own_clicks():
    log = events(SECONDS)
    return Case(log, CLICKED, ("protocol=impressions", f"protocol.history_lag={2 * DAY}"), log.filter(clicked=1))


def repeated(log):
    """A log in which a third of the events are reported twice, in another order."""
    return pl.concat([log, log.sample(fraction=0.3, seed=1)]).sample(fraction=1, shuffle=True, seed=2)


def as_dates(log):
    return log.with_columns(pl.from_epoch("timestamp", time_unit="s"))


def next_item():
    log = events(SECONDS).select(*COLUMNS)
    return Case(as_dates(repeated(log)), {"columns": COLUMNS}, ("protocol=next_item", "protocol.seed=3"), as_dates(repeated(log)))


def next_item_lagging():
    log = events(SECONDS).select(*COLUMNS)
    overrides = ("protocol=next_item", "protocol.split=time", f"protocol.history_lag={3 * DAY}")
    return Case(log, {"columns": COLUMNS}, overrides, as_dates(log))


def positions():
    log = events(np.arange(12)).select(*COLUMNS)
    data = {"columns": COLUMNS, "timestamp_unit": "order"}
    return Case(repeated(log), data, ("protocol=next_item", "protocol.history_lag=3"), repeated(log))


CASES = {
    "a table of behaviours": own_table,
    "the log's clicks with a lag": own_clicks,
    "next item among ties": next_item,
    "next item with a lag and dates for numbers": next_item_lagging,
    "positions with a lag": positions,
}


@dataclass(frozen=True)
class Trained:
    """A trained run, its test rows with histories and with users, and their scores by evaluation."""

    name: str
    run: TrainedRun
    folder: Path
    with_histories: pl.DataFrame
    with_users: pl.DataFrame
    preds: np.ndarray

    @property
    def store(self):
        return open_store(self.run.config.tracking, self.run.config.home)


def trained_on(case, folder):
    """Train and evaluate; the run."""
    data = {"source": "log", "name": "made", "path": str(folder / "log.parquet"), **case.data}
    if "behaviours" in data:
        data["behaviours"] = {"path": str(folder / "behaviours.csv"), **data["behaviours"]}
    few = [f"home={folder / 'home'}", "model=dien", f"trainer.max_history={MAX_HISTORY}", *TRAINING]
    config = validate(RunConfig, composed_config("train", [*few, *case.overrides]) | {"data": data})
    run = train(config)
    evaluate(EvaluateConfig(run_id=run.run_id, home=config.home, tracking=config.tracking))
    return run


def moments_asked_for(case, predictions):
    """(R,) timestamp of each test row; a sampled negative is asked for at the moment of its positive, the row before."""
    moments = case.log.unique(["user", "item"]).select("user", "item", "timestamp")
    own = predictions.join(moments, on=["user", "item"], how="left", maintain_order="left")["timestamp"]
    if "protocol=next_item" not in case.overrides:
        return own
    return own.gather(np.arange(len(own)) // 2 * 2)


@pytest.fixture(scope="module", params=CASES)
def trained(request, tmp_path_factory):
    folder, case = tmp_path_factory.mktemp("made"), CASES[request.param]()
    case.log.write_parquet(folder / "log.parquet")
    case.behaviours.write_csv(folder / "behaviours.csv")
    case.behaviours.write_parquet(folder / "behaviours.parquet")
    run = trained_on(case, folder)
    store = open_store(run.config.tracking, run.config.home)
    predictions = pl.read_parquet(fetch_artifact(store, run.run_id, "predictions/test.parquet", folder / "fetched"))
    dataset = prepare(run.config.data, run.config.protocol, run.config.home)
    rows = pl.from_pandas(raw_rows(dataset, "test", np.arange(len(predictions))))
    users = rows.drop("history").with_columns(predictions["user"], moments_asked_for(case, predictions))
    return Trained(request.param, run, folder, rows, users, predictions["preds"].to_numpy())


def predicted(trained, table, *overrides):
    """Probabilities of the rows of a table."""
    output = trained.folder / "scores.parquet"
    given = [f"model={trained.run.model_uri}", f"input={table}", f"output={output}", f"home={trained.run.config.home}", "overwrite=true"]
    predict(validate(PredictConfig, composed_config("predict", [*given, *overrides])))
    return pl.read_parquet(output)["probability"].to_numpy()


@pytest.fixture(scope="module")
def by_histories(trained):
    """Probabilities of the test rows by ``predict``, given their histories."""
    trained.with_histories.write_parquet(trained.folder / "rows.parquet")
    return predicted(trained, trained.folder / "rows.parquet")


def test_given_histories_give_the_scores_of_the_evaluation(trained, by_histories):
    assert trained.with_histories["history"].list.len().max() > MAX_HISTORY
    assert np.ptp(by_histories) > 1e-3
    np.testing.assert_allclose(by_histories, trained.preds, rtol=0, atol=1e-6)  # float32, in batches of another size


def test_made_histories_give_the_same_to_the_last_bit(trained, by_histories):
    trained.with_users.write_parquet(trained.folder / "users.parquet")
    trained.with_users.write_csv(trained.folder / "users.csv")
    for table, behaviours in (("users.parquet", "behaviours.csv"), ("users.csv", "behaviours.parquet")):
        made = predicted(trained, trained.folder / table, f"behaviours.path={trained.folder / behaviours}")
        assert made.tolist() == by_histories.tolist(), (table, behaviours)


def as_requests(trained):
    """The rows as JSON has them; dates as texts."""
    rows = trained.with_users
    if rows.schema["timestamp"] == pl.Datetime:
        rows = rows.with_columns(pl.col("timestamp").dt.to_string("iso:strict"))
    return rows.to_dicts()


def test_the_served_model_gives_the_same(trained, by_histories, monkeypatch):
    config = BehavioursConfig(path=str(trained.folder / "behaviours.csv"))
    with served_behaviours(config, trained.store, trained.run.model_uri, trained.folder) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        model = load_model(trained.store, trained.run.model_uri)
        served = model.predict(pd.DataFrame(as_requests(trained)))["probability"]
        np.testing.assert_allclose(served, by_histories, rtol=0, atol=1e-6)  # the threads of a batch differ
        mixed = trained.with_histories.to_dicts()[:2] + as_requests(trained)[2:6]
        assert len(mixed) == 6
        np.testing.assert_allclose(model.predict(pd.DataFrame(mixed))["probability"], by_histories[:6], rtol=0, atol=1e-6)
        if trained.name != "next item among ties":
            return
        command = ["models", "serve", "--model-uri", trained.run.model_uri, "--env-manager", "local"]
        with running(*command, folder=trained.folder, path="/ping", MLFLOW_TRACKING_URI=trained.store.uri, **variables) as server:
            answer = requests.post(f"{server}/invocations", json={"dataframe_records": as_requests(trained)}, timeout=60)
            assert answer.ok, answer.text
        np.testing.assert_allclose([row["probability"] for row in answer.json()["predictions"]], by_histories, rtol=0, atol=1e-6)
    assert not list(trained.folder.glob("behaviours-*"))
