"""What a model must pass before it is registered: it is whole, predicts what its run predicted, and is called like the champion.

Decision: the files that would be served are tried, on raw ids, through the interface that serves. A model that was trained well and cannot
be served is found here and not by the first request.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clickflow.data.dataset import PreparedDataset
from clickflow.data.predictions import read_predictions
from clickflow.data.schema import HISTORY, ITEM
from clickflow.errors import ClickflowError, PromotionError
from clickflow.promotion.candidate import Candidate
from clickflow.runs.evaluate import open_dataset, read_config
from clickflow.tracking.model import input_example, load_model, read_bundle
from clickflow.tracking.run import Run
from clickflow.tracking.search import fetch_artifact
from clickflow.tracking.signatures import call_problems
from clickflow.tracking.store import Store

VALIDATION_ROWS = 200
TOLERANCE = 1e-5
"""Between float32 sums of batches of other sizes."""


def check_model(store: Store, candidate: Candidate) -> Any:
    """Load a candidate's model and try it on its input example and on rows of the validation split, as raw ids.

    Raises:
        TrackingError: its files are missing or not as they were logged.
        PromotionError: it predicts nothing useful, or not what its run predicted.
    """
    model = check_served(store, candidate.uri)
    with contextlib.closing(Run(store, candidate.run.run_id)) as run, tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset(run, read_config(run, Path(scratch)))
        expected, _, _ = read_predictions(fetch_artifact(store, run.id, "predictions/validation.parquet", Path(scratch)))
    rows = np.unique(np.linspace(0, len(expected) - 1, VALIDATION_ROWS).astype(np.int64))
    preds = _predict(model, candidate.uri, raw_rows(dataset, "validation", rows))
    worst = float(np.abs(preds - expected[rows]).max())
    if worst > TOLERANCE:
        raise PromotionError(
            f"model {candidate.uri}: predicts other probabilities than its run {candidate.run.run_id} did (by up to {worst:.2g}, on "
            f"{len(rows)} validation rows); its files are not those of the run; train it again."
        )
    return model


def check_served(store: Store, uri: str) -> Any:
    """Load a model by URI and try it on its input example.

    Raises:
        TrackingError: its files are missing or not as they were logged.
        PromotionError: it predicts nothing useful.
    """
    example = input_example(read_bundle(store, uri))
    model = load_model(store, uri)
    _predict(model, uri, example)
    return model


def check_calls(model: Any, uri: str, champion: Any, champion_uri: str) -> None:
    """Raise a PromotionError where the champion's callers could not call the model."""
    problems = call_problems(model, champion)
    if problems:
        raise PromotionError(
            f"model {uri}: callers of the champion {champion_uri} could not call it: it {'; it '.join(problems)}; train a model on the "
            "champion's fields, or set name=NAME to register it beside the champion."
        )


def raw_rows(dataset: PreparedDataset, split_name: str, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of a split as a caller sends them: raw ids, whole histories; an id that train has not seen is missing.

    Args:
        dataset: of the split.
        split_name: of the split.
        rows: (R,) which.
    """
    split = dataset.split(split_name)
    items = np.array([None, *dataset.raw_items().to_list()], dtype=object)
    spans = zip(split.rows["history_start"][rows], split.rows["history_end"][rows], strict=True)
    columns: dict[str, object] = {
        ITEM: items[split.rows[ITEM][rows]],
        HISTORY: [items[split.behaviours[start:end]].tolist() for start, end in spans],
    }
    for field in dataset.schema.impression_fields:
        raw = np.array([None, *dataset.vocabulary(field.name)["raw"].to_list()], dtype=object)
        columns[field.name] = raw[split.rows[f"index/{field.name}"][rows]]
    for numeric in dataset.schema.numeric:
        if numeric.role != "item":
            columns[numeric.name] = split.rows[f"numeric/{numeric.name}"][rows].astype(np.float64) * numeric.std + numeric.mean
    return pd.DataFrame(columns)


def _predict(model: Any, uri: str, frame: pd.DataFrame) -> NDArray[np.float64]:
    """(R,) probabilities.

    Raises:
        PromotionError: they are none, or the model fails.
    """
    try:
        preds = np.asarray(model.predict(frame)["probability"], dtype=np.float64)
    except ClickflowError as error:
        raise PromotionError(f"model {uri}: the smoke prediction failed ({error}); train it again.") from error
    except Exception as error:  # the model's code is whatever was logged
        raise PromotionError(f"model {uri}: the smoke prediction failed ({type(error).__name__}: {error}); train it again.") from error
    wrong = ~((preds >= 0) & (preds <= 1))  # NaN is neither
    if len(preds) != len(frame) or wrong.any():
        what = f"{preds[wrong][0]}" if wrong.any() else f"{len(preds)} predictions for {len(frame)} rows"
        raise PromotionError(
            f"model {uri}: the smoke prediction gave {what}; allowed: a probability in [0, 1] for each row; train it again."
        )
    return preds
