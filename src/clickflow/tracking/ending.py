"""The end of a run: the status that is true and, where it did not finish, the reason and the traceback."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from clickflow.errors import without_passwords
from clickflow.text import first_line
from clickflow.tracking.names import ERROR_TAG
from clickflow.tracking.run import Run

logger = logging.getLogger(__name__)


@contextmanager
def ending(run: Run, task: str | None = None) -> Iterator[None]:
    """Close a run at the end of the block and set its status, or with a task the status of what was added to it.

    The status is FINISHED, or what the exception in flight makes of it.
    """

    def set_status(status: str) -> None:
        if task is None:
            run.terminate(status)
        else:
            run.set_tags({f"{task}.status": status})

    try:
        yield
        run.close()
        set_status("FINISHED")
    except BaseException as error:
        error_tag, file = (ERROR_TAG, "traceback.txt") if task is None else (f"{task}.error", f"{task}_traceback.txt")
        _end_after(error, run, error_tag, f"error/{file}", set_status)
        raise


def status_after(error: BaseException) -> str:
    """The status of a run that an exception ended."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED"
    if isinstance(error, SystemExit):
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning answers Ctrl-C with sys.exit(1)
            return "KILLED"
        return "FINISHED" if error.code in (None, 0) else "FAILED"
    return "FAILED"


def _end_after(error: BaseException, run: Run, error_tag: str, traceback_file: str, set_status: Callable[[str], None]) -> None:
    """Record how and why a run ended: the status first, since a full disk may take one more write and no second one.

    A store that fails now must not hide the error in flight; a second Ctrl-C must skip neither the status nor the other steps.
    """
    status = status_after(error)

    def set_status_even_if_interrupted() -> None:
        try:
            set_status(status)
        except KeyboardInterrupt:
            set_status(status)
            raise

    steps: list[Callable[[], object]] = [set_status_even_if_interrupted]
    if status != "FINISHED":
        steps.append(lambda: run.set_tags({error_tag: _reason(error)}))
        steps.append(lambda: run.log_text(without_passwords("".join(traceback.format_exception(error))), traceback_file))
    steps.append(run.close)
    with ExitStack() as stack:  # calls the last one first, and the rest even when one is interrupted
        for step in reversed(steps):
            stack.callback(attempt, step)


def attempt(step: Callable[[], object]) -> None:
    """Do a step; if it fails, warn instead of raising."""
    try:
        step()
    except Exception as second:
        logger.warning("%s", second)


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return first_line(error.__context__)
    return first_line(error)
