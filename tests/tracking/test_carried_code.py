import importlib
import json
import os
import subprocess
import sys

import pytest
from pydantic import TypeAdapter
from tests.serving.bundles import SCHEMA, make_bundle

from clickflow.models.config import ModelConfig
from clickflow.serving.bundle import ServingBundle
from clickflow.tracking.carried_code import carry_code, served_files
from clickflow.tracking.logged_model import save_model

NAMES = ("lr", "wide_deep", "pnn", "deepfm", "base", "din", "dien")


def config_of(name):
    return TypeAdapter(ModelConfig).validate_python({"name": name})


def carried(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_a_model_carries_what_serving_imports_and_no_more(tmp_path):
    save_model(make_bundle(), tmp_path / "model")
    files = carried(tmp_path / "model" / "code")
    assert len(files) <= 41
    assert {"clickflow/serving/click_model.py", "clickflow/models/din.py", "clickflow/config.py"} <= set(files)
    assert {file.split("/")[1] for file in files if file.count("/") > 1} == {"data", "models", "serving"}


@pytest.mark.parametrize("name", NAMES)
def test_files_that_serve_a_model_are_few(name):
    assert len(served_files(type(config_of(name)))) <= 41


BUILD_ALL = """
import json, sys
import mlflow.pyfunc, pandas, torch  # once for all; not what is tested
from pathlib import Path

folder = Path(sys.argv[1])
assert not [name for name in sys.modules if name.startswith("clickflow")]
sys.path.insert(0, str(folder))
from clickflow.serving import click_model
for name in sys.argv[2:]:
    bundle = click_model.ServingBundle.read(folder / name)
    bundle.build_model()
    click_model.Encoder(bundle)
files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("clickflow")]
(folder / "loaded.json").write_text(json.dumps([file for file in files if file]))
"""


@pytest.mark.slow
def test_carried_files_are_those_that_are_imported(tmp_path):
    """The witness is Python itself: every model is built in one process that has nothing but the files that any one of them carries."""
    example = make_bundle()
    for name in NAMES:
        weights = config_of(name).build(SCHEMA).state_dict()
        ServingBundle({"name": name}, SCHEMA, 3, weights, example.items, example.vocabularies).write(tmp_path / name)
    carry_code(type(config_of("din")), tmp_path)
    script = tmp_path / "script.py"
    script.write_text(BUILD_ALL)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-I", str(script), str(tmp_path), *NAMES], check=True, timeout=120, env=environment, cwd=tmp_path)
    loaded = json.loads((tmp_path / "loaded.json").read_text())
    assert sorted(loaded) == sorted(str(path) for path in (tmp_path / "clickflow").rglob("*.py"))


def test_what_the_model_of_another_package_imports_of_clickflow_is_carried(tmp_path, monkeypatch):
    package = tmp_path / "other_models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(
        "from typing import TYPE_CHECKING, Literal\n"
        "from clickflow.config import StrictConfig\n"
        "if TYPE_CHECKING:\n    from clickflow.data.storage import Manifest\n"
        "class OtherConfig(StrictConfig):\n"
        "    name: Literal['other'] = 'other'\n"
        "    def build(self, schema):\n"
        "        from .model import Other\n"
        "        return Other(schema)\n"
    )
    (package / "model.py").write_text("import torch\nfrom clickflow.metrics.strata import strata\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_models", raising=False)
    config = importlib.import_module("other_models.config").OtherConfig
    names = carried(carry_code(config, tmp_path / "carried"))
    assert "metrics/strata.py" in names
    assert "serving/click_model.py" in names
    assert "data/storage.py" not in names
    assert not [path for path in (tmp_path / "carried").rglob("*") if "other" in path.name]
    for name in ("other_models", "other_models.config"):
        monkeypatch.delitem(sys.modules, name)
