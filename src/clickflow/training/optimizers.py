"""Optimizers: one object for Lightning, two paths inside.

Embedding tables have sparse gradients, so their update touches the rows of the batch only and a step does not slow down as the vocabulary
grows; all other parameters take the dense path, torch's own. ``sparse_optimizers`` says how the sparse path differs from the textbook;
``embedding_update: dense`` applies the textbook optimizer to tables too, at a cost that grows with the vocabulary.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from clickflow.config import Contradictions, StrictConfig
from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training.sparse_optimizers import LazyAdagrad, LazyAdam, LazyMomentum, LazyRMSprop, LazySGD, RowwiseAdagrad

LearningRate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0)]
Parameters = list[nn.Parameter]


class TwoPaths(StrictConfig):
    """What every optimizer's config has and can do."""

    embedding_update: Literal["sparse", "dense"] = "sparse"
    """``sparse`` updates a table's rows of the batch only; ``dense`` the whole table by the textbook, in O(vocabulary)."""

    @abstractmethod
    def dense(self, parameters: Parameters) -> Optimizer:
        """The optimizer of dense gradients."""

    @abstractmethod
    def sparse(self, tables: Parameters) -> Optimizer:
        """The optimizer of embedding tables with sparse gradients."""


class SGDConfig(TwoPaths):
    """Plain stochastic gradient descent; the sparse path is exact."""

    name: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 0.1

    def dense(self, parameters: Parameters) -> Optimizer:
        """SGD."""
        return SGD(parameters, lr=self.learning_rate)

    def sparse(self, tables: Parameters) -> Optimizer:
        """SGD on the batch's rows."""
        return LazySGD(tables, lr=self.learning_rate)


class MomentumConfig(TwoPaths):
    """SGD with momentum (Polyak 1964); on the sparse path a row's momentum rests while the row does not occur."""

    name: Literal["momentum"] = "momentum"
    learning_rate: LearningRate = 0.01
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the last step that is kept."""

    def dense(self, parameters: Parameters) -> Optimizer:
        """SGD with momentum."""
        return SGD(parameters, lr=self.learning_rate, momentum=self.momentum)

    def sparse(self, tables: Parameters) -> Optimizer:
        """Momentum on the batch's rows."""
        return LazyMomentum(tables, lr=self.learning_rate, momentum=self.momentum, nesterov=False)


class NesterovConfig(TwoPaths):
    """SGD with Nesterov's momentum (Sutskever et al. 2013); on the sparse path a row's momentum rests while the row does not occur."""

    name: Literal["nesterov"] = "nesterov"
    learning_rate: LearningRate = 0.01
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the last step that is kept."""

    def dense(self, parameters: Parameters) -> Optimizer:
        """SGD with Nesterov's momentum."""
        return SGD(parameters, lr=self.learning_rate, momentum=self.momentum, nesterov=True)

    def sparse(self, tables: Parameters) -> Optimizer:
        """Nesterov's momentum on the batch's rows."""
        return LazyMomentum(tables, lr=self.learning_rate, momentum=self.momentum, nesterov=True)


class AdagradConfig(TwoPaths):
    """Adagrad (Duchi et al. 2011); the sparse path is exact with ``state: element``."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: LearningRate = 1e-2
    eps: Epsilon = 1e-10
    """Keeps the division finite."""
    state: Literal["element", "row"] = "element"
    """Numbers of state of a table: one an element, or one a row (the mean of its squared gradient), for tables too large for two copies."""

    def _contradictions(self) -> Contradictions:
        if self.state == "row" and self.embedding_update == "dense":
            yield "state", "= row: only the sparse path has it; set embedding_update=sparse or state=element"

    def dense(self, parameters: Parameters) -> Optimizer:
        """Adagrad."""
        return Adagrad(parameters, lr=self.learning_rate, eps=self.eps)

    def sparse(self, tables: Parameters) -> Optimizer:
        """Adagrad on the batch's rows."""
        kind = RowwiseAdagrad if self.state == "row" else LazyAdagrad
        return kind(tables, lr=self.learning_rate, eps=self.eps)


class RMSpropConfig(TwoPaths):
    """RMSprop (Tieleman & Hinton 2012); on the sparse path a row's mean square rests while the row does not occur."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: LearningRate = 1e-3
    alpha: Decay = 0.99
    """Decay rate of the mean square, a step."""
    eps: Epsilon = 1e-8
    """Keeps the division finite."""

    def dense(self, parameters: Parameters) -> Optimizer:
        """RMSprop."""
        return RMSprop(parameters, lr=self.learning_rate, alpha=self.alpha, eps=self.eps)

    def sparse(self, tables: Parameters) -> Optimizer:
        """RMSprop on the batch's rows."""
        return LazyRMSprop(tables, lr=self.learning_rate, alpha=self.alpha, eps=self.eps)


class Moments(TwoPaths):
    """What Adam and AdamW share."""

    learning_rate: LearningRate = 1e-3
    beta1: Decay = 0.9
    """Decay rate of the mean gradient, a step."""
    beta2: Decay = 0.999
    """Decay rate of the mean square, a step."""
    eps: Epsilon = 1e-8
    """Keeps the division finite."""


class AdamConfig(Moments):
    """Adam (Kingma & Ba 2015); the sparse path is torch's ``SparseAdam``: a row's moments rest while the row does not occur."""

    name: Literal["adam"] = "adam"

    def dense(self, parameters: Parameters) -> Optimizer:
        """Adam."""
        return Adam(parameters, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.eps)

    def sparse(self, tables: Parameters) -> Optimizer:
        """Adam on the batch's rows."""
        return LazyAdam(tables, lr=self.learning_rate, beta1=self.beta1, beta2=self.beta2, eps=self.eps, weight_decay=0.0)


class AdamWConfig(Moments):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); on the sparse path a row decays in the steps in which it occurs."""

    name: Literal["adamw"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """A step takes learning_rate * weight_decay of every parameter away, biases included."""

    def dense(self, parameters: Parameters) -> Optimizer:
        """AdamW."""
        return AdamW(parameters, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=self.weight_decay)

    def sparse(self, tables: Parameters) -> Optimizer:
        """AdamW on the batch's rows."""
        choices = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps, "weight_decay": self.weight_decay}
        return LazyAdam(tables, lr=self.learning_rate, **choices)


OptimizerConfig = Annotated[
    SGDConfig | MomentumConfig | NesterovConfig | AdagradConfig | RMSpropConfig | AdamConfig | AdamWConfig, Field(discriminator="name")
]


class DenseAndSparse(Optimizer):
    """Several optimizers as one, so that Lightning's automatic optimisation, checkpoints and resume apply."""

    def __init__(self, parts: list[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        self._share_groups()

    def _share_groups(self) -> None:
        # The same dicts as those of the parts, so that a learning-rate schedule reaches them.
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
    """Build the optimizer of a model: embedding tables on the path that the config names, all other parameters on the dense one.

    The tables are set to produce gradients of that kind.
    """
    tables = [module for module in model.modules() if isinstance(module, EmbeddingTable)]
    for table in tables:
        table.sparse = config.embedding_update == "sparse"
    sparse = [table.get_parameter("weight") for table in tables if table.sparse]
    on_sparse_path = {id(weight) for weight in sparse}
    dense = [parameter for parameter in model.parameters() if id(parameter) not in on_sparse_path]
    return DenseAndSparse([*([config.dense(dense)] if dense else []), *([config.sparse(sparse)] if sparse else [])])
