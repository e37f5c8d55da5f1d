"""Keep the store in order: ``make gc``, or ``python pipelines/gc.py dry_run=true``."""

from rich.console import Console

from clickflow.cli.launch import launch
from clickflow.errors import TrackingError
from clickflow.upkeep.cleanup import CleanupConfig, clean


def main(config: CleanupConfig, console: Console) -> None:
    """Clean, line by line, and say how much is free now.

    Raises:
        TrackingError: some of it could not be done.
    """
    freed, failures = 0, []
    for done in clean(config):
        console.print(f"failed: {done.error}" if done.error else done.step.what, soft_wrap=True, markup=False)
        if done.error:
            failures.append(done.error)
        else:
            freed += done.step.frees
    console.print(f"{'would free' if config.dry_run else 'freed'} {freed / 1e6:,.1f} MB")
    if config.dry_run:
        console.print("dry run: nothing was done. next: the same without [bold]dry_run=true[/]")
    if failures:
        raise TrackingError(f"{len(failures)} steps failed, as printed above; mend what they name and run it again")


if __name__ == "__main__":
    launch("gc", CleanupConfig, main)
