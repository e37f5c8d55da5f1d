"""Origin of a run: commit, command, machine, installed packages.

The commit is asked of the ``git`` command and not of a library: it is there wherever a clone is, and where it is not, or the folder is no
repository, the answer is ``unknown`` rather than an error, because a run must not fail over its own description.
"""

import getpass
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from clickflow.errors import without_passwords
from clickflow.tracking.names import COMMIT_TAG, CPU_TAG, DIRTY_TAG, THREADS_TAG, USER_TAG

UNKNOWN = "unknown"


class GitState(NamedTuple):
    """The state of a clone: 40 hex digits of the commit, and whether files differ from it (``true``, ``false``); or ``unknown``."""

    commit: str
    dirty: str


def git_state(folder: Path) -> GitState:
    """Commit of the repository that has ``folder``, and whether there are changes or new files that are not ignored.

    A repository that merely surrounds it, as a project does the environment in it, has no commit of it.
    """
    if _git(folder, "ls-files", "--error-unmatch", ".") is None:
        return GitState(UNKNOWN, UNKNOWN)
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return GitState(UNKNOWN, UNKNOWN)
    return GitState(commit, "true" if changes else "false")


def lineage_tags(folder: Path) -> dict[str, str]:
    """Tags of a run: commit and dirty flag of ``folder``'s repository, the script and the user, under the names MLflow's UI shows."""
    state = git_state(folder)
    tags = {
        COMMIT_TAG: state.commit,
        DIRTY_TAG: state.dirty,
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        "mlflow.source.type": "LOCAL",
        USER_TAG: user_name(),
    }
    return tags if state.commit == UNKNOWN else {**tags, "mlflow.source.git.commit": state.commit}


@cache
def machine_tags() -> dict[str, str]:
    """Tags of a run: the processor and its instructions that torch uses, on which the last bits of a result depend."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    name = model[1].strip() if model else platform.processor() or platform.machine()
    return {CPU_TAG: f"{name} ({torch.backends.cpu.get_cpu_capability()})"}


def thread_tags() -> dict[str, str]:
    """Tags of a run: with how many threads torch works, on which the last bits of a result depend, too."""
    return {THREADS_TAG: str(torch.get_num_threads())}


def user_name() -> str:
    """The user who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return UNKNOWN


def who() -> str:
    """The user and the machine, ``user@machine``."""
    return f"{user_name()}@{platform.node() or UNKNOWN}"


def now() -> str:
    """UTC with microseconds, in characters that a tag's name may have."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def command_line() -> str:
    """The command that started this process, quoted so that it can be pasted into a shell; passwords in URIs are hidden."""
    program, *arguments = sys.orig_argv
    if arguments and Path(arguments[0]).name == "clickflow":  # the console command is a file that Python runs
        program, *arguments = arguments
    return shlex.join(without_passwords(argument) for argument in [Path(program).name, *arguments])


def environment_report() -> str:
    """Python, platform, processors and every installed distribution, one per line."""
    lines = [
        f"command: {command_line()}",
        f"python: {platform.python_version()} ({platform.python_implementation()})",
        f"platform: {platform.platform()}",
        f"cpu_count: {os.cpu_count()}",
        f"torch_threads: {torch.get_num_threads()}",
        "",
    ]
    names = {distribution.metadata["Name"]: distribution.version for distribution in metadata.distributions()}
    lines += [f"{name}=={version}" for name, version in sorted(names.items(), key=lambda entry: str(entry[0]).lower())]
    return "\n".join(lines) + "\n"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
