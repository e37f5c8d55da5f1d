"""A request names a user and a timestamp, and the behaviours that the server was given make the history."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.scoring.registered import register
from tests.serving.bundles import FULL, expected, make_bundle
from tests.serving.test_click_model import loaded

from clickflow.data.history_rules import HistoryRules
from clickflow.data.id_numbers import id_numbers
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.served_behaviours import served_behaviours
from clickflow.serving.behaviour_table import FOLDER_VARIABLE, BehaviourTable
from clickflow.serving.config import BehavioursConfig
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

START = 1_700_000_000
ASKED = {key: value for key, value in FULL.items() if key != "history"} | {"user": 7, "timestamp": START + 9}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A model with two users' behaviours: 7 did 20, 30 and later 40; u did nothing yet."""
    users = pa.array(["7", "u"], pa.large_string())
    order = np.argsort(id_numbers(users))
    starts = np.array([0, 3, 3, 3]) if order[0] == 0 else np.array([0, 0, 3, 3])
    BehaviourTable(
        users=users.take(pa.array(order)),
        user_numbers=id_numbers(users)[order],
        starts=starts,
        items=pa.array([20, 30, 40]),
        item=np.arange(3, dtype=np.int32),
        timestamp=np.array([START, START + 5, START + 9]) * 10**6,
        rules=HistoryRules(),
    ).write(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return loaded(make_bundle(), tmp_path)


def answers(model, rows):
    return model.predict(None, pd.DataFrame(rows))["probability"].tolist()


def test_its_history_is_what_the_user_did_before(served):
    rows = [ASKED, ASKED | {"timestamp": START + 10}, ASKED | {"user": "7", "timestamp": START}, ASKED | {"user": "nobody"}]
    histories = [[20, 30], [20, 30, 40], [], []]
    wanted = expected(make_bundle(), [FULL | {"history": history} for history in histories])
    np.testing.assert_allclose(answers(served, rows), wanted, rtol=1e-6)


def test_a_history_of_its_own_counts(served):
    rows = [FULL | {"history": [10]}, FULL | {"history": [], "user": 7, "timestamp": START + 9}, ASKED | {"history": None}]
    wanted = expected(make_bundle(), [FULL | {"history": history} for history in ([10], [], [20, 30])])
    np.testing.assert_allclose(answers(served, rows), wanted, rtol=1e-6)


def test_candidates_of_a_row_share_it(served):
    [listed] = answers(served, [ASKED | {"item": [10, 40, 999]}])
    wanted = expected(make_bundle(), [FULL | {"item": item, "history": [20, 30]} for item in (10, 40, 999)])
    np.testing.assert_allclose(listed, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user": None}, r"^column 'user', row 1 = null: missing; without a history, a row needs the user"),
        ({"user": 1.5}, r"^column 'user', row 1 = 1\.5: not a user's id"),
        ({"timestamp": None}, r"^column 'timestamp', row 1 = null: missing; without a history, a row needs the moment"),
        ({"timestamp": "soon"}, r"^column 'timestamp', row 1 = 'soon': neither a number \(Unix seconds\) nor an ISO 8601 date-time"),
        ({"timestamp": START * 1000}, r"^column 'timestamp', row 1 = 1700000000000: not between 1990 and 2100"),
        ({"history": 5}, r"^column 'history', row 1 = 5\.0: not a list of item ids"),
    ],
)
def test_what_cannot_be_read_is_named(served, row, message):
    with pytest.raises(DataError, match=message):
        answers(served, [ASKED, ASKED | row])


def test_without_users_a_request_says_which_column_is_missing(served):
    with pytest.raises(DataError, match=r"^column 'user', row 0 = null: missing"):
        answers(served, [{"item": 10}])


def test_without_behaviours_a_user_makes_no_history(tmp_path):
    with pytest.raises(DataError, match=r"^column 'history', row 0 = null: missing; send a list of item ids"):
        answers(loaded(make_bundle(), tmp_path), [ASKED])


def test_a_server_of_a_model_that_takes_no_user_is_refused(tmp_path, monkeypatch):
    register(tmp_path / "home", make_bundle())
    store = open_store(TrackingConfig(), tmp_path / "home")
    (tmp_path / "past.csv").write_text(f"user,item,timestamp\n7,10,{START}\n")
    config = BehavioursConfig(path=str(tmp_path / "past.csv"))
    with served_behaviours(BehavioursConfig(), store, "models:/ctr@champion", tmp_path) as variables:
        assert variables == {}
    nowhere = served_behaviours(config, store, "models:/ctr@champion", tmp_path / "nowhere")
    with (
        pytest.raises(DataError, match=r"^home = .*nowhere: the behaviours cannot be written there \(No such file or directory\)"),
        nowhere,
    ):
        pass
    monkeypatch.setattr("clickflow.scoring.served_behaviours.read_signature", lambda store, uri: None)
    refused = served_behaviours(config, store, "models:/ctr@champion", tmp_path)
    with pytest.raises(ConfigError, match=r"^behaviours\.path = .*past\.csv: models:/ctr@champion was logged by a version of"), refused:
        pass
