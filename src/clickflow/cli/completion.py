"""Completion of ``clickflow COMMAND …`` in bash and zsh.

Hydra's own script knows one executable without commands, and Python files that contain ``@hydra.main``. So the script is ours; which words
are possible is Hydra's answer.
"""

import os
import sys
from collections.abc import Sequence

import hydra

from clickflow.cli.commands import COMMANDS, Command
from clickflow.cli.first_config import asks_for_first_config
from clickflow.cli.main import show
from clickflow.cli.search_path import CONF, further_configs
from clickflow.errors import ConfigError

SHELLS = ("bash", "zsh")
SCRIPT = """\
[ -n "${ZSH_VERSION-}" ] && autoload -U +X bashcompinit && bashcompinit
_clickflow() {
    local before="${COMP_LINE:0:$COMP_POINT}" word
    word="${before##* }"
    COMPREPLY=($(compgen -W "$(COMP_LINE="$before" clickflow -sc query=bash 2>/dev/null)" -- "$word"))
    # bash replaces what follows the last = or : only, where these break words
    local breaks="${COMP_WORDBREAKS-}"
    [[ "$breaks" == *=* && "$word" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")
    true
}
complete -o nospace -o default -F _clickflow clickflow"""


def complete(arguments: Sequence[str], command: Command | None) -> None:
    """Answer ``-sc install=SHELL``, ``-sc uninstall=SHELL`` or ``-sc query=SHELL``; without a command ``COMP_LINE`` names it."""
    what, _, shell = (arguments[0] if len(arguments) == 1 else "").partition("=")
    if what not in ("install", "uninstall", "query") or shell not in SHELLS:
        allowed = " and ".join(SHELLS)
        raise ConfigError(f'-sc {" ".join(arguments)}: no such completion; allowed are {allowed}: eval "$(clickflow -sc install=bash)"')
    if what == "query":
        _query(command)
    else:
        show(SCRIPT if what == "install" else "complete -r clickflow; unset -f _clickflow")


def _query(command: Command | None) -> None:
    """Print the words that are possible where ``COMP_LINE`` ends."""
    words = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if command is None and len(words) < 2:
        print(" ".join(f"{name} " for name in COMMANDS))
        return
    if command is None:
        command = COMMANDS.get(words[0])
    if command is None:
        return
    if words and words[0] == command.name:
        words = words[1:]
    if command.aside and asks_for_first_config(words):
        return  # files are next, which the shell completes itself
    os.environ["COMP_LINE"] = " ".join(["clickflow", *words])
    sys.argv[1:] = ["-sc", "query=bash"]
    with further_configs(None):
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.name)(lambda _: None)()
