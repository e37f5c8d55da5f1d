"""Configs of models are read where nothing is built: at the command line, before torch is imported."""

import subprocess
import sys

import pytest

SLOW_TO_IMPORT = {"torch", "mlflow", "scipy", "pyarrow", "polars", "pytorch_lightning"}


@pytest.mark.parametrize("module", ["clickflow.models.config", "clickflow.data.schema"])
def test_configs_import_nothing_slow(module):
    code = f"import sys, {module}; print(*{SLOW_TO_IMPORT} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
