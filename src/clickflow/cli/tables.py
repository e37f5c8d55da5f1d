"""Tables in a terminal."""

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str] | None],
    *,
    left: Collection[str],
    width: int | None = None,
) -> None:
    """Print a table whose columns are aligned right, but those with a heading in ``left``.

    The last cells of a row may be missing; a row of None draws a line. A table with a width takes up to so many columns of the terminal,
    even if the console has fewer, and does not wrap its cells.
    """
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=width is not None)
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    if width is not None:  # rich gives a pipe 80 columns; a figure that is cut off is worse than a line that wraps
        console = Console(file=console.file, width=max(console.width, width), highlight=False)
    console.print(table)
