"""Configs are found in ``--config-dir``, then in ``./conf``, then in clickflow's own folder."""

import pytest

from clickflow.cli.compose import composed_config, group_options
from clickflow.cli.search_path import CONF, REPOSITORY, config_folders


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
