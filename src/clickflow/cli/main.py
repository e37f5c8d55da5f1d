"""The console command: ``clickflow COMMAND …``, which does what ``python pipelines/COMMAND.py …`` does.

Imported here is only what Python has loaded at its start: what to do on Ctrl-C has to be settled before the first import that takes time.
"""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # as mypy knows it, without importing typing for it
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn

ANSWERED_AT_ONCE = ("-h", "--help", "-c", "--cfg", "-i", "--info", "--hydra-help", "-sc", "--shell-completion", "--version", "--from")
"""Options that read no config, or whose answer may be read by another program, so that nothing else is printed."""


def main() -> None:
    """Run the command that the command line names."""
    end_at_once_on_signals()
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    from clickflow.cli.commands import COMMANDS

    if name in COMMANDS:
        run(name, arguments)
    elif name in ("--help", "-h"):
        from clickflow.cli.help import command_list

        show(command_list())
    elif name == "--version":
        from clickflow import __version__

        print(f"clickflow {__version__}")
    elif name in ("-sc", "--shell-completion"):
        from clickflow.cli.launch import complete_or_report

        complete_or_report(arguments)
    else:
        import difflib

        close = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(COMMANDS)}"
        print(f"clickflow {name}: no such command; {hint}", file=sys.stderr)
        sys.exit(2)


def run(name: str, arguments: "Sequence[str] | None" = None) -> "NoReturn":
    """Run one command with its arguments, or with those of this process, and end the process."""
    end_at_once_on_signals()
    arguments = sys.argv[1:] if arguments is None else arguments
    if not any(argument.partition("=")[0] in ANSWERED_AT_ONCE for argument in arguments):
        print(f"· {name}: reading the config …", flush=True)  # what follows takes a second or more on a busy machine
    from clickflow.cli.launch import launch

    launch(name, arguments)
    sys.exit()


def show(text: str) -> None:
    """Print a text that may be piped into a program that reads only its beginning."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(text, flush=True)
    signal.signal(signal.SIGPIPE, before)


def end_at_once_on_signals() -> None:
    """End without a traceback on Ctrl-C and SIGTERM, for as long as nothing is open."""
    signal.signal(signal.SIGINT, _end_at_once)
    signal.signal(signal.SIGTERM, _end_at_once)


def _end_at_once(number: int, frame: "FrameType | None") -> None:
    os.write(2, b"\ninterrupted\n")
    os._exit(130)  # EXIT_CODE_INTERRUPTED
