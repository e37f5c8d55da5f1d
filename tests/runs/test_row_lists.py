"""A log in MIND's layout, with lists of candidates and ready-made histories, from its files to a served model."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mlflow import MlflowClient
from tests.runs.small import SMALL

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.data.raw_rows import raw_rows
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.run_dataset import open_dataset
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.logged_model import load_model
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

pytestmark = pytest.mark.slow

NUM_USERS, NUM_NEWS, NUM_LISTS, NUM_TOPICS = 80, 60, 700, 6
MIND = """\
defaults:
  - override /protocol@_global_.protocol: impressions
  - _self_

name: mind
source: log
path: behaviors.tsv
header: false
names: [impression, user, time, history, impressions]
quote: null
timestamp_format: "%m/%d/%Y %I:%M:%S %p"
columns:
  user: user
  timestamp: time
  history: history
  candidates: {column: impressions, separator: " ", label_separator: "-"}
history_separator: " "
items:
  path: news.tsv
  header: false
  names: [id, category, subcategory, title, abstract, url, title_entities, abstract_entities]
  column: id
  title: title
item_fields:
  category: {column: category}
  subcategory: {column: subcategory}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The files of MIND: who has read of a topic clicks on that topic."""
    folder = tmp_path_factory.mktemp("mind")
    rng = np.random.default_rng(0)
    topic = np.arange(NUM_NEWS) % NUM_TOPICS
    liked = rng.integers(0, NUM_TOPICS, NUM_USERS)
    pasts = [[f"N{item}" for item in rng.permutation(np.flatnonzero(topic == own))[: rng.integers(0, 8)]] for own in liked]
    lines = []
    for number in range(NUM_LISTS):
        user, shown = int(rng.integers(0, NUM_USERS)), rng.choice(NUM_NEWS, 6, replace=False)
        clicked = rng.random(6) < np.where(topic[shown] == liked[user], 0.9, 0.1)
        moment = f"11/{9 + number // 100}/2019 {number % 12 or 12}:05:{number % 60:02d} {'AM' if number % 24 < 12 else 'PM'}"
        candidates = " ".join(f"N{item}-{int(label)}" for item, label in zip(shown, clicked, strict=True))
        lines.append(f"{number + 1}\tU{user}\t{moment}\t{' '.join(pasts[user])}\t{candidates}\n")
    (folder / "behaviors.tsv").write_text("".join(lines))
    news = (
        f'N{item}\ttopic{topic[item]}\tsub{item % 20}\tThe "news {item}\tWell\thttps://n\t[{{"Label": "x"}}]\t[]\n' for item in range(60)
    )
    (folder / "news.tsv").write_text("".join(news))
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "data" / "mind.yaml").write_text(
        MIND.replace("behaviors.tsv", str(folder / "behaviors.tsv")).replace("news.tsv", str(folder / "news.tsv"))
    )
    return folder / "home"


@pytest.fixture(scope="module")
def impressions(home):
    """(moment, user, item, label, history) of each candidate in the file, by a loop over its lines."""
    found = []
    for line in (home.parent / "behaviors.tsv").read_text().splitlines():
        _, user, time, past, shown = line.split("\t")
        moment = datetime.strptime(time, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC).timestamp()
        for candidate in shown.split(" "):
            item, _, label = candidate.rpartition("-")
            found.append((moment, user, item, int(label), tuple(past.split())))
    return found


@pytest.fixture(scope="module", params=["din", "dien"])
def trained(home, request):
    own = [override for override in SMALL if not override.startswith(("data.", "trainer.max_epochs", "trainer.batch_size"))]
    longer = ["trainer.max_epochs=6", "trainer.batch_size=64", "optimizer.learning_rate=0.01", "trainer.monitor=val/mrr"]
    overrides = [f"home={home}", *own, *longer, "data=mind", f"model={request.param}"]
    return train(validate(RunConfig, composed_config("train", overrides, str(home.parent / "conf"))))


def test_a_model_of_histories_is_trained_evaluated_and_served_alike(home, trained, impressions, tmp_path):
    store = open_store(TrackingConfig(), home)
    found = evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=TrackingConfig()))
    assert found.scored.metrics["auc"] > 0.75
    assert 0 < found.scored.metrics["mrr"] <= 1
    dataset = open_dataset(read_run(store, trained.run_id), trained.config, home)
    first = dataset.manifest.splits["test"].first_timestamp / 1e6
    asked = [row for row in impressions if row[0] >= first]
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    evaluated = pl.read_parquet(client.download_artifacts(trained.run_id, "predictions/test.parquet", str(tmp_path)))
    assert Counter(evaluated.select("user", "item", "label").rows()) == Counter((user, item, label) for _, user, item, label, _ in asked)
    served = load_model(store, trained.model_uri).predict(
        pd.DataFrame({"item": [row[2] for row in asked], "history": [list(row[4]) for row in asked]})
    )["probability"]
    of_pair = dict(zip([(row[1], row[2]) for row in asked], served, strict=True))  # each user has one history
    expected = [of_pair[user, item] for user, item in evaluated.select("user", "item").rows()]
    np.testing.assert_allclose(evaluated["preds"].to_numpy(), expected, atol=1e-6, rtol=0)
    again = raw_rows(dataset, "test", np.arange(len(evaluated)))
    assert list(map(tuple, again["history"])) == [
        next(past for _, user, _, _, past in asked if user == own) for own in evaluated["user"].to_list()
    ]
