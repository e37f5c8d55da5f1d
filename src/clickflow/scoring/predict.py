"""Score a table with a model: from a config to a Parquet file."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from clickflow.data.sources.source import several
from clickflow.errors import DataError
from clickflow.scoring.behaviours import behaviour_files, read_behaviours
from clickflow.scoring.catalogue import Catalogue
from clickflow.scoring.config import PredictConfig
from clickflow.scoring.input_tables import InputTable, TableRows, open_table, state_of
from clickflow.scoring.parallel import in_order
from clickflow.scoring.partial import OutputError, PartialOutput, refuse_output
from clickflow.scoring.row_histories import RowHistories
from clickflow.scoring.scorers import RowScorer, Scorer, TopScorer
from clickflow.scoring.table_encoder import TableEncoder, makers_of_histories
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.ids import IdTable
from clickflow.tracking.location import FoundModel, find_model
from clickflow.tracking.logged_model import read_bundle
from clickflow.tracking.store import open_store

Say = Callable[[str], None]
"""Takes a sentence about the progress of the work."""
RowProgress = Callable[[int, int | None], None]
"""Takes the number of rows that are done, and of all rows where it is known."""

NOT_THE_SCORES = {"model", "input", "output", "candidates", "overwrite", "home", "tracking"}
"""Keys of the config that the scores do not depend on, or that the identity holds more exactly."""


@dataclass(frozen=True)
class Predicted:
    """A finished output."""

    model: str  # URI, without an alias
    num_rows: int
    num_output_rows: int
    num_scored: int  # rows of the input that this call scored; earlier calls had scored the others
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows scored per second."""
        return self.num_scored / self.seconds


def predict(config: PredictConfig, say: Say = lambda sentence: None, progress: RowProgress = lambda done, total: None) -> Predicted:
    """Score the input of a config, or carry on where an earlier call with this config was cut short.

    Raises:
        DataError: the input cannot be read or scored, or the output cannot be written; there is no output then.
        TrackingError: there is no such model.
        ConfigError: the config names a field that the model does not have.
    """
    refuse_output(config.output, config.overwrite)
    table = open_table(config.input, "input", config)
    candidates = None if config.candidates is None else open_table(config.candidates, "candidates", config)
    _refuse_unfit_columns(config, table, candidates)
    store = open_store(config.tracking, config.home)
    model = find_model(store, config.model)
    say(f"model {config.model}" + (f" is {model.uri}" if model.uri != config.model else "") + f", of run {model.run_id}")
    scorer = _scorer(config, read_bundle(store, model.uri), table, candidates, say)
    kept = _kept(config, table, scorer)
    with PartialOutput(config.output, scorer.record, _identity(config, model, table, candidates)) as partial:
        if partial.changed:
            say(f"starting over; changed since {config.output} was started: {', '.join(partial.changed)}")
        try:
            done = _write(table, kept, scorer, partial, model, progress)
            if done.num_scored:
                say(f"unknown to the model: {scorer.unknown}")
            return done
        except KeyboardInterrupt:
            say(f"{partial.num_recorded:,} rows are scored and kept; the same command carries on")
            raise
        except DataError as error:
            if not isinstance(error, OutputError):  # with another input nothing of it can be carried on with
                partial.discard()
            raise


def _refuse_unfit_columns(config: PredictConfig, table: InputTable, candidates: InputTable | None) -> None:
    """Refuse tables without a column that the config names, or with two origins of a history, before the model is looked for and loaded.

    Raises:
        DataError: names each.
    """
    from_behaviours = config.behaviours.path is not None
    named = {column: f"columns.fields.{name}" for name, column in config.columns.fields.items()}
    named |= {column: f"columns.{name}" for name, column in makers_of_histories(config.columns, from_behaviours).items()}
    if from_behaviours and config.columns.history in table.schema.names:
        raise DataError(
            f"{table.name}, column '{config.columns.history}': a history, and behaviours.path makes histories too; leave out one of them "
            "(columns.history names another column)."
        )
    (table if candidates is None else candidates).refuse_absent({config.columns.item: "columns.item"})
    table.refuse_absent(dict.fromkeys(config.keep or (), "keep") | named)


def _scorer(config: PredictConfig, bundle: ServingBundle, table: InputTable, candidates: InputTable | None, say: Say) -> Scorer:
    """Make the scorer that the config asks for."""
    histories = None
    if config.behaviours.path is not None:
        behaviours = read_behaviours(config.behaviours, bundle, IdTable(bundle.items["raw"], np.arange(len(bundle.items))), say)
        histories = RowHistories(behaviours, config.behaviours, config.columns, config)
    encoder = TableEncoder(bundle, table, config.columns, config.history_separator, histories)
    if encoder.absent:
        say(f"fields that the input does not have, unknown in every row: {', '.join(encoder.absent)}")
    if candidates is None or config.top_k is None:
        return RowScorer(bundle, encoder)
    chosen = Catalogue(candidates, config.columns.item, encoder.items)
    say(f"{len(chosen):,} candidates" + (f", {chosen.num_repeated:,} duplicate rows ignored" if chosen.num_repeated else ""))
    return TopScorer(bundle, encoder, chosen, config.top_k, config.exclude_history)


def _write(
    table: InputTable, kept: list[str], scorer: Scorer, partial: PartialOutput, model: FoundModel, progress: RowProgress
) -> Predicted:
    """Replay the journal, score the remaining rows, and write the output."""
    total, num_rows, num_output_rows, num_scored, start = table.num_rows, 0, 0, 0, time.perf_counter()
    needed = list(dict.fromkeys([*scorer.columns, *kept]))
    with partial.writer(pa.schema([*(table.schema.field(name) for name in kept), *scorer.added])) as write:
        for rows, results, is_new in _results(table.rows(needed, scorer.rows_per_read), scorer, partial):
            if is_new:
                partial.record(results)
                num_scored += len(results)
            found = scorer.output(rows.batch.select(kept), results)
            write(found)
            num_rows, num_output_rows = num_rows + len(results), num_output_rows + len(found)
            progress(num_rows, total)
    return Predicted(model.uri, num_rows, num_output_rows, num_scored, time.perf_counter() - start)


def _results(stream: Iterator[TableRows], scorer: Scorer, partial: PartialOutput) -> Iterator[tuple[TableRows, NDArray[Any], bool]]:
    """Yield every batch of the stream with its results, and whether these are new."""
    for rows in stream:
        recorded = partial.replay(len(rows.batch))
        if recorded is None:
            stream = itertools.chain([rows], stream)
            break
        yield rows, recorded, False
    for rows, results in in_order(stream, scorer.score, torch.get_num_threads()):
        yield rows, results, True


def _kept(config: PredictConfig, table: InputTable, scorer: Scorer) -> list[str]:
    """Choose the columns of the input that go into the output; a DataError if one has the name of a new column."""
    kept = [name for name in table.schema.names if name != config.columns.history] if config.keep is None else list(config.keep)
    problems = [
        f"{table.name}, column '{name}': the output has a column of that name for what is found; rename it, or leave it out by keep=[…]"
        for name in kept
        if name in scorer.added.names
    ]
    if problems:
        raise several(problems, "the columns to keep")
    return kept


def _identity(config: PredictConfig, model: FoundModel, table: InputTable, candidates: InputTable | None) -> dict[str, Any]:
    """All that the scores depend on."""
    return {
        "model": [model.uri, model.run_id],
        "input": table.state,
        "candidates": None if candidates is None else candidates.state,
        "behaviours": state_of(behaviour_files(config.behaviours)),
        "settings": config.model_dump(mode="json", exclude=NOT_THE_SCORES),
        "versions": {name: metadata.version(name) for name in ("clickflow", "numpy", "pyarrow", "torch")},
    }
