"""docs/add-a-model.md does what it says: its package has a model that keeps the contract, and is trained from outside the repository."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.contracts import models as contract
from tests.models.examples import FULL_SCHEMA, random_batch
from tests.runs.small import SMALL

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.runs.config import RunConfig

DOC = Path(__file__).parents[1] / "docs" / "add-a-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
MODEL, CONTRACT, NOTEBOOK = (text for language, text in BLOCKS if language == "python")
[PYPROJECT] = (text for language, text in BLOCKS if language == "toml")
[COMMANDS] = (text for language, text in BLOCKS if language == "sh")
SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The document's package as its author has it."""
    folder = tmp_path_factory.mktemp("project") / "my-package"
    (folder / "my_package").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "my_package" / "__init__.py").write_text("")
    (folder / "my_package" / "bst.py").write_text(MODEL, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bst(project):
    """The model's module, in this process."""
    sys.path.insert(0, str(project))
    import my_package.bst as module

    yield module
    sys.path.remove(str(project))
    for name in ("my_package.bst", "my_package"):
        del sys.modules[name]


class TestBSTKeepsTheContract(contract.TestEveryModel):
    @pytest.fixture(params=[{}, {"num_heads": 1}], ids=["defaults", "one head"])
    def config(self, bst, request):
        return bst.BSTConfig(**request.param)

    @pytest.fixture
    def default_config(self, bst):
        return bst.BSTConfig()


def test_the_contract_is_applied_as_the_document_shows(bst):
    namespace = {"contract": contract, "pytest": pytest, "BSTConfig": bst.BSTConfig}
    exec(CONTRACT, namespace)
    assert issubclass(namespace["TestBSTKeepsTheContract"], contract.TestEveryModel)


def test_the_file_imports_only_what_models_may():
    imported = {node.module.split(".")[0] for node in ast.walk(ast.parse(MODEL)) if isinstance(node, ast.ImportFrom)}
    assert imported == {"typing", "pydantic", "torch", "clickflow"}


def test_heads_that_do_not_divide_the_width_are_refused_beside_all_other_faults(bst, packages):
    packages.install("my-package", {"bst": "my_package.bst:BSTConfig"})
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*model.num_heads = 4: must divide embedding_dim, 6; change one of them.*seed"):
        validate(RunConfig, composed_config("train", ["model=bst", "model.embedding_dim=6", "seed=-1"]))


def test_the_lines_for_a_notebook_run(bst, small_dataset):
    namespace = {"BSTConfig": bst.BSTConfig, "dataset": small_dataset}
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


@pytest.fixture(scope="module")
def installed(project, tmp_path_factory):
    """The package, installed by pip where only processes that are told so find it."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(project)], check=True)
    return target


def run(folder, module, *arguments, with_packages=()):
    """A command in an empty folder, with packages beside clickflow."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLICKFLOW_", "PYTHON"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *map(str, with_packages)])
    command = [sys.executable, "-m", f"clickflow.pipelines.{module}", f"home={folder / 'home'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.mark.slow
def test_it_is_trained_swept_evaluated_and_scores_from_outside_the_repository(installed, tmp_path):
    [choices] = re.findall(r"^clickflow train (.*)$", COMMANDS, re.MULTILINE)

    trained = run(tmp_path, "train", *choices.split(), *SMALL, "trainer.max_epochs=1", with_packages=[installed])

    assert trained.returncode == 0, trained.stderr
    run_id, model = re.search(r"run (\w+)", trained.stdout)[1], re.search(r"models:/m-\w+", trained.stdout)[0]
    evaluated = run(tmp_path, "evaluate", f"run_id={run_id}", with_packages=[installed])
    assert evaluated.returncode == 0, evaluated.stderr

    pd.DataFrame({"item": [1, 2], "history": [[3, 4], []]}).to_parquet(tmp_path / "rows.parquet")
    scoring = [f"model={model}", "input=rows.parquet", "output=scores.parquet"]
    scored = run(tmp_path, "predict", *scoring, with_packages=[installed])
    assert scored.returncode == 0, scored.stderr
    assert pd.read_parquet(tmp_path / "scores.parquet")["probability"].between(0, 1, inclusive="neither").all()

    requirements = [path.read_text() for path in tmp_path.glob("home/**/requirements.txt")]
    assert all("my-package==1.0" in text.splitlines() for text in requirements)
    [description] = {path.read_text() for path in tmp_path.glob("home/**/bundle/model.json")}
    assert json.loads(description)["package"] == "my-package==1.0"

    search = ["model=bst", "model.num_heads=1,2", "sweep.num_trials=2", "sweep.sampler=grid", *SMALL, "trainer.max_epochs=1"]
    searched = run(tmp_path, "sweep", *search, with_packages=[installed])
    assert searched.returncode == 0, searched.stderr
    assert "model.num_heads=" in searched.stdout

    for pipeline, arguments in {"evaluate": [f"run_id={run_id}"], "predict": [*scoring, "overwrite=true"]}.items():
        refused = run(tmp_path, pipeline, *arguments)
        assert refused.returncode == 2, refused.stderr
        assert "model.name = bst: comes from the package my-package==1.0, which is not installed; pip install" in refused.stderr
