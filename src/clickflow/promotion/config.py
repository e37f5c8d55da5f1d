"""Config of a promotion, a rollback and the list of decisions."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from clickflow.config import Contradictions, Home, StrictConfig
from clickflow.tracking.config import TrackingConfig


def _plain(name: str) -> str:
    """A name that needs no quoting in a URI or a query."""
    if not re.fullmatch(r"[\w.\-]+", name):
        raise ValueError("a registered model's name; allowed: letters, digits, _, . and -")
    if re.search(r"\.decision-\d+$", name):
        raise ValueError("another name: one that ends like this is made, for a moment, for each decision about a model")
    return name


class PromoteConfig(StrictConfig):
    """The run that is to become champion, the registered model, and how much better the run has to be."""

    name: Annotated[str, Field(max_length=200), AfterValidator(_plain)]
    """Name of the registered model: letters, digits, ``_``, ``.`` and ``-``."""
    experiment_name: Annotated[str, Field(min_length=1)] | None = None
    """MLflow experiment to choose the best finished run from; null: the run's or the champion's, or the only one with finished runs."""
    run_id: Annotated[str, Field(min_length=1)] | None = None
    """Run to promote; null: the best by ``metric`` on the validation split."""
    metric: Literal["val/auc", "val/gauc", "val/list_gauc", "val/mrr", "val/ndcg_5", "val/ndcg_10"] = "val/gauc"
    """Metric by which the best run is chosen, on the validation split; the gate tests the same on the test split."""
    min_effect: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    """The confidence interval of the difference to the champion must be above this; negative: how much worse is still good enough."""
    alpha: Annotated[float, Field(ge=0.001, lt=0.5)] = 0.05
    """The difference's interval has this chance to miss the true one, half of it above."""
    dry_run: bool = False
    """Say what would be done, and leave the registry as it is."""
    rollback: bool = False
    """Make what the champion replaced the champion again."""
    history: bool = False
    """Print all decisions about the registered model."""
    home: Home
    tracking: TrackingConfig

    def _contradictions(self) -> Contradictions:
        if self.rollback and self.history:
            yield "rollback", "= True and history = True: ask for one at a time"
        if self.rollback or self.history:
            key = "rollback" if self.rollback else "history"
            for given, value in (("experiment", self.experiment_name), ("run_id", self.run_id)):
                if value is not None:
                    yield given, f"= {value}: {key}=true chooses no run; leave it out"
