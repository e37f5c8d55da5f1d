"""Optimizers: one object for Lightning, two paths inside.

Embedding tables have sparse gradients, so their update touches the rows of the batch only and a step does not slow down as the vocabulary
grows; all other parameters take the dense path, torch's own. ``sparse_optimizers`` says how the sparse path differs from the textbook;
``embedding_update: dense`` applies the textbook optimizer to tables too, at a cost that grows with the vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training.config import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    MomentumConfig,
    NesterovConfig,
    OptimizerConfig,
    RMSpropConfig,
    SGDConfig,
)
from clickflow.training.sparse_optimizers import LazyAdagrad, LazyAdam, LazyMomentum, LazyRMSprop, LazySGD, RowwiseAdagrad


def _chosen(config: OptimizerConfig) -> tuple[Callable[..., Optimizer], Callable[..., Optimizer], dict[str, Any]]:
    """Optimizer of dense gradients, torch's own, that of sparse gradients, and their settings besides the rate."""
    match config:
        case SGDConfig():
            return SGD, LazySGD, {}
        case MomentumConfig() | NesterovConfig():
            return SGD, LazyMomentum, {"momentum": config.momentum, "nesterov": isinstance(config, NesterovConfig)}
        case AdagradConfig():
            return Adagrad, RowwiseAdagrad if config.state == "row" else LazyAdagrad, {"eps": config.eps}
        case RMSpropConfig():
            return RMSprop, LazyRMSprop, {"alpha": config.alpha, "eps": config.eps}
        case AdamConfig():
            return Adam, LazyAdam, {"betas": (config.beta1, config.beta2), "eps": config.eps}
        case AdamWConfig():
            return AdamW, LazyAdam, {"betas": (config.beta1, config.beta2), "eps": config.eps, "weight_decay": config.weight_decay}


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
    of_dense, of_sparse, settings = _chosen(config)
    parts = [(of_dense, dense), (of_sparse, sparse)]
    return DenseAndSparse([optimizer(weights, lr=config.learning_rate, **settings) for optimizer, weights in parts if weights])
