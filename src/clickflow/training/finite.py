"""Search for the first layer in forward order whose input, weights or output hold NaN or infinity.

The check of a loss costs one comparison per step. Only if it fails does the batch's forward pass run once more, with hooks on every module,
so the search costs nothing as long as training is sound.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.errors import TrainingError

REMEDY = "lower optimizer.learning_rate, set trainer.gradient_clip_norm, or look for extreme values in the numeric fields."
Event = tuple[str, str | None]  # module, and what is wrong there


def refuse_non_finite(values: Tensor, where: str, model: nn.Module, batch: Batch) -> None:
    """Stop training at a loss or at predictions that are not finite, which the model computed from the batch.

    Raises:
        TrainingError: says ``where``, such as ``training at step 7, loss``, and names the first layer that holds such a number.
    """
    if _is_finite(values):
        return
    raise TrainingError(
        f"{where} = {values[~torch.isfinite(values)][0].item()}: training diverged; it must be finite; "
        f"{first_non_finite(model, batch)}; {REMEDY}"
    )


def refuse_non_finite_weights(model: nn.Module, step: int) -> None:
    """Stop training before weights that are not finite are saved.

    Predictions alone do not show it: they depend neither on table rows that validation does not look up nor on layers of the auxiliary
    loss.
    """
    for name, tensor in model.state_dict().items():
        if not _is_finite(tensor):
            raise TrainingError(
                f"weights after step {step}, {name} = {_count(tensor)}: training diverged; weights must be finite to be saved, so the last "
                f"finite checkpoint is kept; {REMEDY}"
            )


def first_non_finite(model: nn.Module, batch: Batch) -> str:
    """Sentence that names the first place in the forward pass of a batch with a number that is not finite.

    A module's input is checked before its weights, and these before its output. Only the rows of an embedding table that are looked up are
    read. Weights that a parent uses without calling their module count as used when the parent begins.
    """
    if not _is_finite(batch.numeric):
        return f"first in forward order: the batch's numeric fields, {_count(batch.numeric)}"
    events: list[Event] = []
    hooks = [hook for name, module in model.named_modules() for hook in _watch(name, module, events)]
    try:
        with torch.no_grad():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return next(_findings(model, events), "all layers are finite when the batch is run again: it arises in the loss itself")


def _watch(name: str, module: nn.Module, events: list[Event]) -> Iterator[Any]:
    """Hooks that record every call of a module, before and after."""

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        events.append((name, _fault(f"the input of {_shown(name)}", inputs) or _fault_of_weights(name, module)))

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        what = "the looked-up rows of" if isinstance(module, nn.Embedding) else "the output of"
        events.append((name, _fault(f"{what} {_shown(name)}", output)))

    yield module.register_forward_pre_hook(before)
    yield module.register_forward_hook(after)


def _findings(model: nn.Module, events: list[Event]) -> Iterator[str]:
    """Sentences on the faults, in forward order; weights of modules that were never called come with the nearest parent that was."""
    called = {name for name, _ in events}
    silent: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if name not in called and (fault := _fault_of_weights(name, module)):
            parent = name
            while parent not in called:
                parent = parent.rpartition(".")[0]
            silent.setdefault(parent, []).append(fault)
    for name, fault in events:
        for one in (fault, *silent.pop(name, ())):  # a module's first event is the start of its call
            if one:
                yield f"first in forward order: {one}"


def _fault_of_weights(name: str, module: nn.Module) -> str | None:
    """Fault of a module's own weights and moving statistics, or None; an embedding table is not read as a whole."""
    if isinstance(module, nn.Embedding):
        return None
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return next(
        (_fault(f"the weights {name}.{key}" if name else f"the weights {key}", tensor) for key, tensor in own if not _is_finite(tensor)),
        None,
    )


def _fault(what: str, values: Any) -> str | None:
    """``what`` with a count if a tensor in ``values`` is not finite, else None; it names the part of a named tuple."""
    if isinstance(values, Tensor):
        return None if _is_finite(values) else f"{what}, {_count(values)}"
    if isinstance(values, tuple | list):
        names = getattr(values, "_fields", range(len(values)))
        faults = (_fault(f"{what} ({key})" if isinstance(key, str) else what, value) for key, value in zip(names, values, strict=True))
        return next((fault for fault in faults if fault), None)
    return None


def _shown(name: str) -> str:
    return name or "the model"


def _is_finite(tensor: Tensor) -> bool:
    """Whether the minimum and the maximum are finite; NaN shows in both, and a mask of a large table would cost a quarter of its memory."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.is_nested:
        return _is_finite(tensor.values())
    if tensor.dim() == 0:
        return math.isfinite(tensor.item())
    low, high = torch.aminmax(tensor.detach())
    return math.isfinite(low.item()) and math.isfinite(high.item())


def _count(tensor: Tensor) -> str:
    """The first number that is not finite, and how many there are."""
    flat = (tensor.values() if tensor.is_nested else tensor).detach()
    bad = flat[~torch.isfinite(flat)]
    return f"{bad[0].item()} in {len(bad):,} of {tensor.numel():,} numbers"
