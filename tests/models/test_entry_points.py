"""A model of another package is chosen by name as one of clickflow's own is, and a package that does not fit is named."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from clickflow.cli.compose import composed_config, group_options
from clickflow.cli.composer import HydraComposer, prepared_sweep
from clickflow.cli.search_space import read_space
from clickflow.cli.sweep_arguments import into_space
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.models.config import ModelConfig
from clickflow.models.entry_points import check_installed, package_of
from clickflow.runs.config import RunConfig

CONFIG = """
from typing import Annotated, Literal
from pydantic import Field
from clickflow.models.config import PooledConfig
from clickflow.models.base import EmbeddingMLP

class {name}Config(PooledConfig):
    name: Literal["{name}"] = "{name}"
    num_heads: Annotated[int, Field(gt=0)] = 4

    def build(self, schema):
        return EmbeddingMLP(self, schema)
"""


def code(name):
    return CONFIG.format(name=name)


def composed(*overrides, config_dir=None):
    return validate(RunConfig, composed_config("train", overrides, config_dir))


@pytest.fixture
def mine(packages):
    packages.install("my-package", {"mine": "mine_of_mine:mineConfig"}, "1.2", mine_of_mine=code("mine"))
    return packages


def test_its_name_is_enough(mine):
    config = composed("model=mine", "model.num_heads=8")

    assert (config.model.name, config.model.num_heads, config.model.embedding_dim) == ("mine", 8, 16)
    assert "mine_of_mine" in sys.modules


def test_its_config_goes_through_plain_values(mine):
    config = composed("model=mine", "model.num_heads=8")

    values = config.model_dump(mode="json")

    assert values["model"]["num_heads"] == 8
    assert validate(RunConfig, config.model_dump() | {"model": values["model"]}) == config
    assert TypeAdapter(ModelConfig).validate_json(config.model.model_dump_json()) == config.model
    assert TypeAdapter(ModelConfig).validate_python(config.model) == config.model


def test_its_package_is_imported_only_when_it_is_chosen(mine):
    with pytest.raises(ConfigError, match=r"model.name = mime: did you mean mine"):
        composed("++model.name=mime")
    composed("model=base")
    assert "mine" in group_options("model")
    assert "mine_of_mine" not in sys.modules


def test_a_yaml_of_its_name_comes_first(mine, tmp_path):
    (tmp_path / "user" / "model").mkdir(parents=True)
    (tmp_path / "user" / "model" / "mine.yaml").write_text("name: mine\nnum_heads: 2\n")

    assert composed("model=mine", config_dir=str(tmp_path / "user")).model.num_heads == 2


def test_its_keys_are_checked_beside_all_others(mine):
    message = r"(?s)3 problems.*model.num_heads = 0: must be greater than 0.*model.num_haeds: unknown key; did you mean num_heads\?.*seed"
    with pytest.raises(ConfigError, match=message):
        composed("model=mine", "model.num_haeds=3", "model.num_heads=0", "seed=-1")


def test_a_sweep_takes_it_beside_others_with_what_they_share(mine):
    space = read_space({"model": "choice(base, mine)", "model.embedding_dim": "choice(8, 16)", "model.num_heads": "choice(1, 2)"})
    composer = HydraComposer(["sweep=models"])

    assert space.groups == {"model"}
    assert {"model.embedding_dim", "model.num_heads"} <= composer.keys({"model": "mine"})
    assert composer.compose({"model": "mine", "model.num_heads": 2}).model.num_heads == 2


def test_a_sweep_of_it_alone_needs_no_yaml(mine):
    prepared = prepared_sweep(into_space(["model=mine", "model.num_heads=1,2"]))

    assert set(prepared.space.parameters) == {"model.num_heads"}
    assert prepared.config.sweep.study_name == "synthetic-mine"


def test_its_package_is_known(mine):
    assert package_of("mine") == "my-package==1.2"
    assert package_of("din") is None


def test_a_logged_model_without_its_package_is_answered_with_its_name(packages):
    check_installed("din", None)
    with pytest.raises(
        ConfigError, match=r"model.name = mine: comes from the package my-package==1.2, which is not installed; pip install"
    ):
        check_installed("mine", "my-package==1.2")


@pytest.mark.parametrize(
    ("value", "module", "message"),
    [
        ("absent_module:mineConfig", "", r"cannot be imported \(ModuleNotFoundError: No module named 'absent_module'\)"),
        ("its_module:other", "", r"cannot be imported \(AttributeError: .*other.*\); mend or reinstall the package"),
        ("its_module:mineConfig", "raise RuntimeError('no such device')", r"cannot be imported \(RuntimeError: no such device\)"),
        (
            "its_module:mineConfig",
            "class mineConfig:\n    name = 'mine'",
            "no config class; it must derive from clickflow.config.StrictConfig",
        ),
        ("its_module:mineConfig", "mineConfig = {'name': 'mine'}", r"no config class; .* and have build\(schema\)"),
        ("its_module:otherConfig", code("other"), 'must have the entry point\'s name; write name: Literal\\["mine"\\] = "mine"'),
    ],
)
def test_an_entry_point_that_does_not_fit_is_named(packages, value, module, message):
    packages.install("my-package", {"mine": value}, its_module=module)
    with pytest.raises(ConfigError, match=f"entry point mine = {value} of my-package: .*{message}"):
        composed("model=mine")


def test_a_name_of_clickflows_own_is_refused(packages):
    packages.install("my-package", {"din": "its_module:dinConfig"}, its_module=code("din"))
    with pytest.raises(ConfigError, match=r"entry point din = its_module:dinConfig of my-package: clickflow has a model din of its own"):
        composed("model=din")
    assert composed("model=base").model.name == "base"


def test_a_name_of_two_packages_is_refused(packages):
    packages.install("first", {"mine": "its_module:mineConfig"}, its_module=code("mine"))
    packages.install("second", {"mine": "other_module:mineConfig"}, other_module=code("mine"))
    with pytest.raises(
        ConfigError, match=r"model.name = mine: two packages have a model of this name, .* of first and .* of second; uninstall"
    ):
        composed("model=mine")


def test_looking_for_them_imports_no_torch(mine):
    lines = f"import sys; sys.path.insert(0, {str(mine.folder)!r})"
    look = "from clickflow.models.entry_points import models_of_packages; print(*models_of_packages(), 'torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", f"{lines}; {look}"], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["mine", "False"]
