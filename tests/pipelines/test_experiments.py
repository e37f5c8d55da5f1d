"""The experiments: every one composes, and what it says of the papers is what stands in them."""

import pytest

from clickflow.cli.comparison_configs import model_configs
from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import CONF
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import CompareConfig

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def compose(*overrides: str) -> CompareConfig:
    return validate(CompareConfig, composed_config("compare", overrides))


@pytest.mark.slow
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


def test_the_command_line_sets_what_all_models_share():
    overrides = ["experiment=vanishing_gradient", "model.hidden_units=[8,8]", "trainer.max_epochs=3"]

    models = model_configs(compose(*overrides), overrides)

    assert {model.model.hidden_units for model in models.values()} == {(8, 8)}
    assert {model.trainer.max_epochs for model in models.values()} == {3}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=din", r"(?s)model=din: LR is what it is by model=lr; leave it out.*model=din: DIEN is what it is by model=dien"),
        ("model.activation=relu", r"model\.activation=relu: DIN with Dice is what it is by model\.activation=dice"),
        ("seed=7", r"seed=7: a comparison trains every model with each of compare\.seeds; set compare\.seeds=\["),
    ],
)
def test_a_label_is_never_put_on_another_model(override, message):
    with pytest.raises(ConfigError, match=message):
        model_configs(compose(override), [override])


def test_some_of_the_models_are_compared_by_their_labels():
    overrides = ["compare.only=[Base,DIN outer,DIEN]", "model.embedding_dim=8"]
    config = compose(*overrides)

    assert list(config.compare.chosen) == ["Base", "DIN outer", "DIEN"]
    assert {model.model.embedding_dim for model in model_configs(config, overrides).values()} == {8}


def test_a_label_that_does_not_exist_cannot_be_chosen():
    with pytest.raises(ConfigError, match=r"compare\.only = DEIN: no label of compare\.models; did you mean DIEN\?"):
        compose("compare.only=[Base,DEIN]")


def test_a_key_that_not_every_model_has_is_refused_with_the_remedy():
    with pytest.raises(
        ConfigError, match=r"(?s)compare\.models\.LR:.*model\.embedding_dim: unknown key.*compare\.only=\[…\] leaves the others"
    ):
        model_configs(compose("model.embedding_dim=8"), ["model.embedding_dim=8"])


def test_a_models_own_list_cannot_change_the_comparison():
    config = compose()
    models = {**config.compare.models, "Base": ("model=base", "seed=5")}
    config = config.model_copy(update={"compare": config.compare.model_copy(update={"models": models})})

    with pytest.raises(ConfigError, match=r"compare\.models\.Base = seed=5: is set once for the whole comparison"):
        model_configs(config, [])


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
