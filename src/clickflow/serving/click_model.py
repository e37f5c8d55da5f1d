"""The model as MLflow serves it: raw ids in, click probability out.

MLflow demands the names ``load_context(self, context)`` and ``predict``; :mod:`clickflow.serving.model_code` hands it the model.
"""

import warnings
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from clickflow.data.schema import HISTORY, ITEM
from clickflow.errors import DataError
from clickflow.serving.behaviour_table import given_behaviours
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.candidates import CandidateRows, count_candidates
from clickflow.serving.encoder import Encoder
from clickflow.serving.server_guard import RequestError, guard_server

with warnings.catch_warnings():  # where warnings are errors, MLflow's about its own type hints would stop the import
    warnings.simplefilter("ignore", UserWarning)
    from mlflow.pyfunc.model import PythonModel, PythonModelContext

BUNDLE = "bundle"
ROWS_PER_BATCH = 8192  # bounds memory for requests of any size


class ClickModel(PythonModel):
    """A model that scores candidates; one row is one candidate, or one user with a list of them."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the bundle and build the model, map a table of behaviours if there is one, and in MLflow's server limit requests."""
        bundle = ServingBundle.read(Path(context.artifacts[BUNDLE]))
        self.network, self.schema, self.max_history = bundle.build_model(), bundle.schema, bundle.max_history
        self.example = input_example(bundle)
        self._encoder = Encoder(bundle)
        self._behaviours = given_behaviours(bundle.histories, self._encoder.items.ids)
        self._limits = guard_server()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score the candidates of R rows as :class:`CandidateRows` has them.

        Returns:
            one column ``probability`` of R values: float64, or a list with one for each candidate where a row lists them.

        Raises:
            RequestError: an id or a number cannot be read; names the column.
        """
        starts = range(0, len(model_input), ROWS_PER_BATCH)
        try:
            if self._limits is not None:
                self._limits.check_candidates(count_candidates(model_input[ITEM].to_numpy()))
            with torch.inference_mode():
                answers = [self._score(model_input.iloc[start : start + ROWS_PER_BATCH], start) for start in starts]
        except DataError as error:
            raise RequestError(str(error)) from None
        if all(isinstance(answer, np.ndarray) for answer in answers):
            return pd.DataFrame({"probability": np.concatenate([np.empty(0), *answers])})
        return pd.DataFrame({"probability": list(chain.from_iterable(answers))}, dtype=object)

    def _score(self, frame: pd.DataFrame, first_row: int) -> list[Any] | NDArray[np.float64]:
        """(R,) probabilities, or lists of them."""
        candidates = CandidateRows(frame, first_row, self._behaviours)
        batch = candidates.encoded(self._encoder)
        parts = [batch]
        if not 0 < len(batch) <= ROWS_PER_BATCH:  # no rows, no parts: not every model takes none
            parts = [batch.part(start, start + ROWS_PER_BATCH) for start in range(0, len(batch), ROWS_PER_BATCH)]
        preds = [torch.sigmoid(self.network(part).logit.double()).numpy() for part in parts]
        return candidates.gathered(np.concatenate([np.empty(0), *preds]))


def input_example(bundle: ServingBundle) -> pd.DataFrame:
    """Two rows to try the model with: one with a history, one without."""
    known = bundle.items["raw"].drop_null().slice(0, 3).to_pylist()
    rows: dict[str, list[Any]] = {ITEM: [known[0], known[-1]], HISTORY: [known, []]}
    for field in bundle.schema.impression_fields:
        example = bundle.vocabularies[field.name]["raw"].slice(0, 1).to_pylist()
        if example:
            rows[field.name] = example * 2
    rows |= {field.name: [field.mean] * 2 for field in bundle.schema.numeric if field.role != "item"}
    return pd.DataFrame(rows)
