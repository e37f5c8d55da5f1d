"""Optimizers: one object to Lightning, two paths inside.

Embedding tables have sparse gradients, so their update touches the rows of the batch only and a step does not slow down as the vocabulary
grows; all other parameters take the dense path. The sparse path of Adam is torch's ``SparseAdam``: moments of rows outside the batch do
not decay.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim import SGD, Adagrad, Adam, Optimizer, SparseAdam

from clickflow.config import StrictConfig

LearningRate = Annotated[float, Field(gt=0)]


class AdamConfig(StrictConfig):
    """Adam (Kingma & Ba 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: LearningRate = 1e-3

    def build(self, dense: list[nn.Parameter], sparse: list[nn.Parameter]) -> list[Optimizer]:
        """Adam and SparseAdam."""
        return [Adam(dense, lr=self.learning_rate), SparseAdam(sparse, lr=self.learning_rate)]


class AdagradConfig(StrictConfig):
    """Adagrad (Duchi et al. 2011); exact on sparse gradients."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: LearningRate = 1e-2

    def build(self, dense: list[nn.Parameter], sparse: list[nn.Parameter]) -> list[Optimizer]:
        """Adagrad twice."""
        return [Adagrad(dense, lr=self.learning_rate), Adagrad(sparse, lr=self.learning_rate)]


class SGDConfig(StrictConfig):
    """Plain stochastic gradient descent; exact on sparse gradients."""

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.1

    def build(self, dense: list[nn.Parameter], sparse: list[nn.Parameter]) -> list[Optimizer]:
        """SGD twice."""
        return [SGD(dense, lr=self.learning_rate), SGD(sparse, lr=self.learning_rate)]


OptimizerConfig = Annotated[AdamConfig | AdagradConfig | SGDConfig, Field(discriminator="name")]


class DenseAndSparse(Optimizer):
    """Several optimizers as one, so that automatic optimisation, checkpoints and resume stay Lightning's."""

    def __init__(self, parts: list[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        self._share_groups()

    def _share_groups(self) -> None:
        # The very dicts of the parts, so that a learning-rate schedule reaches them.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every part; the closure runs once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """State of every part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore every part."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> DenseAndSparse:
    """The optimizer of a model: parameters of sparse embedding tables on the sparse path, the others on the dense one."""
    tables = [table.get_parameter("weight") for table in model.modules() if isinstance(table, nn.Embedding) and table.sparse]
    in_tables = {id(weight) for weight in tables}
    return DenseAndSparse(config.build([p for p in model.parameters() if id(p) not in in_tables], tables))
