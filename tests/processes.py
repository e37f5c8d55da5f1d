"""Processes that a test started and that have to be gone when it is over."""

import time

import psutil


def still_alive(processes, timeout_seconds):
    """Those that are alive after the timeout; they are killed.

    A process that ended and that nobody has asked about yet is gone: whoever adopted it, not the test, has to ask.
    """
    deadline = time.monotonic() + timeout_seconds
    alive = list(processes)
    while alive := [process for process in alive if _is_alive(process)]:
        if time.monotonic() > deadline:
            for survivor in alive:
                survivor.kill()
            return alive
        time.sleep(0.05)
    return []


def _is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
