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

from clickflow.data.predictions import read_predictions
from clickflow.data.raw_rows import raw_rows
from clickflow.errors import ClickflowError, PromotionError
from clickflow.promotion.candidate import Candidate
from clickflow.promotion.signatures import call_problems
from clickflow.runs.evaluate import open_dataset, read_config
from clickflow.tracking.logged_model import input_example, load_model, read_bundle, read_signature
from clickflow.tracking.run import Run
from clickflow.tracking.search import fetch_artifact
from clickflow.tracking.store import Store

VALIDATION_ROWS = 200
TOLERANCE = 1e-5
"""Between float32 sums of batches of other sizes."""


def check_model(store: Store, candidate: Candidate, home: Path) -> None:
    """Load a candidate's model and try it on its input example and on rows of the validation split, as raw ids.

    Raises:
        TrackingError: its files are missing or not as they were logged.
        PromotionError: it predicts nothing useful, or not what its run predicted.
    """
    model = check_served(store, candidate.uri)
    with contextlib.closing(Run(store, candidate.run.run_id)) as run, tempfile.TemporaryDirectory() as scratch:
        dataset = open_dataset(run, read_config(run, Path(scratch)), home)
        expected, _, _ = read_predictions(fetch_artifact(store, run.id, "predictions/validation.parquet", Path(scratch)))
    rows = np.unique(np.linspace(0, len(expected) - 1, VALIDATION_ROWS).astype(np.int64))
    preds = _predict(model, candidate.uri, raw_rows(dataset, "validation", rows))
    worst = float(np.abs(preds - expected[rows]).max())
    if worst > TOLERANCE:
        raise PromotionError(
            f"model {candidate.uri}: predicts other probabilities than its run {candidate.run.run_id} did (by up to {worst:.2g}, on "
            f"{len(rows)} validation rows; {TOLERANCE:g} is allowed): its files are not those of the run, or this machine computes "
            "otherwise than the one it was trained on; train it again here."
        )


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


def check_calls(store: Store, uri: str, champion_uri: str) -> None:
    """Raise a PromotionError where the champion's callers could not call the model."""
    problems = call_problems(read_signature(store, uri), read_signature(store, champion_uri))
    if problems:
        raise PromotionError(
            f"model {uri}: callers of the champion {champion_uri} could not call it: it {'; it '.join(problems)}; train a model on the "
            "champion's fields, or set name=NAME to register it beside the champion."
        )


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
