"""Completion, sourced by a real bash."""

import os
import subprocess
import sys

import pytest

from clickflow.cli.launch import complete_or_report, launch

ASK = """
eval "$(clickflow -sc install=bash)"
for COMP_LINE in "$@"; do
    COMP_POINT=${#COMP_LINE}
    _clickflow
    echo "${COMPREPLY[@]}"
done
"""
UNINSTALL = """
complete -p clickflow
eval "$(clickflow train -sc uninstall=bash)"
complete -p clickflow 2> /dev/null || echo gone
"""


@pytest.fixture
def clickflow(tmp_path, monkeypatch):
    """The console command on PATH."""
    command = tmp_path / "clickflow"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m clickflow "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return str(command)


def test_commands_choices_and_keys_are_completed(clickflow):
    lines = [
        "clickflow tr",
        "clickflow train model=di",
        "clickflow train model.embedding_d",
        "clickflow predict inp",
        "clickflow nothing a",
    ]
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK + UNINSTALL, "bash", *lines], capture_output=True, text=True, timeout=180, check=True
    )
    shown = done.stdout.splitlines()
    assert [line.split() for line in shown[:5]] == [["train"], ["dien", "din"], ["model.embedding_dim="], ["input="], []]
    assert shown[5].endswith("-F _clickflow clickflow")
    assert shown[6:] == ["gone"]
    assert done.stderr == ""


def test_where_words_do_not_break_at_the_equals_sign_the_whole_word_is_replaced(clickflow):
    ask = ASK.replace('eval "$(clickflow -sc install=bash)"', 'eval "$(clickflow train -sc install=bash)"; COMP_WORDBREAKS=" "')
    line = "clickflow train model=di"
    done = subprocess.run(["bash", "--norc", "-c", ask, "bash", line], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.splitlines()[0] == "model=dien model=din"


@pytest.mark.parametrize("arguments", [["install=fish"], ["x"], ["install=bash", "query=bash"], []])
@pytest.mark.parametrize("answer", [complete_or_report, lambda words: launch("sweep", ["-sc", *words])], ids=["clickflow", "sweep"])
def test_what_cannot_be_completed_is_refused(capsys, answer, arguments):
    with pytest.raises(SystemExit) as end:
        answer(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"ConfigError: -sc {' '.join(arguments)}: no such completion; allowed are bash and zsh")
