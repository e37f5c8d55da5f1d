"""``clickflow serve`` and ``clickflow ui``: MLflow's servers, which end whole."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import requests
from tests.processes import still_alive
from tests.runs.small import small_config
from tests.servers import answers

from clickflow.cli.launch import launch
from clickflow.data.prepare import prepare
from clickflow.data.raw_rows import raw_rows
from clickflow.errors import EXIT_CODE_INTERRUPTED, ConfigError
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.promote import promote
from clickflow.runs.train import train
from clickflow.tracking.config import ServeConfig, TrackingConfig, UiConfig
from clickflow.tracking.servers import refuse_taken_port


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def refused(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["clickflow"])
        with pytest.raises(SystemExit) as end:
            launch(arguments[0], arguments[1:])
        assert end.value.code == 2
        return capsys.readouterr().err

    return run


def served(path, *arguments, ends_by):
    """What a request to a server's path is answered with; afterwards the server is ended and none of its processes is left."""
    process = subprocess.Popen([sys.executable, "-m", "clickflow", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout if " on http://" in line)
        url = re.search(r"http://[\d.]+:\d+", line)[0]
        deadline = time.monotonic() + 120
        while not answers(f"{url}/health"):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        answer = path(url)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert len(family) > 1
        os.kill(process.pid, ends_by)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert still_alive(family, 10) == []
    assert process.returncode == EXIT_CODE_INTERRUPTED
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    return answer


def test_a_port_that_is_taken_is_refused_before_anything_starts(refused, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        message = (
            rf"port = {number}: cannot be listened on at 127\.0\.0\.1 \(Address already in use\); end what uses it or set another port"
        )
        with pytest.raises(ConfigError, match=message):
            refuse_taken_port("127.0.0.1", number)
        for arguments in (["ui"], ["serve", "name=ctr"]):
            assert re.search(message, refused(*arguments, f"port={number}", f"home={tmp_path / 'home'}"))
    assert not (tmp_path / "home").exists()


def test_the_defaults_let_both_run_side_by_side(tmp_path):
    assert UiConfig(home=tmp_path).port != ServeConfig(name="ctr", home=tmp_path, tracking=TrackingConfig()).port


def test_a_model_that_is_not_registered_is_answered_with_those_that_are(refused, store, home, port):
    store.client.create_registered_model("served-elsewhere")
    message = refused("serve", "name=ctrr", f"port={port}", f"home={home}")
    assert re.search(r"TrackingError: model models:/ctrr@champion: not in .*; registered there: .*served-elsewhere", message)
    message = refused("serve", "name=served-elsewhere", f"port={port}", f"home={home}")
    assert re.search(r"model models:/served-elsewhere@champion: no such version or alias", message)


def test_pages_over_a_home_that_is_no_folder_are_refused(refused, tmp_path, port):
    (tmp_path / "file").touch()
    message = refused("ui", f"port={port}", f"home={tmp_path / 'file'}")
    assert message == f"TrackingError: home = {tmp_path / 'file'}: cannot be written (File exists); set home=FOLDER to another place\n"


@pytest.mark.slow
def test_the_pages_are_shown_until_an_interrupt(tmp_path, port):
    answer = served(lambda url: requests.get(url, timeout=10).text, "ui", f"port={port}", f"home={tmp_path}", ends_by=signal.SIGINT)
    assert "<title>MLflow</title>" in answer


@pytest.mark.slow
def test_the_champion_answers_until_it_is_terminated(tmp_path, port):
    config = small_config(tmp_path)
    train(config)
    promote(PromoteConfig(name="ctr", home=tmp_path, tracking=TrackingConfig()))
    rows = raw_rows(prepare(config.data, config.protocol, tmp_path), "validation", np.arange(2))
    request = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    past = [(user, item, 1_700_000_000 + place) for user, row in rows.iterrows() for place, item in enumerate(row["history"])]
    pd.DataFrame(past, columns=["user", "item", "timestamp"]).to_csv(tmp_path / "past.csv", index=False)
    users = rows.drop(columns="history").assign(user=rows.index, timestamp=1_800_000_000).to_dict(orient="records")

    def both_ways(url):
        bodies = (request, {"dataframe_records": users})
        return [requests.post(f"{url}/invocations", json=body, timeout=30).json()["predictions"] for body in bodies]

    arguments = ["serve", "name=ctr", f"port={port}", f"home={tmp_path}", f"behaviours.path={tmp_path / 'past.csv'}"]
    by_histories, by_users = served(both_ways, *arguments, ends_by=signal.SIGTERM)
    assert all(0 < prediction["probability"] < 1 for prediction in by_histories)
    assert len(by_histories) == 2
    assert by_users == by_histories
    assert not list(tmp_path.glob("behaviours-*"))
