"""Launch of a command: what the command line gets wrong, and how it is told."""

import re
import sys

import pytest

from clickflow.cli.commands import COMMANDS
from clickflow.cli.compose import composed_config
from clickflow.cli.launch import launch
from clickflow.cli.search_path import CONF, REPOSITORY
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import EvaluateConfig, RunConfig

CLASSES = {name: command.config_class for name, command in COMMANDS.items()}
REQUIRED = {
    "evaluate": ["run_id=abc"],
    "reproduce": ["run_id=abc"],
    "promote": ["name=ctr"],
    "predict": ["model=models:/ctr@champion", "input=rows.parquet", "output=scores.parquet"],
}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def compose(*overrides: str) -> RunConfig:
    return validate(RunConfig, composed_config("train", overrides))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a pipeline's command line in this process: (exit code, standard output, standard error)."""

    def run_pipeline(pipeline: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{pipeline}.py"])
        code: object = 0
        try:
            launch(pipeline, [f"home={tmp_path / 'home'}", *arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return run_pipeline


@pytest.mark.parametrize("pipeline", sorted(CLASSES))
def test_every_pipeline_composes_and_validates(pipeline):
    values = composed_config(pipeline, REQUIRED.get(pipeline, []))
    assert isinstance(validate(CLASSES[pipeline], values), CLASSES[pipeline])


def test_every_pipeline_with_a_config_has_a_script_and_a_test_here():
    configs = {path.stem for path in CONF.glob("*.yaml")} - {"launch"}
    assert configs == set(CLASSES)
    assert all((REPOSITORY / "pipelines" / f"{name}.py").exists() for name in configs)


@pytest.mark.parametrize(
    "override", [f"{group}={name}" for group in ("data", "model", "optimizer", "trainer", "tracking") for name in choices(group)]
)
def test_every_yaml_of_every_group_composes_and_validates(override):
    group, name = override.split("=")
    config = compose(override)
    if group in ("model", "optimizer"):
        assert getattr(config, group).name == name
    if group == "data":
        assert config.data.name == name
        assert config.tracking.experiment_name == name


@pytest.mark.parametrize("name", choices("model"))
def test_a_models_yaml_holds_exactly_the_defaults_of_its_config_class(name):
    model = compose(f"model={name}").model
    assert model == type(model)()


@pytest.mark.parametrize("group", ["trainer", "optimizer", "protocol"])
def test_the_yaml_defaults_are_those_of_the_config_classes(group):
    config = compose("model=base", "protocol=next_item")
    assert getattr(config, group) == type(getattr(config, group))()


@pytest.mark.parametrize(
    ("data", "protocol"),
    [("movielens_1m", "rating"), ("amazon_electronics", "next_item"), ("synthetic", "impressions"), ("log", "impressions")],
)
def test_a_data_set_brings_its_natural_protocol(data, protocol):
    assert compose(f"data={data}").protocol.name == protocol


def test_a_protocol_on_the_command_line_wins_over_that_of_the_data_set():
    assert compose("data=movielens_1m", "protocol=next_item").protocol.name == "next_item"


@pytest.mark.parametrize("argument", ["model=models:/ctr@champion", "model='models:/ctr@champion'", "model.uri=models:/ctr@champion"])
def test_a_models_uri_is_no_choice_of_the_group_model(argument):
    assert composed_config("evaluate", [argument])["model"] == {"uri": "models:/ctr@champion"}
    assert validate(EvaluateConfig, composed_config("evaluate", [argument])).model == "models:/ctr@champion"
    assert compose("model=base").model.name == "base"


@pytest.mark.parametrize("run_id", ["12345678", "1234e567", "0123abcd"])
def test_the_id_of_a_run_is_a_text_even_if_it_reads_as_a_number(run_id):
    assert validate(EvaluateConfig, composed_config("evaluate", [f"run_id={run_id}"])).run_id == run_id


def test_a_uri_of_something_else_is_named():
    with pytest.raises(ConfigError, match=r"model = 'runs:/abc/model': must be a model's URI: models:/NAME@ALIAS, models:"):
        validate(EvaluateConfig, composed_config("evaluate", ["model=runs:/abc/model"]))


@pytest.mark.parametrize(
    ("name", "offered"), [("My shop!", "; as in my_shop"), ("a/b", "; as in a_b"), ("Café", "; as in cafe"), ("商店", "")]
)
def test_a_name_with_other_characters_is_answered_in_words_and_with_one_that_is_allowed(name, offered):
    with pytest.raises(ConfigError, match=rf"data\.name = '{name}': must be lower-case letters, digits, _ and -{offered}\n"):
        compose(f"data.name='{name}'", "sed=1")
    if offered:
        assert compose(f"data.name={offered.removeprefix('; as in ')}").data.name == offered.removeprefix("; as in ")


@pytest.mark.parametrize(("command", "argument"), [("train", "experiment=din_table"), ("prepare", "model=din")])
def test_a_config_group_that_a_command_does_not_have_is_named(command, argument):
    group = argument.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{group}: {command} has no such config group; --help lists those it has$"):
        composed_config(command, [argument])


def test_an_unknown_key_at_any_depth_is_named_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*model\.embeding_dim: unknown key; did you mean embedding_dim\?.*sed: .*seed\?"):
        compose("model.embeding_dim=8", "sed=1")


@pytest.mark.parametrize(
    ("command", "key", "hint"),
    [
        ("train", "batch_size=3", "did you mean trainer.batch_size?"),
        ("train", "learning_rate=0.1", "did you mean optimizer.learning_rate?"),
        ("compare", "seeds=[0]", "did you mean compare.seeds?"),
        ("train", "name=x", "allowed: data, home, model, "),  # of every section
    ],
)
def test_a_key_without_its_section_is_answered_with_the_whole_key(command, key, hint):
    with pytest.raises(ConfigError, match=rf"\n  {key.partition('=')[0]}: unknown key; {re.escape(hint)}"):
        validate(CLASSES[command], composed_config(command, [key]))


def test_a_key_smuggled_in_with_a_plus_is_refused_too():
    with pytest.raises(ConfigError, match=r"model\.depth: unknown key; allowed: .*hidden_units"):
        compose("+model.depth=3")


def test_an_unknown_choice_of_a_group_is_named_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"model = dni: no such config; did you mean din\?"):
        compose("model=dni")


def test_impressions_without_a_label_column_is_a_contradiction():
    with pytest.raises(ConfigError, match=r"protocol\.name = impressions: needs labels, but data\.columns\.label is not set"):
        compose("data=log", "data.columns.label=null")


def test_ratings_of_a_log_without_a_rating_column_is_a_contradiction():
    with pytest.raises(ConfigError, match=r"protocol\.name = rating: needs ratings, but data\.columns\.rating is not set"):
        compose("data=log", "protocol=rating")


@pytest.mark.parametrize(("data", "protocol"), [("movielens_1m", "impressions"), ("synthetic", "rating"), ("amazon_books", "rating")])
def test_a_protocol_that_a_source_cannot_serve_is_a_contradiction(data, protocol):
    with pytest.raises(
        ConfigError, match=rf"protocol\.name = {protocol}: needs .*, which data source .* does not have; set protocol=next_item"
    ):
        compose(f"data={data}", f"protocol={protocol}")


@pytest.mark.parametrize("metric", ["val/list_gauc", "val/mrr", "val/ndcg_5", "val/ndcg_10"])
def test_a_metric_within_lists_needs_a_log_that_names_lists(metric):
    with_lists = ["data=log", "data.columns.group=request_id"]
    assert compose(*with_lists, f"trainer.monitor={metric}").trainer.mode == "max"
    with pytest.raises(ConfigError, match=rf"trainer\.monitor = {metric}: is measured within lists, but data\.columns\.group is not set"):
        compose("data=log", f"trainer.monitor={metric}")
    message = rf"= {metric}: is measured within lists, which data source synthetic does not have; take val/gauc"
    with pytest.raises(ConfigError, match=rf"1 problem .*\n  trainer\.monitor {message}"):
        compose(f"trainer.monitor={metric}")
    space = "sweep.space={optimizer.learning_rate: 'interval(0.1, 0.2)'}"
    swept = composed_config("sweep", [*with_lists, "sweep.study_name=s", space, f"sweep.metric={metric}"])
    assert validate(CLASSES["sweep"], swept).sweep.directions == ("maximize",)
    swept = composed_config("sweep", ["sweep.study_name=s", space, f"sweep.metric={metric}"])
    with pytest.raises(ConfigError, match=rf"1 problem .*\n  sweep\.metric {message}"):
        validate(CLASSES["sweep"], swept)


def test_lists_of_rows_that_are_drawn_are_a_contradiction():
    with pytest.raises(
        ConfigError, match=r"data\.columns\.group = page: names lists that were shown, but protocol\.name = next_item draws"
    ):
        compose("data=log", "data.columns.group=page", "protocol=next_item")


@pytest.mark.parametrize("protocol", [["protocol=impressions"], ["protocol=rating", "protocol.split=time"]])
def test_a_split_by_time_of_a_log_without_a_clock_is_a_contradiction(protocol):
    columns = ["data.columns.label=null", "data.columns.rating=stars"] if len(protocol) == 2 else []
    with pytest.raises(ConfigError, match=r"protocol\.name = \w+: splits by time, but data\.timestamp_unit is order"):
        compose("data=log", "data.timestamp_unit=order", *protocol, *columns)


def test_faults_of_the_command_line_end_with_exit_code_2_and_nothing_written(run, tmp_path):
    code, _, err = run("train", "model.embeding_dim=8", "trainer.batch_size=0", "optimizer.learning_rate=fast")
    assert code == 2
    assert "ConfigError: 3 problems in the composed config" in err
    assert "Traceback" not in err
    assert not (tmp_path / "home").exists()


def test_a_grid_with_one_bad_job_does_not_start(run, tmp_path):
    code, _, err = run("train", "-m", "trainer.batch_size=64,-1", "data.num_users=10")
    assert code == 2
    assert "trainer.batch_size = -1: must be greater than 0" in err
    assert not (tmp_path / "home").exists()


def test_several_values_without_m_are_refused_with_the_remedy(run):
    code, _, err = run("train", "model=base,din")
    assert code == 2
    assert "model: several values make a grid; add -m to run it" in err


def test_a_required_key_that_is_missing_is_named(run):
    code, _, err = run("reproduce")
    assert code == 2
    assert "run_id: required, but not given" in err


def test_a_word_that_is_no_override_is_refused(run):
    code, _, err = run("prepare", "synthetic")
    assert code == 2
    assert "ConfigError: command line" in err


@pytest.mark.parametrize("pipeline", ["train", "evaluate"])
def test_help_shows_groups_and_keys(run, pipeline):
    code, out, _ = run(pipeline, "--help")
    assert code == 0
    assert f"{pipeline}:" in out
    assert "tracking=local" in out
    assert "choices: local, server" in out


def test_a_missing_file_ends_with_exit_code_2_and_one_message(run):
    code, _, err = run("prepare", "data=log", "data.path=clicks.csv")
    assert code == 2
    assert "DataError: data.path = clicks.csv: no such file" in err
    assert "Traceback" not in err


def test_a_yaml_in_a_folder_of_the_users_is_found(run, tmp_path):
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "tiny.yaml").write_text("name: tiny\nsource: synthetic\nnum_users: 300\nnum_impressions: 3000\n")
    code, out, err = run("prepare", "--config-dir", str(tmp_path / "conf"), "data=tiny")
    assert code == 0, err
    assert "tiny, protocol impressions" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: a\n\tpath: b\n", r"data/b\.yaml, line 2, column 1: not YAML \(.*\); indent with spaces"),
        (b"columns: {user: u item: i}\n", r"data/b\.yaml, line 1, column 2\d: not YAML"),
        (b"path: [a.csv\n", r"data/b\.yaml, line 2, column 1: not YAML"),
        (b"name: a\nname: b\n", r"data/b\.yaml, line 2, column 1: not YAML \(found duplicate key name\)"),
        (b"name: a\npath: \xff\n", r"^\S*/data/b\.yaml, line 2: not UTF-8 \(byte 0xff\); save it as UTF-8$"),
        (b"", r"^\S*/data/b\.yaml: is empty; write its keys, as in name: my_clicks, or choose another config$"),
        (b"# name: a\n", r"^\S*/data/b\.yaml: is empty; write its keys"),
        (b"name, path\n", r"^\S*/data/b\.yaml = 'name, path': must be keys with values, as in name: my_clicks$"),
        (b"- name: a\n", r"^\S*/data/b\.yaml = .*: must be keys with values"),
    ],
    ids=["a tab", "a missing comma", "an open bracket", "a key twice", "not UTF-8", "empty", "only a comment", "no key", "a list"],
)
def test_yaml_that_cannot_be_used_is_named_with_its_file(tmp_path, text, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        composed_config("prepare", ["data=b"], str(tmp_path))


def test_a_file_that_another_one_reads_is_named_if_it_is_not_utf8(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.yaml").write_text("defaults: [a]\nname: b\n")
    (tmp_path / "data" / "a.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigError, match=r"^\S*/data/a\.yaml, line 1: not UTF-8 \(byte 0xe9\)"):
        composed_config("prepare", ["data=b"], str(tmp_path))
