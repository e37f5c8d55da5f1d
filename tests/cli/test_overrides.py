"""Arguments with characters that Hydra's grammar gives a meaning: they work, or the answer says what to write instead."""

import re
import shlex
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import clickflow.pipelines.predict
from clickflow.cli.launch import _jobs, launch
from clickflow.cli.next_command import next_command, store_overrides
from clickflow.cli.overrides import argument, parsed_overrides
from clickflow.errors import ConfigError
from clickflow.tracking.config import TrackingConfig

PATHS = st.text("ab1é/.-_=@#%,[]{}()'\" :;!&*?~", min_size=1, max_size=12)


def written(message):
    """The argument that a message tells to write, as a shell understands it."""
    [text] = re.findall(r"write (.+?)(?: if the comma belongs to one value)?$", message)
    [argument] = shlex.split(text)
    return argument


@settings(max_examples=300)
@given(PATHS)
@example("a=b.csv")
@example("a = b.csv")
@example("clicks, 2026.csv")
@example("it's [new].csv")
@example('say "so" #1.csv')
@example(" a")
@example(" ''")
@example(" 'a' ")
def test_a_path_is_read_as_typed_or_answered_with_a_form_that_is(path):
    try:
        _jobs([f"data.path={path}"], multirun=False)
        [parsed] = parsed_overrides([f"data.path={path}"])
        message = None
    except ConfigError as error:
        message = str(error)
        [parsed] = parsed_overrides([written(message)])
    is_quoted = message is None and path.lstrip().startswith(("'", '"'))
    is_text = message is not None or isinstance(parsed.value(), str)  # a number or a list is what its key's type decides about
    assert message is None or f"data.path={path}" in message or "data.path: several values" in message
    assert parsed.value() == path or is_quoted or not is_text


@given(PATHS)
def test_a_path_in_a_printed_command_is_read_back_as_itself(path):
    [parsed] = parsed_overrides([argument("home", path)])
    assert not parsed.is_sweep_override()
    assert parsed.value() == path


@pytest.fixture
def predicted(monkeypatch, capsys):
    """What ``predict`` is given for an argument, or what it answers."""

    def run(text):
        told = []
        monkeypatch.setattr(sys, "argv", ["clickflow"])
        monkeypatch.setattr(clickflow.pipelines.predict, "main", lambda config, console: told.append(config))
        try:
            launch("predict", ["model=models:/m-1", text, "output=scores.parquet"])
        except SystemExit:
            return capsys.readouterr().err.strip()
        return str(told[0].input)

    return run


@pytest.mark.parametrize("path", ["2026", "1e5", "[a]", "{a:b}", "true", "a=b", "a,b", "a#b", "it's", "a[1].csv", " a"])
def test_a_path_that_reads_as_something_else_is_answered_with_the_form_that_works(predicted, path):
    message = predicted(f"input={path}")
    assert message.startswith("ConfigError: ")
    assert predicted(written(message)) == path


@pytest.mark.parametrize("path", ["a@b", "a%b", "a b.csv", "/mnt/a.b/c-d_e.parquet"])
def test_a_path_with_other_characters_works_as_typed(predicted, path):
    assert predicted(f"input={path}") == path


@pytest.mark.parametrize("text", ["=3", "", "synthetic", "12:00:00"])
def test_an_argument_that_is_no_override_is_answered_with_how_one_looks(text):
    with pytest.raises(
        ConfigError, match=rf"^command line, {text}: (no key|not key=value); write key=value, as in model\.embedding_dim=32$"
    ):
        parsed_overrides([text])


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("--model din", "command line, --model din: no such option; write model=din"),
        ("--model=din", "command line, --model=din: no such option; write model=din"),
        ("-model din", "command line, -model din: no such option; write model=din"),
        ("seed=1 --dry-run", "command line, --dry-run: no such option; keys are written as dry_run=VALUE, and --help lists them"),
        ("--config-dri conf", "command line, --config-dri: no such option; did you mean --config-dir?"),
        ("--config-dir", "command line: argument --config-dir/-cd: expected one argument; --help shows what can be given"),
        ("-m --cfg job", "command line, --multirun --cfg: exclude each other; leave out all but one"),
        ("--resolve", "command line, --resolve: says how --cfg shows the config; add --cfg job"),
        ("model = din", "command line, model = din: not key=value; write model=din"),
        ("model= din", "command line, model= din: not key=value; write model=din"),
        ("seed= 3", "command line, seed= 3: not key=value; write seed=3"),
        ("model =din", "command line, model =din: not key=value; write model=din"),
        ("model din", "command line, model din: not key=value; write model=din"),
        ("model: din", "command line, model: din: not key=value; write model=din"),
        ("tracking.uri = http://host", "command line, tracking.uri = http://host: not key=value; write tracking.uri=http://host"),
        ("--cfg job model = din", "command line, model = din: not key=value; write model=din"),
        ("seed=1 model:din", "command line, model:din: not key=value; write model=din"),
    ],
)
def test_an_argument_in_another_form_is_answered_with_the_form_that_works(monkeypatch, capsys, arguments, answer):
    monkeypatch.setattr(sys, "argv", ["clickflow"])
    with pytest.raises(SystemExit, match=r"^2$"):
        launch("train", arguments.split())
    assert capsys.readouterr().err == f"ConfigError: {answer}\n"


def test_a_uri_alone_is_not_taken_for_a_key():
    with pytest.raises(ConfigError, match=r"^command line, models:/ctr@champion: .*; write key=value, as in"):
        parsed_overrides(["models:/ctr@champion"])


def test_the_next_command_names_a_store_that_is_not_the_default_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CLICKFLOW_HOME", str(tmp_path))
    assert store_overrides(tmp_path, TrackingConfig()) == []
    home, tracking = tmp_path / "other, home", TrackingConfig(uri="http://127.0.0.1:5000")
    assert store_overrides(home, tracking) == [f'home="{home}"', "tracking.uri=http://127.0.0.1:5000"]
    text = next_command("promote", home, tracking, name="ctr", run_id="1234")
    assert text == f"""[bold]clickflow promote name=ctr 'run_id="1234"' 'home="{home}"' tracking.uri=http://127.0.0.1:5000[/]"""


def test_the_next_command_is_read_back_with_the_values_it_was_given(tmp_path):
    command = next_command("promote", tmp_path, TrackingConfig(), name="1", rollback=True)
    _, _, *arguments = shlex.split(command.removeprefix("[bold]").removesuffix("[/]"))
    assert {override.key_or_group: override.value() for override in parsed_overrides(arguments)} == {
        "name": "1",
        "rollback": True,
        "home": str(tmp_path),
    }
