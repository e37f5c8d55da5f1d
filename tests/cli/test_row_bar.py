"""Bars of stages, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from clickflow.cli import row_bar
from clickflow.cli.row_bar import StageBar

SHOW_CURSOR = "\x1b[?25h"


def drawn(monkeypatch, *, terminal=True, patience=0.0, error=None):
    """What a stage of two million rows writes."""
    monkeypatch.setattr(row_bar, "PATIENCE_SECONDS", patience)
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120)
    try:
        with StageBar(console) as bar:
            bar.stage("sorting")
            for done in (500_000, 1_000_000):
                bar.rows(done, 2_000_000)
            if error is not None:
                raise error
            bar.stage("writing")
    except KeyboardInterrupt:
        pass
    return output.getvalue()


def test_a_long_stage_has_a_bar_with_its_rows_and_speed(monkeypatch):
    text = drawn(monkeypatch)
    for part in ("sorting", "1000000/2000000", "rows/s"):
        assert part in text


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_the_bar_is_gone_in_the_end_however_it_ends(monkeypatch, error):
    assert SHOW_CURSOR in drawn(monkeypatch, error=error)


def test_a_short_stage_and_a_pipe_get_no_bar(monkeypatch):
    assert drawn(monkeypatch, patience=60.0) == ""
    assert drawn(monkeypatch, terminal=False) == ""
