"""The checks of a model before it is registered: it is complete, predicts what its run predicted, and can be called like the champion.

Decision: the files that would be served are tried on raw ids, through the interface that serves. So a model that was trained well but
cannot be served is found here and not by the first request.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array
from numpy.typing import NDArray

from clickflow.data.dataset import PreparedDataset
from clickflow.data.predictions import read_predictions
from clickflow.data.raw_rows import raw_rows
from clickflow.errors import ClickflowError, PromotionError, TrackingError
from clickflow.promotion.challenger import Challenger
from clickflow.runs.config import RunConfig
from clickflow.runs.evaluate import LoadedModel, check_schema
from clickflow.runs.logged_config import read_config
from clickflow.runs.run_dataset import open_dataset
from clickflow.serving.click_model import ClickModel
from clickflow.tracking.contents import fetched
from clickflow.tracking.location import FoundModel
from clickflow.tracking.logged_model import load_model, read_signature
from clickflow.tracking.store import Store

VALIDATION_ROWS = 200
TOLERANCE = 1e-5
"""Allowed difference of predictions: batches of another size sum float32 in another order."""


@dataclass(frozen=True)
class CheckedChallenger:
    """A challenger that passed its checks, with everything that its evaluation needs.

    Attributes:
        challenger: the run to promote.
        config: of its run.
        dataset: of its run.
        model: the model that would be served.
        signature: inputs and outputs of the model; None if it was logged without a signature.
    """

    challenger: Challenger
    config: RunConfig
    dataset: PreparedDataset
    model: LoadedModel
    signature: ModelSignature | None


def check_model(store: Store, challenger: Challenger, home: Path) -> CheckedChallenger:
    """Load a challenger's model and try it on its input example and on rows of the validation split, as raw ids.

    Raises:
        TrackingError: its files are missing or not as they were logged.
        PromotionError: it predicts nothing useful, or not what its run predicted.
    """
    run_id = challenger.run.run_id
    served = check_served(store, challenger.uri)
    model: ClickModel = served.unwrap_python_model()
    config = read_config(store, challenger.run)
    dataset = open_dataset(challenger.run, config, home)
    check_schema(FoundModel(challenger.uri, run_id), model.schema, dataset)
    with fetched(store, run_id, "predictions/validation.parquet") as predictions:
        expected, _, _ = read_predictions(predictions)
    rows = np.unique(np.linspace(0, len(expected) - 1, VALIDATION_ROWS).astype(np.int64))
    preds = _predict(served, challenger.uri, raw_rows(dataset, "validation", rows))
    worst = float(np.abs(preds - expected[rows]).max())
    if worst > TOLERANCE:
        raise PromotionError(
            f"model {challenger.uri}: predicts other probabilities than its run {run_id} did (by up to {worst:.2g}, on "
            f"{len(rows)} validation rows; {TOLERANCE:g} is allowed): its files are not those of the run, or this machine computes "
            "otherwise than the one it was trained on; train it again here."
        )
    trainer = config.trainer.model_copy(update={"max_history": model.max_history})
    return CheckedChallenger(challenger, config, dataset, LoadedModel(model.network, trainer), served.metadata.signature)


def check_served(store: Store, uri: str) -> Any:
    """Load a model by URI as a server does, try it on its input example, and return MLflow's pyfunc model.

    Raises:
        TrackingError: its files are missing or not as they were logged, or it is not a clickflow model.
        PromotionError: it predicts nothing useful.
    """
    served = load_model(store, uri)
    model = served.unwrap_python_model()  # type: ignore[no-untyped-call]
    if not isinstance(model, ClickModel):
        raise TrackingError(f"model {uri}: is a {type(model).__name__}; only models that clickflow logged can be promoted; train one.")
    _predict(served, uri, model.example)
    return served


def check_calls(store: Store, checked: CheckedChallenger, champion_uri: str) -> None:
    """Raise a PromotionError if the champion's callers could not call the challenger."""
    problems = call_problems(checked.signature, read_signature(store, champion_uri))
    if problems:
        raise PromotionError(
            f"model {checked.challenger.uri}: callers of the champion {champion_uri} could not call it: it {'; it '.join(problems)}; "
            "train a model on the champion's fields, or set name=NAME to register it beside the champion."
        )


def call_problems(new: ModelSignature | None, old: ModelSignature | None) -> list[str]:
    """The problems that callers of a model with the signature ``old`` would have with ``new``; empty if they would notice nothing.

    Callers send columns by name. A column that the new model does not know would be dropped silently, so it counts as one that cannot be
    sent any more.
    """
    if old is None:
        return []
    if new is None:
        return ["has no signature"]
    accepted, sent = new.inputs.input_dict(), old.inputs.input_dict()
    problems = [_sending_problem(name, column, accepted.get(name)) for name, column in sent.items()]
    problems += [
        f"requires column '{name}', which callers do not send" for name, new in accepted.items() if new.required and name not in sent
    ]
    given = {} if new.outputs is None else {name: str(column.type) for name, column in new.outputs.input_dict().items()}
    read = {} if old.outputs is None else {name: str(column.type) for name, column in old.outputs.input_dict().items()}
    problems += [f"does not answer with '{name}' of type {kind}" for name, kind in read.items() if given.get(name) != kind]
    return [problem for problem in problems if problem]


def _sending_problem(name: str, sent: Any, accepted: Any) -> str:
    if accepted is None:
        return f"does not take column '{name}'"
    if not _takes(accepted.type, sent.type):
        return f"takes column '{name}' as {accepted.type}, not as {sent.type}"
    if accepted.required and not sent.required:
        return f"requires column '{name}', which callers may leave out"
    return ""


def _takes(accepted: Any, sent: Any) -> bool:
    """Whether ``accepted`` takes every value of the type ``sent``."""
    if isinstance(accepted, AnyType):
        return True
    if isinstance(accepted, Array) and isinstance(sent, Array):
        return _takes(accepted.dtype, sent.dtype)
    return bool(accepted == sent)


def _predict(model: Any, uri: str, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Predict R rows: (R,) probabilities.

    Raises:
        PromotionError: the model fails, or gives no probabilities.
    """
    try:
        preds = np.asarray(model.predict(frame)["probability"], dtype=np.float64)
    except ClickflowError as error:
        raise PromotionError(f"model {uri}: the smoke prediction failed ({error}); train it again.") from error
    except Exception as error:  # the model runs the code that was logged with it
        raise PromotionError(f"model {uri}: the smoke prediction failed ({type(error).__name__}: {error}); train it again.") from error
    wrong = ~((preds >= 0) & (preds <= 1))  # NaN is neither
    if len(preds) != len(frame) or wrong.any():
        what = f"{preds[wrong][0]}" if wrong.any() else f"{len(preds)} predictions for {len(frame)} rows"
        raise PromotionError(
            f"model {uri}: the smoke prediction gave {what}; allowed: a probability in [0, 1] for each row; train it again."
        )
    return preds
