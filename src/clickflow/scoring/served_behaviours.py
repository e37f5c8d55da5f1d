"""Behaviours for a server: read once, written as a folder that each of its processes maps into memory."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from clickflow.data.schema import USER
from clickflow.errors import ConfigError, DataError, system_reason
from clickflow.scoring.behaviours import read_behaviours
from clickflow.serving.behaviour_table import FOLDER_VARIABLE
from clickflow.serving.config import BehavioursConfig
from clickflow.serving.ids import IdTable
from clickflow.tracking.logged_model import read_bundle, read_signature
from clickflow.tracking.store import Store


@contextmanager
def served_behaviours(
    config: BehavioursConfig, store: Store, uri: str, home: Path, say: Callable[[str], None] = lambda sentence: None
) -> Iterator[dict[str, str]]:
    """Yield the environment variables by which a server finds the behaviours of a config; none without a path.

    The folder is removed at the end.

    Args:
        config: where the table is.
        store: the store that has the model.
        uri: of the model that is served.
        home: folder to write into.
        say: takes what is worth to know about the table, in sentences.

    Raises:
        ConfigError: the model cannot take histories of behaviours.
        DataError: the table cannot be read, or the folder cannot be written.
    """
    if config.path is None:
        yield {}
        return
    signature = read_signature(store, uri)
    if signature is None or USER not in signature.inputs.input_names():
        raise ConfigError(
            f"behaviours.path = {', '.join(map(str, config.path))}: {uri} was logged by a version of clickflow whose models take no user; "
            "leave it out, or train the model again"
        )
    bundle = read_bundle(store, uri)
    table = read_behaviours(config, bundle, IdTable(bundle.items["raw"], np.arange(len(bundle.items))), say)
    try:
        scratch = tempfile.TemporaryDirectory(prefix="behaviours-", dir=home)
    except OSError as error:
        raise _unwritable(home, error) from error
    with scratch as folder:
        try:
            table.write(Path(folder))
        except OSError as error:
            raise _unwritable(home, error) from error
        del table, bundle  # the server's processes share what is written
        yield {FOLDER_VARIABLE: folder}


def _unwritable(home: Path, error: OSError) -> DataError:
    return DataError(
        f"home = {home}: the behaviours cannot be written there ({system_reason(error)}); free some space or set home=FOLDER to another."
    )
