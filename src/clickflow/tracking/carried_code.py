"""The files of clickflow that a logged model carries: those that serving it imports, and no others.

They are found by following import statements from the served model's class and from the model's config, without running anything. An
import inside a function counts like any other, so every model of clickflow travels: a process that loads two models uses the files of the
first for both. Empty files stay behind; Python needs no ``__init__`` to import from a folder.
"""

import ast
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from clickflow.config import StrictConfig
from clickflow.serving import click_model

PACKAGE = "clickflow"


def carry_code(config: type[StrictConfig], folder: Path) -> Path:
    """Copy what serving a model imports into a folder; returns the package's folder in it.

    Modules of another package are followed but not carried: the model's requirements name it.
    """
    for file in served_files(config):
        target = folder / PACKAGE / file.relative_to(_folder_of(PACKAGE) / PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder / PACKAGE


@cache
def served_files(config: type[StrictConfig]) -> tuple[Path, ...]:
    """Files of clickflow that serving a model of this config imports."""
    tops = {PACKAGE, config.__module__.partition(".")[0]}
    found: dict[str, Path] = {}
    waiting = [click_model.__name__, config.__module__]
    while waiting:
        name = waiting.pop()
        file = _file(name) if name.partition(".")[0] in tops and name not in found else None
        if file is not None:
            found[name] = file
            waiting.append(name.rpartition(".")[0])
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            waiting.extend(_imported(ast.parse(file.read_bytes()), package))
    return tuple(file for name, file in sorted(found.items()) if name.partition(".")[0] == PACKAGE and file.stat().st_size)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Names that may be modules, of all imports in a module of a package but those for type checkers."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    if not is_for_types:
        for child in ast.iter_child_nodes(node):
            yield from _imported(child, package)


def _file(name: str) -> Path | None:
    """The file of a module; None where the name is none of a module."""
    path = _folder_of(name.partition(".")[0]).joinpath(*name.split("."))
    return next((file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file()), None)


def _folder_of(top: str) -> Path:
    """The folder that a top-level package or module, already imported, was found in."""
    module = sys.modules[top]
    return Path(module.__path__[0] if hasattr(module, "__path__") else str(module.__file__)).parent
