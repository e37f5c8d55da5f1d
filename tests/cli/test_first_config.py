"""``clickflow prepare --from``: a config that composes, validates and prepares, or one line that says why not."""

import io
import os
import random
import subprocess
import sys

import pytest
from rich.console import Console
from tests.data.layouts.public_logs import LAYOUTS, make

from clickflow.cli.compose import compose, plain
from clickflow.cli.first_config import asks_for_first_config, parsed, write_first_config
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.errors import ConfigError, DataError
from clickflow.runs.config import PrepareConfig


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def clicks(path, rows=300):
    rng = random.Random(0)
    lines = [
        f"u{rng.randrange(20)},{rng.randrange(30)},{1_500_000_000 + rng.randrange(10**6)},{int(rng.random() < 0.3)}" for _ in range(rows)
    ]
    path.write_text("\n".join(["user_id,item_id,timestamp,clicked", *lines]) + "\n")
    return path


def first_config(*arguments):
    """What the command prints."""
    console = Console(file=io.StringIO(), width=200)
    write_first_config(arguments, console)
    return console.file.getvalue()


def prepared(name, folder):
    config = validate(PrepareConfig, plain(compose("prepare", [f"data={name}"], None)))
    return prepare(config.data, config.protocol, folder / "home")


def clickflow(*arguments, **environment):
    command = [sys.executable, "-m", "clickflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment)


def test_the_config_is_prepared_as_it_was_written(tmp_path):
    clicks(tmp_path / "clicks.csv")
    shown = first_config("--from", "clicks.csv")
    dataset = prepared("clicks", tmp_path)
    assert sum(split.rows for split in dataset.manifest.splits.values()) == 300
    assert "looked at clicks.csv: all 300 rows" in shown
    assert "columns.user: user_id" in shown
    assert "wrote conf/data/clicks.yaml" in shown
    assert "next: clickflow prepare data=clicks" in shown


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_config_of_a_public_log_is_prepared_as_it_was_written(tmp_path, name):
    folder = make(name, tmp_path)
    first_config("--from", *(str(file.relative_to(tmp_path)) for file in sorted(folder.iterdir())), f"data={name}")
    dataset = prepared(name, tmp_path)
    assert all(split.rows for split in dataset.manifest.splits.values())


def test_questions_and_what_was_left_out_are_printed_and_in_the_file(tmp_path):
    folder = make("avazu", tmp_path)
    shown = first_config(f"--from={folder.relative_to(tmp_path) / 'train.csv'}", "data=ads")
    written = (tmp_path / "conf" / "data" / "ads.yaml").read_text()
    question = "columns.user: 'device_id' is the likeliest; or is it 'device_ip'?"
    assert f"2 open questions:\n  {question}" in shown
    assert f"# QUESTION {question}\n" in written
    assert "left out of train.csv: id\n" in shown
    assert "# Left out of train.csv:\n#   id: another value in every row\n" in written


def test_values_of_the_log_are_not_written_into_the_config(tmp_path):
    path = clicks(tmp_path / "clicks.csv")
    path.write_text(path.read_text().replace("u7,", "ann@example.com,"))
    assert "example.com" not in first_config("--from", "clicks.csv") + (tmp_path / "conf" / "data" / "clicks.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "files", "name"),
    [
        (["--from", "a.csv", "b.csv"], ["a.csv", "b.csv"], None),
        (["--from=a.csv"], ["a.csv"], None),
        (["data=mine", "--from", "a.csv"], ["a.csv"], "mine"),
        (["--from=a.csv", "--from", "b.csv"], ["a.csv", "b.csv"], None),
    ],
)
def test_files_and_the_name_may_be_given_in_any_way(arguments, files, name):
    assert asks_for_first_config(arguments)
    found, given = parsed(arguments)
    assert ([str(file) for file in found], given) == (files, name)


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path):
    (tmp_path / "day=1.csv").write_text("x")
    assert [str(file) for file in parsed(["--from", "day=1.csv"])[0]] == ["day=1.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from"], r"--from: no file; name one, as in clickflow prepare --from clicks\.csv"),
        (["--from", "clicks.csv", "model=din"], "model=din: --from takes files, and data=NAME for the name of the config"),
        (["--from", "clicks.csv", "--multirun"], "--multirun: --from takes files"),
        (["--from", "clicks.csv", "data=My Shop"], "data = My Shop: no name for a data set; lower-case letters"),
        (["--from", "clicks.csv", "data=../../x"], r"data = \.\./\.\./x: no name for a data set"),
        (["--from", "clicks.csv", "data=synthetic"], "data = synthetic: clickflow itself has this config already.*data=my_synthetic"),
        (["--from", "产品.csv"], "产品.csv: its name makes no name for a data set; choose one with data=my_log"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path, arguments, message):
    clicks(tmp_path / "clicks.csv")
    with pytest.raises(ConfigError, match=message):
        first_config(*arguments)
    assert not (tmp_path / "conf").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "--from = none.csv: no such file"),
        ("empty.csv", b"", "empty.csv = 0 bytes: the file is empty"),
        ("blank.csv", b"\n \n\n", "blank.csv = 0 rows: the file is blank"),
        ("header.csv", b"user,item,time\n", "header.csv = 0 rows: there is nothing to look at"),
        ("binary.csv", bytes(range(256)) * 40, "binary.csv: neither text nor Parquet"),
        ("packed.csv", b"PK\x03\x04" + b"x" * 90, "packed.csv: this is a zip archive; unpack it"),
        ("list.json", b'[{"user": 1}]', r"list.json, line 1: a JSON list; write one object per line"),
        ("broken.parquet", b"PAR1" + b"x" * 90, r"broken.parquet: cannot be read"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00" + b"x" * 90, r"cut.csv.gz: cannot be read"),
        ("twice.csv", b"user,user,item\n1,2,3\n", "header: user named twice"),
        ("prices.csv", b"price,weight\n1.5,2.5\n2.5,3.5\n", "prices.csv: no two columns could be a user and an item"),
    ],
)
def test_a_file_that_is_no_log_is_refused_and_nothing_is_written(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        first_config("--from", name)
    assert not (tmp_path / "conf").exists()


def test_a_config_that_is_there_is_not_overwritten(tmp_path):
    clicks(tmp_path / "clicks.csv")
    target = tmp_path / "conf" / "data" / "clicks.yaml"
    target.parent.mkdir(parents=True)
    target.write_text("mine")
    with pytest.raises(ConfigError, match=r"data = clicks: conf/data/clicks.yaml has this config already, and nothing is overwritten"):
        first_config("--from", "clicks.csv")
    assert target.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    clicks(tmp_path / "clicks.csv")
    (tmp_path / "conf").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"conf/data/clicks.yaml: cannot be written \(.*\); run the command in a folder of yours"):
        first_config("--from", "clicks.csv")


@pytest.mark.slow
def test_the_command_writes_a_config_that_the_next_command_takes(tmp_path):
    clicks(tmp_path / "clicks.csv")
    done = clickflow("prepare", "--from", "clicks.csv")
    assert (done.returncode, done.stderr) == (0, "")
    command = done.stdout.splitlines()[-1].removeprefix("next: clickflow ").split()
    assert clickflow(*command, CLICKFLOW_HOME=str(tmp_path / "home")).returncode == 0
    again = clickflow("prepare", "--from", "clicks.csv")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("ConfigError: data = clicks: ")


@pytest.mark.slow
def test_help_and_completion_know_the_option():
    assert "--from FILE" in clickflow("prepare", "--help", COLUMNS="100").stdout
    assert clickflow("prepare", "--from", "x.csv", "--help").stdout.startswith("prepare: make a prepared data set")
    after = clickflow("-sc", "query=bash", COMP_LINE="clickflow prepare --from cli")
    assert (after.returncode, after.stdout) == (0, "")  # the shell completes names of files
    misspelt = clickflow("train", "--from", "x.csv")
    assert "did you mean clickflow prepare --from FILE?" in misspelt.stderr
