"""MkDocs' hooks: pages that are not files in ``docs``.

The API reference has one page per room of the package, made from its docstrings. Files of the repository that readers of the site need
(benchmarks, contributing, ...) become pages as they are. Links between them are written for the repository and turned here, so that they
lead somewhere in both places.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "clickflow"
PAGES = {
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}


def rooms() -> list[str]:
    """The package's folders, by name."""
    return sorted(folder.name for folder in PACKAGE.iterdir() if any(folder.glob("[!_]*.py")))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the rooms where the navigation says API."""
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    reference[-1]["API"] = ["api/index.md", {"clickflow": "api/clickflow.md"}, *({room: f"api/{room}.md"} for room in rooms())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    listed = "\n".join(f"* [{room}]({room}.md): {', '.join(f'`{module}`' for module in modules(room))}" for room in rooms())
    head = "# API\n\nThis reference is made from the docstrings, one page per room of the package `clickflow`.\n\n"
    head += "* [clickflow](clickflow.md): the modules that every room uses\n"
    files.append(File.generated(config, "api/index.md", content=f"{head}{listed}\n"))
    own = sorted(path.stem for path in PACKAGE.glob("[!_]*.py"))
    package = "\n\n".join(["# clickflow", *(f"::: clickflow.{module}" for module in own)])
    files.append(File.generated(config, "api/clickflow.md", content=package + "\n"))
    for room in rooms():
        parts = [f"# {room}", *(f"::: clickflow.{room}.{module}" for module in modules(room))]
        files.append(File.generated(config, f"api/{room}.md", content="\n\n".join(parts) + "\n"))
    return files


def modules(room: str) -> list[str]:
    """A room's modules and those of the folders in it, as dotted names below the room."""
    found = (path.relative_to(PACKAGE / room).with_suffix("") for path in (PACKAGE / room).rglob("*.py"))
    return sorted(".".join(path.parts) for path in found if path.name != "__init__")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that leave ``docs``, or come into it from a file outside, into links of the site."""
    for source, target in PAGES.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(source)}", f"]({target}", markdown)
    if page.file.src_uri in PAGES.values():
        markdown = re.sub(r"\]\((\.\./)?docs/", "](", markdown)
    return markdown
