"""The experiments: every one composes, and what it says of the papers is what stands in them."""

import pytest

from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import CompareConfig
from pipelines.compare import model_configs
from pipelines.launch import CONF, composed_config

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def compose(*overrides: str) -> CompareConfig:
    return validate(CompareConfig, composed_config("compare", overrides))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_so_does_each_of_its_models(name):
    config = compose(f"experiment={name}")

    models = model_configs(config, [f"experiment={name}"])

    assert list(models) == list(config.compare.models)
    assert config.compare.base in models


def test_without_an_experiment_all_models_of_the_papers_are_compared_on_any_data_set():
    config = compose("data=movielens_1m")

    names = {model.model.name for model in model_configs(config, ["data=movielens_1m"]).values()}

    assert names == {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert config.data.name == "movielens_1m"
    assert config.protocol.name == "rating"


@pytest.mark.parametrize(
    ("name", "data", "protocol"),
    [
        ("din_paper_electronics", "amazon_electronics", "next_item"),
        ("din_paper_movielens", "movielens_20m", "rating"),
        ("dien_paper_electronics", "amazon_electronics", "next_item"),
        ("dien_paper_books", "amazon_books", "next_item"),
    ],
)
def test_a_papers_experiment_brings_its_data_and_what_was_published(name, data, protocol):
    config = compose(f"experiment={name}")

    assert (config.data.name, config.protocol.name) == (data, protocol)
    assert config.compare.published


def test_the_din_paper_trains_with_sgd_from_1_and_batches_of_32():
    models = model_configs(compose("experiment=din_paper_electronics"), ["experiment=din_paper_electronics"])

    for config in models.values():
        assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 1.0)
        assert (config.schedule.name, config.trainer.batch_size) == ("exponential", 32)
    assert models["DIN with Dice"].model.activation == "dice"


def test_the_command_line_wins_over_a_models_own_overrides():
    overrides = ["experiment=vanishing_gradient", "model.activation=tanh"]

    models = model_configs(compose(*overrides), overrides)

    assert {model.model.activation for model in models.values()} == {"tanh"}


def test_a_model_is_left_out_by_a_tilde():
    config = compose("~compare.models.PNN")

    assert "PNN" not in config.compare.models
    assert "DIEN" in config.compare.models


def test_labels_and_seeds_that_make_no_comparison_are_refused():
    message = (
        r"(?s)2 problems.*compare\.base = Bse: no label of compare\.models; did you mean Base\?.*"
        r"compare\.seeds = \[1, 1\]: a seed given twice is the same run twice"
    )
    with pytest.raises(ConfigError, match=message):
        compose("compare.base=Bse", "compare.seeds=[1,1]")


def test_published_figures_of_a_model_that_is_not_compared_are_refused():
    with pytest.raises(ConfigError, match=r"compare\.published\.DNI = DNI: no label of compare\.models"):
        compose("+compare.published.DNI.auc=0.9")


@pytest.mark.parametrize(("override", "key"), [("model.activation=dice", "model.activation=dice"), ("model.batch_norm=true", "batch_norm")])
def test_what_needs_the_variance_of_a_batch_needs_more_than_one_row(override, key):
    with pytest.raises(
        ConfigError, match=rf"trainer\.batch_size = 1: one row has no variance, which .*{key}.*set trainer\.batch_size >= 2"
    ):
        validate(CompareConfig, composed_config("compare", ["trainer.batch_size=1", "model=base", "model.activation=relu", override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.maxout_pieces=0", r"model\.maxout_pieces = 0: must be greater than 0"),
        ("model.attention_hidden_units=[80,0]", r"model\.attention_hidden_units\.1 = 0: must be greater than 0"),
        ("model.attention_hidden_units=[]", r"model\.attention_hidden_units = \[\]: must have at least 1 item"),
        ("model.activation=rellu", r"model\.activation = 'rellu': must be 'relu', 'leaky_relu'"),
    ],
)
def test_a_model_that_cannot_be_is_refused_by_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        compose("model=din", override)
