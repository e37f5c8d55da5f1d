"""A logged model of another package says which one it needs."""

from dataclasses import replace

import pytest
from tests.serving.bundles import make_bundle

from clickflow.errors import ConfigError
from clickflow.serving.bundle import ServingBundle
from clickflow.tracking.logged_model import save_model


@pytest.fixture
def bundle():
    bundle = make_bundle()
    return replace(bundle, model_config=bundle.model_config | {"name": "bst"}, package="my-package==1.0")


def test_its_package_is_kept_and_missed(bundle, tmp_path):
    bundle.write(tmp_path / "bundle")

    again = ServingBundle.read(tmp_path / "bundle")

    assert again.package == "my-package==1.0"
    with pytest.raises(ConfigError, match=r"model.name = bst: comes from the package my-package==1.0, which is not installed; pip install"):
        again.build_model()


def test_its_package_is_one_of_its_requirements(tmp_path):
    save_model(replace(make_bundle(), package="my-package==1.0"), tmp_path / "theirs")
    save_model(make_bundle(), tmp_path / "own")

    theirs, own = ((tmp_path / name / "requirements.txt").read_text().splitlines() for name in ("theirs", "own"))

    assert set(theirs) - set(own) == {"my-package==1.0"}
