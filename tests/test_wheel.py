"""The wheel works outside the clone: an environment of its own, an empty folder, no way back to the repository."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import polars as pl
import pytest
from tests.runs.small import SMALL

import clickflow

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("src", "conf", "pipelines", "pyproject.toml", "README.md", "LICENSE")
OFFLINE = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]


def pip(*arguments):
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True)


def build_wheel(source, folder):
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is built, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel alone; what the wheel needs is taken from this process's environment, but no clickflow is."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    pip("--python", folder / "bin" / "python", "install", *OFFLINE, wheel)
    [packages] = folder.glob("lib/python*/site-packages")
    # Behind the environment's own packages. Python reads no .pth file in a folder that a .pth file names, so no editable install comes in.
    shared = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
    (packages / "shared.pth").write_text("\n".join(shared))
    return folder


class Folder:
    """A working folder in which the environment's commands run."""

    def __init__(self, path, environment):
        self.path = path
        self.bin = environment / "bin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLICKFLOW_", "PYTHON", "VIRTUAL_ENV"))}
        self.variables = kept | {"PATH": os.pathsep.join([str(self.bin), os.defpath]), "OMP_NUM_THREADS": "1"}

    def run(self, *command):
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.path, env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr or done.stdout
        assert str(REPOSITORY) not in done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def folder(environment, tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("elsewhere"), environment)


def test_it_holds_the_package_with_configs_and_stories_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}

    assert {path.parts[0] for path in names} == {"clickflow", f"clickflow-{clickflow.__version__}.dist-info"}
    expected = [*REPOSITORY.glob("conf/**/*.yaml"), *REPOSITORY.glob("pipelines/*.py")]
    assert {Path("clickflow") / path.relative_to(REPOSITORY) for path in expected} < names
    assert Path("clickflow/py.typed") in names


def test_a_source_distribution_makes_the_same_wheel(source, wheel, tmp_path):
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")

    again = build_wheel(archive.with_suffix("").with_suffix(""), tmp_path / "wheel")

    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {entry.filename: entry.CRC for entry in first.infolist() if "dist-info" not in entry.filename} == {
            entry.filename: entry.CRC for entry in second.infolist() if "dist-info" not in entry.filename
        }


def test_the_installed_package_is_the_one_that_runs(folder, environment):
    found = folder.run("python", "-c", "import clickflow; print(clickflow.__file__, clickflow.__version__)").split()
    assert Path(found[0]).is_relative_to(environment)
    assert found[1] == clickflow.__version__


def test_it_prepares_trains_and_scores_in_an_empty_folder(folder):
    data = [choice for choice in SMALL if choice.startswith("data.")]

    folder.run("clickflow", "prepare", *data)
    trained = folder.run("clickflow", "train", *SMALL, "trainer.max_epochs=1")

    pl.DataFrame({"item": [1, 2], "history": [[3, 4], []]}).write_parquet(folder.path / "rows.parquet")
    model = re.search(r"models:/m-\w+", trained)[0]
    folder.run("clickflow", "predict", f"model={model}", "input=rows.parquet", "output=scores.parquet")
    assert pl.read_parquet(folder.path / "scores.parquet")["probability"].is_between(0, 1, closed="none").all()
    assert {path.name for path in folder.path.iterdir()} == {".clickflow", "rows.parquet", "scores.parquet"}

    with sqlite3.connect(folder.path / ".clickflow" / "mlflow.db") as database:
        tags = dict(database.execute("SELECT key, value FROM tags"))
    assert (tags["git.commit"], tags["git.dirty"]) == ("unknown", "unknown")


def test_configs_of_the_working_folder_and_of_config_dir_are_found(folder, tmp_path):
    here = Folder(tmp_path / "mine", folder.bin.parent)
    (here.path / "conf" / "data").mkdir(parents=True)
    (here.path / "clicks.csv").write_text(
        "user,item,timestamp,clicked\n" + "".join(f"{k % 7},{k % 5},{1_700_000_000 + k},{k % 2}\n" for k in range(700))
    )
    (here.path / "conf" / "data" / "my_shop.yaml").write_text(
        "source: log\nname: my_shop\npath: clicks.csv\ncolumns: {user: user, item: item, timestamp: timestamp, label: clicked}\n"
    )
    (here.path / "conf" / "model").mkdir()
    (here.path / "conf" / "model" / "base.yaml").write_text("name: base\nembedding_dim: 3\n")
    (tmp_path / "other" / "model").mkdir(parents=True)
    (tmp_path / "other" / "model" / "base.yaml").write_text("name: base\nembedding_dim: 5\n")

    assert "my_shop" in here.run("clickflow", "prepare", "data=my_shop")

    show = ["data=my_shop", "model=base", "--cfg", "job"]
    assert "embedding_dim: 3" in here.run("clickflow", "train", *show)
    assert "embedding_dim: 5" in here.run("clickflow", "train", *show, "--config-dir", str(tmp_path / "other"))
