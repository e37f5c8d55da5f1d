"""The console command: ``clickflow train …`` does what ``python pipelines/train.py …`` does."""

import runpy
import sys


def main() -> None:
    """Run the pipeline that the first argument names."""
    command = sys.argv.pop(1)
    runpy.run_module(f"clickflow.pipelines.{command}", run_name="__main__", alter_sys=True)
