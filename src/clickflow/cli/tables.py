"""Tables in a terminal."""

from collections.abc import Collection, Iterable, Mapping

from rich.console import Console
from rich.table import Table


def print_table(
    console: Console,
    title: str,
    rows: Iterable[Mapping[str, str] | None],
    *,
    left: Collection[str],
    width: int | None = None,
) -> None:
    """Print a table whose columns are aligned right, but those with a heading in ``left``.

    A row has cells by heading, some of which may be missing; a row of None draws a line. A table with a width takes up to so many
    columns of the terminal, even if the console has fewer, and does not wrap its cells.
    """
    table = Table(title=title, title_justify="left")
    lines = list(rows)
    headings = list(dict.fromkeys(heading for line in lines for heading in line or ()))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=width is not None)
    for line in lines:
        if line is None:
            table.add_section()
        else:
            table.add_row(*(line.get(heading, "") for heading in headings))
    if width is not None:  # rich gives a pipe 80 columns; a figure that is cut off is worse than a line that wraps
        console = Console(file=console.file, width=max(console.width, width), highlight=False)
    console.print(table)
