"""Only the evaluation opens the test split for scores: what other code saw of it could choose between models unseen."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MAY_NAME_IT = {"src/clickflow/data/splits.py", "src/clickflow/runs/evaluate.py", "src/clickflow/data/guessing/guess.py"}
"""Who may write ``"test"``: whoever makes the split, whoever scores it, and the guess by the names of a log's files."""


def names_of_the_split(tree: ast.Module) -> Iterator[int]:
    """Lines with a text that is ``test`` and nothing else; ``test/auc`` and ``predictions/test.parquet`` are names of results."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == "test":
            yield node.lineno


def uses_of_all_splits(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Name) and node.iter.id == "SPLITS":
            yield getattr(node, "lineno", 0)


def test_no_other_code_names_the_test_split():
    sources = [*REPOSITORY.glob("src/clickflow/**/*.py"), *REPOSITORY.glob("pipelines/*.py")]
    assert len(sources) > 100
    trees = {path.relative_to(REPOSITORY).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sources}
    assert {path for path, tree in trees.items() if any(names_of_the_split(tree))} <= MAY_NAME_IT
    assert not {path for path, tree in trees.items() if any(uses_of_all_splits(tree)) and "/data/" not in path}
