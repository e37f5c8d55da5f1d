"""Three trained runs in one store, made once; a test registers under a name of its own."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.runs.small import small_config

from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.registry import Registry
from clickflow.runs.train import TrainedRun, train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import Store, open_store

SMALL_EPOCH = ["model=base", "trainer.max_epochs=1"]


@dataclass(frozen=True)
class Trained:
    """Two runs of one data set and one of another; whatever a test changes of them it puts back."""

    home: Path
    runs: tuple[TrainedRun, TrainedRun]
    other_data: TrainedRun

    @property
    def store(self) -> Store:
        return open_store(TrackingConfig(), self.home)

    @property
    def client(self) -> MlflowClient:
        return self.store.client

    def registry(self, name: str) -> Registry:
        return Registry(self.store, name)

    def config(self, name: str, **values) -> PromoteConfig:
        """``min_effect=-0.9`` lets any model pass, ``0.9`` none."""
        return PromoteConfig(name=name, home=self.home, tracking=TrackingConfig(), **values)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    home = tmp_path_factory.mktemp("promotion") / "home"
    first = train(small_config(home, *SMALL_EPOCH))
    second = train(small_config(home, *SMALL_EPOCH, "seed=1", "trainer.max_epochs=2"))
    other = train(small_config(home, *SMALL_EPOCH, "data.num_impressions=3000", "tracking.experiment_name=other"))
    return Trained(home, (first, second), other)


@pytest.fixture
def name(request):
    """Of the registered model."""
    return request.node.name.replace("[", "-").replace("]", "")
