import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import clickflow


def test_the_package_says_its_version():
    assert clickflow.__version__ == version("clickflow")


def test_code_without_an_installed_package_can_be_imported(tmp_path):
    """As the code that travels with a logged model is."""
    source = str(Path(clickflow.__path__[0]).parent)
    code = f"import sys; sys.path[:] = [{source!r}, *(p for p in sys.path if 'site-packages' not in p)]; import clickflow.errors"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=tmp_path)


def test_other_attributes_are_missing_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'clickflow' has no attribute 'versoin'"):
        clickflow.versoin  # noqa: B018
