"""docs/add-a-model.md does what it says: its code is a model that keeps the contract, its YAML is that model's config."""

import ast
import importlib.util
import re
import sys
from pathlib import Path
from typing import Annotated, get_args

import pytest
import torch
import yaml
from pydantic import Field, TypeAdapter
from tests.contracts import models as contract
from tests.models.examples import FULL_SCHEMA, random_batch

from clickflow import models
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.models import ModelConfig, build_model

DOC = Path(__file__).parents[1] / "docs" / "add-a-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
MODEL, UNION, NOTEBOOK = (text for language, text in BLOCKS if language == "python")
[YAML] = (text for language, text in BLOCKS if language == "yaml")


@pytest.fixture(scope="module")
def bst(tmp_path_factory):
    """The document's code as the module it is meant to be."""
    path = tmp_path_factory.mktemp("models") / "bst.py"
    path.write_text(MODEL, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("clickflow.models.bst", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class TestBSTKeepsTheContract(contract.TestEveryModel):
    @pytest.fixture(params=[{}, {"num_heads": 1}], ids=["defaults", "one head"])
    def config(self, bst, request):
        return bst.BSTConfig(**request.param)

    @pytest.fixture
    def default_config(self, bst):
        return bst.BSTConfig()


def test_the_file_imports_only_what_models_may():
    imported = {node.module.split(".")[0] for node in ast.walk(ast.parse(MODEL)) if isinstance(node, ast.ImportFrom)}
    assert imported == {"typing", "pydantic", "torch", "clickflow"}


def test_the_union_takes_the_model_beside_those_there_are(bst):
    namespace = dict(vars(models)) | {"Annotated": Annotated, "Field": Field}
    exec(UNION, namespace)
    members = set(get_args(get_args(namespace["ModelConfig"])[0]))
    assert members - {bst.BSTConfig} <= set(get_args(get_args(ModelConfig)[0]))
    assert TypeAdapter(namespace["ModelConfig"]).validate_python({"name": "bst"}) == bst.BSTConfig()


def test_the_yaml_has_every_key_with_its_default(bst):
    values = yaml.safe_load(YAML)
    assert validate(bst.BSTConfig, values) == bst.BSTConfig()
    assert set(values) == set(bst.BSTConfig.model_fields)


def test_heads_that_do_not_divide_the_width_are_refused(bst):
    with pytest.raises(ConfigError, match=r"num_heads = 4: must divide embedding_dim, 6; change one of them"):
        validate(bst.BSTConfig, {"name": "bst", "embedding_dim": 6})


def test_the_lines_for_a_notebook_run(bst, small_dataset):
    namespace = {"build_model": build_model, "BSTConfig": bst.BSTConfig, "dataset": small_dataset}
    exec(NOTEBOOK, namespace)
    assert namespace["output"].logit.shape == (8,)


def test_behaviours_stand_behind_their_target_from_the_latest_to_the_oldest(bst):
    target, history = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[10.0], [11.0], [30.0]])
    sequence, is_padding = bst.BST._padded(target, history, torch.tensor([0, 2, 2, 3]))
    assert sequence.squeeze(2).tolist() == [[1, 11, 10], [2, 0, 0], [3, 30, 0]]
    assert is_padding.tolist() == [[False, False, False], [False, True, True], [False, False, True]]


@pytest.mark.parametrize(("pair", "matters"), [((0, 1), False), ((0, 3), False), ((3, 4), True), ((4, 5), True)])
def test_the_order_of_behaviours_matters_up_to_the_last_position(bst, pair, matters):
    """Of six behaviours the last two have a position of their own, and the third last shares its with all before it."""
    torch.manual_seed(0)
    model, batch = bst.BSTConfig(max_position=3, embedding_init_std=1.0).build(FULL_SCHEMA).eval(), random_batch(FULL_SCHEMA, [6])
    batch.history[:] = torch.arange(6) % torch.tensor([[12], [5]])
    before = model(batch).logit.item()
    batch.history[:, list(pair)] = batch.history[:, list(reversed(pair))]
    assert (abs(model(batch).logit.item() - before) > 1e-4) == matters
