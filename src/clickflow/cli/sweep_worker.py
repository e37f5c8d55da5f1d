"""A worker process of a sweep: started by ``clickflow sweep``, which writes its task to the input."""

import sys

from clickflow.cli.composer import HydraComposer
from clickflow.cli.launch import report, set_environment
from clickflow.errors import EXIT_CODE_ERROR, EXIT_CODE_INTERRUPTED, ClickflowError
from clickflow.sweep.processes import read_worker_spec
from clickflow.sweep.worker import work


def main() -> None:
    """Work until the sweep is complete."""
    set_environment()
    try:
        spec = read_worker_spec()
        work(spec, HydraComposer(spec.overrides, spec.config_dir))
    except ClickflowError as error:
        report(error)
        sys.exit(EXIT_CODE_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_CODE_INTERRUPTED)


if __name__ == "__main__":
    main()
