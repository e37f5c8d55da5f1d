"""The environment of a run, and how it differs from the one here: code, libraries, processor, threads.

The last bits of a float depend on all four. If the three besides code are the same, two trainings of one config must be identical; this
decides how strictly a reproduction is judged. Other code is reported but judged no more mildly: whether it gives the same result is the
question.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clickflow.tracking.lineage import UNKNOWN, GitState
from clickflow.tracking.names import COMMIT_TAG, CPU_TAG, DIRTY_TAG, THREADS_TAG

LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "polars", "pyarrow")
"""Libraries that take part in turning the prepared data into a metric."""


@dataclass(frozen=True)
class RunEnvironment:
    """The code of a run, the versions of Python and the libraries, the processor with its instructions, and torch's threads."""

    code: GitState
    versions: Mapping[str, str]
    cpu: str
    threads: str

    @classmethod
    def of_run(cls, tags: Mapping[str, str], environment: str) -> "RunEnvironment":
        """Read it from a run's tags and its ``environment.txt``; what a run does not say is ``unknown``."""
        return cls(
            GitState(tags.get(COMMIT_TAG, UNKNOWN), tags.get(DIRTY_TAG, UNKNOWN)),
            _versions(environment),
            tags.get(CPU_TAG, UNKNOWN),
            tags.get(THREADS_TAG, UNKNOWN),
        )


def same_machine(old: RunEnvironment, new: RunEnvironment) -> bool:
    """Whether the same code must give identical numbers: libraries, processor and threads are known and the same."""
    known = UNKNOWN not in (old.cpu, old.threads, *old.versions.values())
    return known and (old.versions, old.cpu, old.threads) == (new.versions, new.cpu, new.threads)


def changes(old: RunEnvironment, new: RunEnvironment) -> list[str]:
    """Differences from now, and what cannot be known, one line each."""
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
