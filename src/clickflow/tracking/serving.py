"""The model as MLflow serves it: raw ids in, click probability out.

MLflow runs this very file when it loads a model ("models from code"), so the model is code and data and no pickled object; the package's
folder travels with it. MLflow demands the names ``load_context(self, context)``, ``predict`` and the call of ``set_model`` at the end.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from pydantic import TypeAdapter
from pydantic_core import to_json

from clickflow.models import ModelConfig, build_model
from clickflow.tracking.bundle import ServingBundle
from clickflow.tracking.encoding import RowEncoder

with warnings.catch_warnings():  # where warnings are errors, MLflow's about its own type hints would stop the import
    warnings.simplefilter("ignore", UserWarning)
    from mlflow.pyfunc.model import PythonModel, PythonModelContext

BUNDLE = "bundle"
ROWS_PER_BATCH = 8192  # bounds memory, whatever the size of a request


class ClickModel(PythonModel):
    """Scores candidates; one row is one candidate with its user's history."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the bundle and build the model."""
        bundle = ServingBundle.read(Path(context.artifacts[BUNDLE]))
        config = TypeAdapter[Any](ModelConfig).validate_json(to_json(bundle.model_config))  # JSON mode: a list may fill a tuple
        self._model = build_model(config, bundle.schema)
        self._model.load_state_dict(bundle.state_dict)
        self._model.eval()
        self._encoder = RowEncoder(bundle)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score R rows.

        Args:
            context: not needed after loading; MLflow passes it.
            model_input: ``item``, ``history`` and optional user and context columns.
            params: none are defined.

        Returns:
            one column ``probability``, (R,) float64.

        Raises:
            DataError: an id or a number cannot be read; names the column.
        """
        preds = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(model_input), ROWS_PER_BATCH):
                batch = self._encoder.encode(model_input.iloc[start : start + ROWS_PER_BATCH])
                preds.append(torch.sigmoid(self._model(batch).logit.double()).numpy())
        return pd.DataFrame({"probability": np.concatenate(preds)})


set_model(ClickModel())
