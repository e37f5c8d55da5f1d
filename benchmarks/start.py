"""Cost of a command before it does any work: its help, a mistyped key, contradictory settings.

    python benchmarks/start.py                                       # the scripts of this checkout
    python benchmarks/start.py --root FOLDER                         # the scripts of another checkout
    python benchmarks/start.py --prefix "clickflow {command}"        # the installed command
    python benchmarks/start.py --commands train sweep --runs 5

The figures are CPU seconds, user and system, of a process and of the processes it waited for, since wall seconds depend on the load of the
machine: medians, with minimum and maximum in brackets. Runs of different lines take turns. One help per command runs first and is not
counted, so that everything is compiled and in the page cache. Then a small training is started on a pseudo-terminal with an empty home,
and measured at its first byte of output. The tables are Markdown.
"""

import argparse
import os
import pty
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

UNKNOWN_KEYS = {
    "prepare": ["dta=synthetic"],
    "train": ["modle=din"],
    "sweep": ["modle=din"],
    "evaluate": ["runid=1"],
    "compare": ["modle=din"],
    "promote": ["nam=ctr"],
    "predict": ["modle=1"],
    "reproduce": ["runid=1"],
    "gc": ["keep_bset=1"],
}
NESTED_KEY = ["model.embeding_dim=3"]
CONTRADICTION = ["schedule=plateau", "schedule.patience=10", "trainer.patience=3"]
COMPOSE_TRAINING = ("train", "sweep", "compare")
SMALL = ["data=synthetic", "data.num_users=2000", "data.num_items=500", "data.num_impressions=10000", "trainer=quick"]


class Cost(NamedTuple):
    """Cost and output of one process with those it waited for."""

    cpu: float
    wall: float
    exit_code: int
    said: str


class Commands:
    """The commands of a checkout.

    Attributes:
        root: working directory, on the module search path together with its ``src``.
        prefix: command line with ``{command}`` in it.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self.root, self.prefix = root, prefix
        found = os.pathsep.join([str(root / "src"), str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = os.environ | {"PYTHONPATH": found, "COLUMNS": "140"}

    def line(self, command: str, arguments: Sequence[str]) -> list[str]:
        """Command line of a command; ``python`` becomes the interpreter of this process."""
        first, *rest = shlex.split(self.prefix.format(command=command))
        return [sys.executable if first == "python" else first, *rest, *arguments]

    def cost(self, line: Sequence[str]) -> Cost:
        """Run a command line to its end."""
        with tempfile.TemporaryFile() as output:
            start = time.perf_counter()
            process = subprocess.Popen(line, stdout=output, stderr=output, cwd=self.root, env=self._environment)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            said = output.read().decode()
        return Cost(usage.ru_utime + usage.ru_stime, wall, process.returncode, said)

    def first_byte(self, line: Sequence[str]) -> tuple[Cost, Cost]:
        """Run a command line on a pseudo-terminal and measure it at its first byte and at its end."""
        main, terminal = pty.openpty()
        start = time.perf_counter()
        process = subprocess.Popen(line, stdout=terminal, stderr=terminal, cwd=self.root, env=self._environment)
        os.close(terminal)
        output = os.read(main, 1)
        wall = time.perf_counter() - start
        times = psutil.Process(process.pid).cpu_times()
        before = times.user + times.system + times.children_user + times.children_system
        try:
            while chunk := os.read(main, 65536):
                output += chunk
        except OSError:  # Linux raises it when the other end closes
            pass
        os.close(main)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output.decode()).strip()
        if process.returncode:
            raise RuntimeError(f"{' '.join(line)} ended with {process.returncode}:\n{said[-4000:]}")
        end = time.perf_counter() - start
        return Cost(before, wall, 0, said.splitlines()[0]), Cost(usage.ru_utime + usage.ru_stime, end, 0, said)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--prefix", default="python pipelines/{command}.py")
    parser.add_argument("--commands", nargs="+", default=list(UNKNOWN_KEYS), choices=list(UNKNOWN_KEYS))
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    commands = Commands(arguments.root.resolve(), arguments.prefix)
    print(f"`{arguments.prefix}`, {arguments.runs} runs each\n")
    print_refusals(commands, cases(arguments.commands), arguments.runs)
    if "train" in arguments.commands:
        print_first_byte(commands, arguments.runs)


def cases(chosen: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Command, kind of start and arguments of each case."""
    found = []
    for command in chosen:
        found += [(command, "help", ["--help"]), (command, "unknown key", UNKNOWN_KEYS[command])]
        if command in COMPOSE_TRAINING:
            found += [(command, "unknown key of the model", NESTED_KEY), (command, "contradiction", CONTRADICTION)]
    return found


def print_refusals(commands: Commands, cases: Sequence[tuple[str, str, list[str]]], runs: int) -> None:
    """Print a table of the commands that end before any work, and their last lines."""
    for command in dict.fromkeys(command for command, _, _ in cases):
        commands.cost(commands.line(command, ["--help"]))
    bare = [sys.executable, "-c", "pass"]
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(runs):
        costs.setdefault(("(python alone)", ""), []).append(commands.cost(bare))
        for command, what, arguments in cases:
            costs.setdefault((command, what), []).append(commands.cost(commands.line(command, arguments)))
    said = {(command, what): " ".join(arguments) for command, what, arguments in cases}
    print("| command | given | CPU s | s | exit code |")
    print("|---|---|---|---|---|")
    for (command, what), found in costs.items():
        given = f"{what}: `{said[command, what]}`" if what else ""
        codes = ", ".join(sorted({str(cost.exit_code) for cost in found}))
        print(f"| {command} | {given} | {spread([c.cpu for c in found])} | {spread([c.wall for c in found])} | {codes} |", flush=True)
    print("\nLast lines of their output:\n")
    for (command, what), found in costs.items():
        if what not in ("", "help"):
            print(f"* {command}, {what}: {found[0].said.strip().splitlines()[-1]}")


def print_first_byte(commands: Commands, runs: int) -> None:
    """Print a table of a training at its first byte and at its end."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            found.append(commands.first_byte(commands.line("train", [f"home={home}", *SMALL])))
    print(f"\n`train {' '.join(SMALL)}` with an empty home, on a terminal; the first line is “{found[0][0].said}”\n")
    print("| until | CPU s | s |")
    print("|---|---|---|")
    for name, costs in zip(("its first byte", "its end"), zip(*found, strict=True), strict=True):
        print(f"| {name} | {spread([cost.cpu for cost in costs])} | {spread([cost.wall for cost in costs])} |")


def spread(values: Sequence[float]) -> str:
    """Median, minimum and maximum as text."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
