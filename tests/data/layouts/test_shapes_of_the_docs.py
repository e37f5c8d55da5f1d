"""The five shapes of docs/bring-your-data.md: each config is executed as it stands there, and gives the rows that stand below it."""

import re
from collections import Counter
from pathlib import Path

import pytest
from tests.data.layouts.prepared_rows import of

from clickflow.cli.compose import compose, plain
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.runs.config import PrepareConfig

PAGE = (Path(__file__).parents[3] / "docs" / "bring-your-data.md").read_text()
[CHAPTER] = re.findall(r"^## Five shapes\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
FRACTIONS = re.findall(r"protocol\.\w+_fraction=[\d.]+", CHAPTER)
SHAPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", CHAPTER, re.DOTALL | re.MULTILINE))


def test_there_are_five_shapes():
    assert list(SHAPES) == ["Impressions with clicks", "An event log", "Ratings", "Baskets", "Lists of candidates"]


@pytest.mark.parametrize("title", SHAPES)
def test_a_shape_gives_the_rows_that_the_page_shows(tmp_path, monkeypatch, title):
    for file, text in re.findall(r'^```\w+ title="(.*?)"\n(.*?)^```', SHAPES[title], re.DOTALL | re.MULTILINE):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    [name] = [file.stem for file in (tmp_path / "conf" / "data").iterdir()]
    monkeypatch.chdir(tmp_path)
    config = validate(PrepareConfig, plain(compose("prepare", [f"data={name}", *FRACTIONS], None)))
    dataset = prepare(config.data, config.protocol, tmp_path / "home")
    lines = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) ?\| ([01]) \|$", SHAPES[title], re.MULTILINE)
    shares_moments = dataset.manifest.counts.get("behaviours_sharing_a_moment", 0)
    order = sorted if shares_moments else list  # a moment has no order
    shown = Counter((user, item, int(label), *order(filter(None, history.split(", ")))) for user, item, history, label in lines)
    rows = [(str(user), str(item), label, *order(map(str, history))) for user, item, label, history in of(dataset)]
    drawn = config.protocol.name == "next_item"  # its negatives are not on the page
    assert Counter(row for row in rows if row[2] or not drawn) == shown
    assert not drawn or Counter(row[2] for row in rows) == {1: len(lines), 0: len(lines)}
