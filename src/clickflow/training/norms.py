"""Norms of every layer: of its gradient, whose fall from the last layer to the first is the vanishing gradient, and of its output.

Gradients are read after the backward pass. Outputs are gone by then, so hooks measure them during the forward pass; the hooks are attached
for logged steps only.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from clickflow.models.layers.activations import Dice, Maxout
from clickflow.models.layers.recurrent import GatedRecurrence
from clickflow.training.sparse_gradients import gradient_values

LAYERS = (nn.Linear, nn.Embedding, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.SELU, nn.Sigmoid, nn.Tanh, Dice, Maxout, GatedRecurrence)
"""Layers that have an activation norm: those with weights, recurrences and all activations."""


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """``gradient_norm/<layer>``: L2 norm of the gradient over all parameters of each layer, sparse ones included.

    Parameters of the model itself, outside any layer, count as ``gradient_norm/model``.
    """
    norms = {}
    for name, layer in model.named_modules():
        grads = [values for weight in layer.parameters(recurse=False) if (values := gradient_values(weight)) is not None]
        if grads:
            norms[f"gradient_norm/{name or 'model'}"] = float(torch.nn.utils.get_total_norm(grads))
    return norms


class ActivationNorms:
    """Root mean square of each layer's output, over all its units, rows and calls: width and batch size do not change its scale."""

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self._outputs: dict[str, list[tuple[float, int]]] = {}

    def begin(self, model: nn.Module) -> None:
        """Start measuring the outputs of a model."""
        self.end()
        self._outputs = {}
        for name, layer in model.named_modules():
            if isinstance(layer, LAYERS):
                self._hooks.append(layer.register_forward_hook(self._measure(name)))

    def end(self) -> None:
        """Stop measuring and remove the hooks."""
        while self._hooks:
            self._hooks.pop().remove()

    def norms(self) -> dict[str, float]:
        """``activation_norm/<layer>`` of the layers that were called and returned a single tensor that is not empty."""
        return {
            f"activation_norm/{name}": math.sqrt(sum(squares for squares, _ in calls) / sum(count for _, count in calls))
            for name, calls in self._outputs.items()
        }

    def _measure(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.numel():
                norm = float(torch.linalg.vector_norm(output.detach()))
                self._outputs.setdefault(name, []).append((norm**2, output.numel()))

        return hook
