"""The process that works on something, distinct from every other process, so that what it left when it died can be closed.

A process id is unique on one machine or in one container, and only while the process runs. So an owner is host, container, id and start
time together. Whether an owner on another machine is alive cannot be determined here and is never guessed.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import psutil

from clickflow.tracking.names import HOST_TAG, PID_TAG, STARTED_TAG


@dataclass(frozen=True)
class Owner:
    """A process that works on a run or a trial."""

    host: str
    pid: int
    started: float  # seconds since 1970

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(_host(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def of_run(cls, tags: Mapping[str, str]) -> Self | None:
        """The process that opened a run, by the run's tags; None if they do not say."""
        try:
            return cls(tags[HOST_TAG], int(tags[PID_TAG]), float(tags[STARTED_TAG]))
        except (KeyError, ValueError):
            return None

    @property
    def tags(self) -> dict[str, str]:
        """Tags that :meth:`of_run` reads."""
        return {HOST_TAG: self.host, PID_TAG: str(self.pid), STARTED_TAG: repr(self.started)}

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == _host()

    def is_alive(self) -> bool:
        """Whether its process still runs; to be asked on its own machine."""
        try:
            process = psutil.Process(self.pid)
            return bool(abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@cache
def _host() -> str:
    """The machine, and on Linux the container, in which process ids are unique."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}-{namespace.stat().st_ino if namespace.exists() else 0}"
