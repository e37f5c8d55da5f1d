"""Keep the store in order: ``make gc``, or ``clickflow gc dry_run=true``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("gc")

from rich.console import Console

from clickflow.errors import TrackingError
from clickflow.upkeep.cleanup import clean
from clickflow.upkeep.config import CleanupConfig


def main(config: CleanupConfig, console: Console) -> None:
    """Clean, line by line, and say how much is free now; a TrackingError if some of it could not be done."""
    freed, failures = 0, []
    for done in clean(config):
        console.print(f"failed: {done.error}" if done.error else done.what, soft_wrap=True, markup=False)
        if done.error:
            failures.append(done.error)
        else:
            freed += done.frees
    console.print(f"{'would free' if config.dry_run else 'freed'} {freed / 1e6:,.1f} MB")
    if config.dry_run:
        console.print("dry run: nothing was done. next: the same without [bold]dry_run=true[/]")
    if failures:
        raise TrackingError(f"{len(failures)} steps failed, as printed above; mend what they name and run it again")
