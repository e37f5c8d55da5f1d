"""Under what a run was made, and what of that is different here: code, libraries, processor, threads.

The last bits of a float depend on all four. Where the three that are not code are the same, two trainings of one config must be
identical; that is what decides how strictly a reproduction is judged. Other code is said and judged no milder: whether it gives the same
is what is asked.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clickflow.tracking.lineage import CPU_TAG, THREADS_TAG, UNKNOWN, GitState

LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "polars", "pyarrow")
"""Through which numbers pass on their way from the prepared data to a metric."""


@dataclass(frozen=True)
class RunEnvironment:
    """Of a run.

    Attributes:
        code: commit and whether files differed from it.
        versions: of Python and the libraries.
        cpu: model and instructions.
        threads: of torch.
    """

    code: GitState
    versions: Mapping[str, str]
    cpu: str
    threads: str

    @classmethod
    def of_run(cls, tags: Mapping[str, str], environment: str) -> "RunEnvironment":
        """From a run's tags and its ``environment.txt``; what a run does not say is ``unknown``."""
        return cls(
            GitState(tags.get("git.commit", UNKNOWN), tags.get("git.dirty", UNKNOWN)),
            _versions(environment),
            tags.get(CPU_TAG, UNKNOWN),
            tags.get(THREADS_TAG, UNKNOWN),
        )


def same_machine(old: RunEnvironment, new: RunEnvironment) -> bool:
    """Whether the same code must give identical numbers: libraries, processor and threads are known and the same."""
    known = UNKNOWN not in (old.cpu, old.threads, *old.versions.values())
    return known and (old.versions, old.cpu, old.threads) == (new.versions, new.cpu, new.threads)


def changes(old: RunEnvironment, new: RunEnvironment) -> list[str]:
    """What is different now, one line each, or cannot be known."""
    return [*_code_changes(old.code, new.code), *_machine_changes(old, new)]


def _code_changes(old: GitState, new: GitState) -> Iterator[str]:
    if UNKNOWN in (old.commit, new.commit):
        yield "code: the commit of the run or of this clone is unknown"
    elif old.commit != new.commit:
        yield f"code: this is commit {new.commit[:12]}, the run was made by {old.commit[:12]} (`git checkout {old.commit[:12]}` goes there)"
    if old.dirty == "true":
        yield "code: the run was made with changes that were not committed, which nobody can bring back"
    if new.dirty == "true":
        yield "code: this clone has changes that are not committed"


def _machine_changes(old: RunEnvironment, new: RunEnvironment) -> Iterator[str]:
    for name, version in old.versions.items():
        if version != new.versions[name]:
            yield f"{name}: {new.versions[name]} here, {version} then"
    if old.cpu != new.cpu:
        yield f"processor: {new.cpu} here, {old.cpu} then"
    if old.threads != new.threads:
        yield f"threads: {new.threads} here, {old.threads} then"


def _versions(environment: str) -> dict[str, str]:
    python = re.search(r"^python: (\S+)", environment, re.MULTILINE)
    versions = {"python": python[1] if python else UNKNOWN}
    for library in LIBRARIES:
        version = re.search(rf"^{library}==(\S+)", environment, re.MULTILINE | re.IGNORECASE)
        versions[library] = version[1] if version else UNKNOWN
    return versions
