"""A search space from text to trials' configs, held against what Hydra makes of the same text."""

import math
import shlex
import sys

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

import clickflow.cli.composer
import clickflow.pipelines.sweep
from clickflow.cli.compose import composed_config
from clickflow.cli.composer import HydraComposer, as_overrides, fixed_overrides, prepared_sweep, train_command
from clickflow.cli.launch import launch
from clickflow.cli.overrides import override_text
from clickflow.cli.search_path import CONF
from clickflow.cli.search_space import read_space
from clickflow.cli.sweep_arguments import into_space, searched
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import RunConfig
from clickflow.sweep.space import Choice, Interval, Range

MODELS = {name: name for name in ("base", "deepfm", "dien", "din", "lr", "pnn", "wide_deep")} | {"models": "din", "default": "din"}


def read(text, key="model.embedding_dim"):
    return read_space({key: text}).parameters[key]


def grid_of_hydra(text, key="model.embedding_dim"):
    """What ``train.py -m`` would run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        jobs = [job for batch in BasicSweeper.split_arguments(parser.parse_overrides([f"{key}={text}"]), None) for job in batch]
        return [parser.parse_override(override).value() for (override,) in jobs]


# Grammar: what each form means.


def test_whole_numbers_stay_whole_and_real_ones_real():
    assert read("interval(1, 10)") == Interval(low=1, high=10)
    assert read("interval(1e-4, 0.1)") == Interval(low=1e-4, high=0.1)
    assert read("interval(1, 1e2)") == Interval(low=1.0, high=100.0)
    assert isinstance(read("interval(1, 10)").low, int)
    assert isinstance(read("interval(1, 1e2)").low, float)


def test_casts_change_what_numbers_are():
    assert read("int(interval(1.0, 10.9))") == Interval(low=1, high=10)
    assert isinstance(read("float(interval(1, 10))").low, float)
    assert read("tag(log, int(interval(8, 64)))") == Interval(low=8, high=64, log=True)
    assert read("float(choice(1, 2))") == Choice(values=(1.0, 2.0))
    assert read("str(choice(1, 2))") == Choice(values=("1", "2"))


def test_a_log_interval_is_a_tagged_one():
    assert read("tag(log, interval(1e-4, 1e-1))") == Interval(low=1e-4, high=1e-1, log=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8,16, 32", (8, 16, 32)),
        ("choice([80, 40], [40, 20])", ([80, 40], [40, 20])),
        ("choice(null, 1e-5, true, relu)", (None, 1e-5, True, "relu")),
        ("choice('16', \"a b\", ['1', 2])", ("16", "a b", ["1", 2])),
        ("shuffle(choice(1, 2))", (1, 2)),
        ("sort(3, 1, 2)", (1, 2, 3)),
        ("choice({a: '1'}, {})", ({"a": "1"}, {})),
        ("choice(7)", (7,)),
    ],
)
def test_choices_keep_their_types(text, values):
    choice = read(text)
    assert choice.values == values
    assert [type(value) for value in choice.values] == [type(value) for value in values]
    assert [choice.value(option) for option in choice.distribution().choices] == list(values)


@pytest.mark.parametrize("text", ["choice(8, 16)", "8,16", "range(1, 4)", "range(3)", "sort(range(9, 1, -2))", "choice([1,2],[3])"])
def test_the_values_are_those_of_hydras_own_grid(text):
    assert read(text).grid() == grid_of_hydra(text)


def test_the_choices_of_a_glob_are_those_of_hydra():
    for text in ("glob(*)", "glob(d*)", "glob(*, exclude=[lr, p*])", "glob([base, w*])"):
        assert list(read(text, "model").values) == grid_of_hydra(text, "model")


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9))
def test_a_range_of_whole_numbers_holds_those_of_hydras_grid_and_is_refused_where_that_has_less_than_two(start, stop, step):
    text = f"range({start}, {stop}, {step})"
    expected = sorted(range(start, stop, step)) if step else []
    if len(expected) < 2:
        with pytest.raises(ConfigError, match=r"holds (no value|only)|a step of 0"):
            read(text)
    else:
        assert read(text) == Range(low=expected[0], high=expected[-1], step=abs(step))
        assert read(text).grid() == expected


@given(st.integers(-30, 30), st.integers(-30, 30), st.integers(1, 9), st.sampled_from([0.1, 0.25, 1e-4, 3.0]), st.booleans())
def test_a_range_of_real_numbers_holds_those_of_hydras_grid(start, stop, step, unit, descending):
    start, stop, step = (round(number * unit, 6) for number in (start, stop, -step if descending else step))
    text = f"range({start}, {stop}, {step})"
    expected = sorted(OverridesParser.create().parse_override(f"key={text}").sweep_iterator())
    if len(expected) < 2:
        with pytest.raises(ConfigError, match=r"holds (no value|only)"):
            read(text)
    else:
        parameter = read(text)
        assert parameter.grid() == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert (parameter.low, parameter.high) == pytest.approx((expected[0], expected[-1]), rel=1e-12, abs=1e-15)
        assert parameter.distribution().high == parameter.high  # Optuna lowers an end that is no whole number of steps away, and warns


def test_a_range_of_tenths_ends_at_the_decimal_the_user_means():
    assert read("range(0.0, 0.35, 0.1)").high == 0.3


# Grammar: what is refused.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(5, 5)", r"= interval\(5, 5\): the low end must be less than the high end; widen it"),
        ("interval(5, 1)", r"= interval\(5, 1\): the low end must be less .*; swap them: interval\(1, 5\)"),
        ("interval(0, inf)", r"inf is no finite number; give numbers"),
        ("interval(true, 3)", r"True is no finite number"),
        ("interval(1)", r"TypeError while evaluating 'interval\(1\)': missing a required argument: 'end'; allowed are choice\(a, b\)"),
        ("range(4, 4)", r"holds no value, for the stop is excluded"),
        ("range(4, 1)", r"holds no value, for the stop is excluded"),
        ("range(0, 1)", r"holds only 0, for the stop is excluded; it must lie beyond start \+ step"),
        ("range(0, 5, 0)", r"a step of 0 does not move"),
        ("range(0.0, 1.0, 1e-9)", r"more than 100,000 values; use a larger step, or interval\(0\.0, 1\.0\)"),
        ("tag(log, interval(0, 1))", r"a log range that includes 0; its low end must be greater than 0; raise it"),
        ("tag(log, interval(-1.0, 1))", r"a log range that includes negative numbers"),
        ("tag(log, range(1, 9))", r"tag\(log, …\) is for an interval, .*; write tag\(log, interval\(low, high\)\) or leave tag out"),
        ("tag(log, choice(1, 9))", r"tag\(log, …\) is for an interval"),
        ("tag(lgo, interval(1, 9))", r"tag lgo has no meaning; the only tag is log"),
        ("0.5", r"= 0\.5: one value is no search; .* or set it as model\.embedding_dim=0\.5 outside the space"),
        (
            "[8, 16]",
            r"one value, a list, is no search; write choice\(8, 16\) or set it as model\.embedding_dim=\[8, 16\] outside the space",
        ),
        ("{a: 1}", r"a section is no search; write its keys with dots, as in 'model\.dropout: interval\(0\.0, 0\.5\)'"),
        ("choice(8, 16, 8)", r"8 given twice; all values are equally likely; give each once"),
        ("choice([8], [8])", r"\[8\] given twice"),
        ("choice()", r"empty choice is not legal"),
        ("choise(8, 16)", r"Unknown function 'choise'; allowed are"),
        ("choice(8, 16", r"= choice\(8, 16: .*; allowed are choice\(a, b\), range"),
        ("choice(8) or 16", r"sweep\.space\.model\.embedding_dim = choice\(8\) or 16: .*; mend the text"),
        ("glob(*)", r"glob\(…\) chooses among the configs of a group, and this key is no group; write choice"),
    ],
)
def test_text_that_cannot_be_searched_is_refused_with_the_remedy(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("choice(din, dni)", r"sweep\.space\.model = choice\(din, dni\): dni: no such config; did you mean din\?"),
        ("interval(1, 3)", r"is a config group, which has names; write choice\(…\) of base, deepfm, dien"),
        ("glob(x*)", r"no config has such a name; allowed: base, deepfm, dien"),
        ("din", r"one value is no search; .* set it as model=din outside the space"),
    ],
)
def test_what_is_no_choice_of_configs_of_a_group_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text, "model")


@pytest.mark.parametrize(
    "key", ["data", "data.num_users", "protocol", "protocol.split", "home", "tracking.uri", "sweep.num_trials", "hydra/launcher"]
)
def test_what_all_trials_share_cannot_be_searched(key):
    with pytest.raises(ConfigError, match=r"all trials share data, protocol, home, tracking, sweep and hydra, .* set it once"):
        read("choice(a, b)", key)


def test_all_faults_of_a_space_are_told_at_once():
    space = {"seed": "range(5, 1)", "model": "din", "model.dropout": "interval(0.0, 0.5)", "home": "a,b"}
    with pytest.raises(
        ConfigError, match=r"(?s)^3 problems in the search space:\n  sweep\.space\.seed = .*space\.model = .*space\.home = "
    ):
        read_space(space)


def test_an_empty_space_is_refused():
    with pytest.raises(ConfigError, match=r"sweep\.space = \{\}: nothing to search"):
        read_space({})


def test_groups_of_a_users_own_folder_are_groups(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: base\n")
    space = read_space({"model": "choice(base, mine)"}, str(tmp_path))
    assert space.groups == {"model"}
    assert read_space({"model": "glob(*)"}, str(tmp_path)).parameters["model"].values.count("mine") == 1


# The command line.


def test_overrides_are_split_into_fixed_ones_and_the_space():
    overrides = ["model=base,din", "++seed=1", "optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))", "sweep.num_trials=5"]
    named = ["+sweep.space.model.dropout=choice(null, 0.5)", "sweep.space={trainer.max_epochs: 'range(1, 3)'}"]
    assert searched([*overrides, *named]) == (
        ["++seed=1", "sweep.num_trials=5"],
        {
            "model": "base,din",
            "optimizer.learning_rate": "tag(log, interval(1e-4, 1e-1))",
            "model.dropout": "choice(null, 0.5)",
            "trainer.max_epochs": "range(1, 3)",
        },
    )


def test_a_key_both_set_and_searched_on_the_command_line_is_refused():
    with pytest.raises(ConfigError, match=r"seed: is both set and searched \(seed=0,1\); leave one of the two out"):
        searched(["seed=1", "seed=0,1"])


def test_a_word_that_is_no_override_is_refused():
    with pytest.raises(ConfigError, match=r"command line, .*; write key=value"):
        searched(["synthetic"])


@pytest.mark.parametrize("option", ["-m", "--multirun"])
def test_multirun_is_refused_with_the_remedy(option):
    with pytest.raises(ConfigError, match=r"-m: a sweep makes its own trials; leave -m out, or run a plain grid with clickflow train -m"):
        into_space(["seed=0,1", option])


def test_a_command_line_without_a_search_stays_as_it_is():
    assert into_space(["--cfg", "job", "model=din", "++seed=1"]) == ["--cfg", "job", "model=din", "++seed=1"]


def test_searches_of_the_command_line_add_to_the_space_and_replace_its_entries():
    arguments = into_space(["sweep=base", "model=base", "model.embedding_dim=4,8", "optimizer.beta1=interval(0.8, 0.9)", "seed='a b','c'"])
    space = composed_config("sweep", arguments)["sweep"]["space"]
    assert space == composed_config("sweep", ["sweep=base"])["sweep"]["space"] | {
        "model.embedding_dim": "4,8",
        "optimizer.beta1": "interval(0.8, 0.9)",
        "seed": "'a b','c'",
    }


def test_a_value_on_the_command_line_takes_its_key_out_of_the_space():
    prepared = prepared_sweep(["sweep=base", "model=base", "model.dropout=0.1"])
    assert "model.dropout" not in prepared.config.sweep.space
    assert "model.dropout" not in prepared.space.parameters
    assert prepared.config.model.dropout == prepared.composer.compose({}).model.dropout == 0.1


def test_a_model_on_the_command_line_takes_the_other_models_keys_out_of_the_space():
    assert set(prepared_sweep(["sweep=models", "model=base"]).space.parameters) == {
        "optimizer.learning_rate",
        "model.embedding_dim",
        "model.dropout",
    }


def test_a_space_that_the_command_line_sets_wholly_is_empty():
    with pytest.raises(ConfigError, match=r"sweep\.space = \{\}: nothing to search"):
        prepared_sweep(["sweep=default", "++sweep.space={seed:'0,1'}", "seed=3"])


@pytest.mark.parametrize(("value", "shown"), [("0.5", r"0\.5"), ("[8, 16]", r"\[8,16\]"), ("null", "null")])
def test_yaml_that_is_no_text_is_told_what_a_search_is(value, shown):
    with pytest.raises(ConfigError, match=rf"^1 problem in the search space:\n  sweep\.space\.model\.dropout = {shown}: one value"):
        prepared_sweep([f"++sweep.space={{model.dropout: {value}}}"])


def test_faults_of_config_and_space_are_told_at_once():
    with pytest.raises(
        ConfigError, match=r"(?s)trainer\.batch_sze: unknown key; did you mean batch_size.*sweep\.space\.seed = range\(1, 1\)"
    ):
        prepared_sweep(into_space(["seed=range(1, 1)", "trainer.batch_sze=3"]))


def test_a_grid_of_an_interval_is_refused_before_the_first_trial():
    with pytest.raises(ConfigError, match=r"sweep\.space\.model\.dropout = interval\(0\.0, 0\.5\): has no grid"):
        prepared_sweep(["sweep.sampler=grid"])


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """``sweep.py`` with a pipeline that trains nothing: (exit code, output, errors, the pipeline's configs)."""

    def run_pipeline(*arguments):
        told = []

        def main(prepared, console):
            told.append(prepared.config)

        monkeypatch.setattr(clickflow.pipelines.sweep, "main", main)
        monkeypatch.setattr(sys, "argv", ["sweep.py"])
        code = 0
        try:
            launch("sweep", arguments)
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err, told

    return run_pipeline


def test_searches_are_taken_without_m(run):
    code, _, err, told = run("model=base,din", "model.dropout=interval(0.0, 0.2)", "sweep=base", "++sweep.num_trials=3", "seed=4")
    assert (code, err) == (0, "")
    assert told[0].sweep.space["model"] == "base,din"
    assert told[0].sweep.space["model.dropout"] == "interval(0.0, 0.2)"
    assert (told[0].sweep.num_trials, told[0].seed) == (3, 4)


def test_faults_end_with_exit_code_2_before_anything_runs(run):
    for arguments in (["seed=0,1", "-m"], ["model.dropout=interval(0, 2.0)"], ["optimizer.learning_rate=interval(1, 0)"]):
        code, _, err, told = run(*arguments)
        assert (code, told) == (2, [])
        assert err.startswith("ConfigError: ")


@pytest.mark.parametrize(("option", "shown"), [("--cfg=job", "seed: 0,1"), ("--help", "choices: base, deepfm, default")])
def test_information_is_shown_with_the_searches_of_the_command_line(run, option, shown):
    code, out, _, told = run(option, "seed=0,1")
    assert (code, told) == (0, [])
    assert shown in out


# Composing trials.


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model": "dien", "optimizer": "sgd", "model.auxiliary_weight": 0.25},
        {"optimizer.learning_rate": 1e-05, "model.hidden_units": [8, 4], "trainer.gradient_clip_norm": None, "trainer.progress_bar": False},
        {"regularisation": "l2", "optimizer.embedding_update": "dense", "data.name": "12"},
    ],
)
def test_a_trials_config_is_what_the_command_line_would_make_of_its_values(values):
    shared = ["seed=3", "trainer.max_epochs=2"]
    on_the_command_line = validate(RunConfig, composed_config("train", [*shared, *as_overrides(values)]))
    assert HydraComposer(shared).compose(values) == on_the_command_line


def test_references_follow_a_trials_values():
    composer = HydraComposer([])
    assert composer.compose({"data.name": "mine"}).tracking.experiment_name == "mine"
    assert composer.compose({}).tracking.experiment_name == "synthetic"


def test_hydra_composes_once_for_each_choice_of_groups(monkeypatch):
    composed = []
    compose = clickflow.cli.composer.compose
    monkeypatch.setattr(clickflow.cli.composer, "compose", lambda *given: composed.append(given) or compose(*given))
    composer = HydraComposer([])
    for dropout in (0.1, 0.2):
        for model in ("base", "din"):
            assert composer.compose({"model": model, "model.dropout": dropout}).model.dropout == dropout
            assert "model.dropout" in composer.keys({"model": model})
    assert len(composed) == 2


def test_keys_are_those_of_the_config_with_its_groups_and_hold_sections():
    composer = HydraComposer(["sweep=models"])
    assert {"model", "model.evolution", "seed"} <= composer.keys({"model": "dien"})
    assert "model.evolution" not in composer.keys({"model": "base"})
    assert not any(key.startswith("sweep") for key in composer.keys({}))


def test_a_trial_that_cannot_run_names_its_values():
    composer = HydraComposer([])
    with pytest.raises(
        ConfigError, match=r"in the config with model=dien, model\.dropout=2\.0:\n  model\.dropout = 2\.0: must be less than 1"
    ):
        composer.compose({"model": "dien", "model.dropout": 2.0})
    with pytest.raises(ConfigError, match=r"model = dni: no such config; did you mean din\?"):
        composer.compose({"model": "dni"})
    with pytest.raises(ConfigError, match=r"seed\.x=1"):
        composer.compose({"seed.x": 1})


def test_a_reference_to_nowhere_is_an_error_of_the_config():
    with pytest.raises(ConfigError, match=r"Interpolation key 'nowhere' not found"):
        HydraComposer(["seed=${nowhere}"]).compose({})


# Values as overrides.

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda values: st.lists(values, max_size=4), max_leaves=6)


@settings(max_examples=40)
@given(VALUES)
def test_a_value_as_an_override_is_read_back_as_itself(value):
    (text,) = shlex.split(shlex.quote(override_text("model.key", value)))
    read_back = OverridesParser.create().parse_override(text)
    assert not read_back.is_sweep_override()
    assert read_back.value() == value
    assert repr(read_back.value()) == repr(value)  # 1 is neither true nor 1.0


def test_values_survive_composing():
    values = ["16", "null", "True", "1e-05", "a,b", "a b=c", "it's", 'say "so"', "back\\", "", 1e-05, 10**20, [1, "1", [None]], {"a": "1"}]
    composed = composed_config("train", as_overrides({f"probe.v{position}": value for position, value in enumerate(values)}))
    assert [composed["probe"][f"v{position}"] for position in range(len(values))] == values


def test_what_a_trial_shares_is_all_but_the_sweep_and_what_is_searched():
    overrides = ["sweep=din", "++sweep.num_trials=3", "++seed=1", "+trainer.x=2", "model=base,din", "++hydra.verbose=true", "data=log"]
    assert fixed_overrides(overrides) == ["seed=1", "+trainer.x=2", "++hydra.verbose=true", "data=log"]


def test_the_command_that_trains_a_trial_again_composes_its_config():
    composer = HydraComposer(["++trainer.max_epochs=2", "++data.name='12'", "sweep=models"])
    values = {"model": "dien", "model.hidden_units": [8, 4], "optimizer.learning_rate": 1e-05}
    program, name, *overrides = shlex.split(train_command(composer, values))
    assert (program, name) == ("clickflow", "train")
    assert validate(RunConfig, composed_config("train", overrides)) == composer.compose(values)
    assert train_command(HydraComposer([], "my conf"), {}) == "clickflow train --config-dir 'my conf'"


# The spaces of the repository.


def test_every_search_space_of_the_repository_is_tested_here():
    assert set(MODELS) == {path.stem for path in (CONF / "sweep").glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"default"}))
def test_every_search_space_of_the_repository_can_be_run_from_end_to_end(name):
    prepared = prepared_sweep([f"sweep={name}", f"model={MODELS[name]}"] if name != "models" else ["sweep=models"])
    assert set(prepared.space.parameters) == set(prepared.config.sweep.space)
    assert math.prod(len(prepared.space.parameters[group].ends()) for group in prepared.space.groups) == len(prepared.space.combinations)


# Models that are searched.


def test_searching_the_model_takes_the_space_over_models_and_leaves_out_what_none_of_the_chosen_has():
    prepared = prepared_sweep(into_space(["model=choice(base,din)"]))
    assert prepared.config.sweep.study_name == "synthetic-models"
    assert "model.attention_input" in prepared.space.parameters
    assert "model.evolution" not in prepared.space.parameters
    assert set(prepared.config.sweep.space) == set(prepared.space.parameters)


def test_what_the_command_line_itself_searches_is_not_left_out():
    with pytest.raises(ConfigError, match=r"model\.evolution: unknown key with every model of the space"):
        prepared_sweep(into_space(["model=choice(base,din)", "model.evolution=choice(augru,agru)"]))
