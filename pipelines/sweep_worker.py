"""A worker process of a sweep: started by ``pipelines/sweep.py``, told what to do through its input."""

import sys

from clickflow.errors import EXIT_CODE_ERROR, EXIT_CODE_INTERRUPTED, ClickflowError
from clickflow.sweep.processes import read_order
from clickflow.sweep.worker import work
from pipelines.composer import HydraComposer
from pipelines.launch import report, set_environment


def main() -> None:
    """Work until the sweep is complete."""
    set_environment()
    try:
        order = read_order()
        work(order, HydraComposer(order.overrides, order.config_dir))
    except ClickflowError as error:
        report(error)
        sys.exit(EXIT_CODE_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_CODE_INTERRUPTED)


if __name__ == "__main__":
    main()
