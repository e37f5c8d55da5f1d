"""Configs are found in ``--config-dir``, then in ``./conf``, then in clickflow's own folder."""

import re

import pytest

from clickflow.cli.compose import composed_config, group_options
from clickflow.cli.composer import prepared_sweep
from clickflow.cli.search_path import CONF, REPOSITORY, config_folders
from clickflow.errors import ConfigError


def write_model(folder, embedding_dim):
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "base.yaml").write_text(f"name: base\nembedding_dim: {embedding_dim}\n")


def embedding_dim(config_dir=None):
    return composed_config("train", ["model=base"], config_dir)["model"]["embedding_dim"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_working_folder_comes_before_clickflow_and_config_dir_before_both(elsewhere):
    assert embedding_dim() == 16
    write_model(elsewhere / "conf", 3)
    assert embedding_dim() == 3
    write_model(elsewhere / "more", 5)
    assert embedding_dim("more") == 5
    assert config_folders("more") == [elsewhere / "more", elsewhere / "conf", CONF]


def test_configs_of_the_working_folder_are_choices_beside_clickflows(elsewhere):
    (elsewhere / "conf" / "model").mkdir(parents=True)
    (elsewhere / "conf" / "model" / "wide_base.yaml").write_text("name: base\nembedding_dim: 64\n")

    assert {"wide_base", "base", "din"} <= set(group_options("model"))
    assert composed_config("train", ["model=wide_base"])["model"]["embedding_dim"] == 64


def test_the_conf_of_the_clone_is_clickflows_own(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert config_folders(None) == [CONF]


NOT_FOUND_THERE = "is there, but not where configs of data are found; move it to conf/data/mine.yaml"


@pytest.mark.parametrize(
    ("file", "choice", "hint"),
    [
        ("conf/data/mine.yml", "mine", "conf/data/mine.yml is there, but only files that end with .yaml are read; rename it mine.yaml"),
        ("conf/data/mine.yml", "mine.yml", "conf/data/mine.yml is there, but only files that end with .yaml are read; rename it mine.yaml"),
        ("conf/data/mine.yaml", "conf/data/mine.yaml", "a config is chosen by its name; write data=mine"),
        ("mine.yaml", "mine", f"mine.yaml {NOT_FOUND_THERE}"),
        ("mine.yaml", "mine.yaml", f"mine.yaml {NOT_FOUND_THERE}"),
        ("mine.yml", "./mine.yml", f"mine.yml {NOT_FOUND_THERE}"),
        ("conf/mine.yaml", "mine", f"conf/mine.yaml {NOT_FOUND_THERE}"),
        ("conf/datasets/mine.yaml", "mine", f"conf/datasets/mine.yaml {NOT_FOUND_THERE}"),
        ("configs/mine.yaml", "configs/mine.yaml", f"configs/mine.yaml {NOT_FOUND_THERE}"),
    ],
)
def test_a_file_that_is_somewhere_else_is_named_with_where_it_belongs(elsewhere, file, choice, hint):
    (elsewhere / file).parent.mkdir(parents=True, exist_ok=True)
    (elsewhere / file).write_text("name: mine\nsource: synthetic\n")
    with pytest.raises(ConfigError, match=rf"^data = {re.escape(choice)}: no such config; {re.escape(hint)}$"):
        composed_config("prepare", [f"data={choice}"])


def test_a_file_that_is_somewhere_else_belongs_into_the_folder_of_config_dir(elsewhere):
    (elsewhere / "mine.yaml").write_text("name: mine\nsource: synthetic\n")
    (elsewhere / "more").mkdir()
    with pytest.raises(ConfigError, match=r"; mine\.yaml is there, .* move it to more/data/mine\.yaml$"):
        composed_config("prepare", ["data=mine"], "more")


@pytest.mark.parametrize("choice", ["", "[a]*", "/", "din"])
def test_a_file_that_is_nowhere_has_no_hint(elsewhere, choice):
    with pytest.raises(ConfigError, match=rf"^data = {re.escape(choice)}: no such config; allowed: amazon_books, "):
        composed_config("prepare", [f"data='{choice}'"])


def test_a_model_of_the_users_without_a_search_space_is_answered_with_how_to_name_one(elsewhere):
    (elsewhere / "conf" / "model").mkdir(parents=True)
    (elsewhere / "conf" / "model" / "mine.yaml").write_text("defaults: [base, _self_]\nembedding_dim: 3\n")
    with pytest.raises(
        ConfigError, match=r"^sweep = mine: no such config; name the search space of this model, as in sweep=base, or write"
    ):
        composed_config("sweep", ["model=mine"])
    prepared = prepared_sweep(["model=mine", "sweep=base"])
    assert prepared.composer.compose({"model.dropout": 0.25}).model.model_dump(include={"embedding_dim", "dropout"}) == {
        "embedding_dim": 3,
        "dropout": 0.25,
    }
