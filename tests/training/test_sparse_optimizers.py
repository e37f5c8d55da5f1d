"""Lazy optimizers of tables against torch's own and plain loops over rows; no step depends on the size of the table."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop, SparseAdam
from torch.utils._python_dispatch import TorchDispatchMode

from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training import sparse_optimizers
from clickflow.training.config import AdagradConfig, AdamConfig, AdamWConfig, MomentumConfig, NesterovConfig, RMSpropConfig, SGDConfig
from clickflow.training.optimizers import build_optimizer

NUM_ROWS, DIM = 5, 3

# a config with choices other than the defaults, and the textbook optimizer of the whole table
CASES = {
    "sgd": (SGDConfig(learning_rate=0.1), lambda p: SGD(p, lr=0.1)),
    "momentum": (MomentumConfig(learning_rate=0.02, momentum=0.8), lambda p: SGD(p, lr=0.02, momentum=0.8)),
    "nesterov": (NesterovConfig(learning_rate=0.02, momentum=0.8), lambda p: SGD(p, lr=0.02, momentum=0.8, nesterov=True)),
    "adagrad": (AdagradConfig(learning_rate=0.1, eps=1e-6), lambda p: Adagrad(p, lr=0.1, eps=1e-6)),
    "rmsprop": (RMSpropConfig(learning_rate=0.01, alpha=0.9, eps=1e-5), lambda p: RMSprop(p, lr=0.01, alpha=0.9, eps=1e-5)),
    "adam": (AdamConfig(learning_rate=0.01, beta1=0.8, beta2=0.95), lambda p: Adam(p, lr=0.01, betas=(0.8, 0.95))),
    "adamw": (
        AdamWConfig(learning_rate=0.01, beta1=0.8, beta2=0.95, weight_decay=0.3),
        lambda p: AdamW(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.3),
    ),
}
ALL = {**CASES, "adagrad by row": (AdagradConfig(learning_rate=0.1, eps=1e-6, state="row"), None)}

# the ids looked up in each step; some steps look up none
STEPS = st.lists(st.lists(st.integers(0, NUM_ROWS - 1), max_size=8), min_size=1, max_size=6)


def new_table(num_rows=NUM_ROWS, dim=DIM, sparse=True):
    torch.manual_seed(1)
    table = EmbeddingTable(num_rows, dim, "item").double()
    table.sparse = sparse
    return table


def backward(table, ids, step):
    table.weight.grad = None
    draw = torch.Generator().manual_seed(step)
    slopes = torch.randn(len(ids), table.embedding_dim, generator=draw, dtype=torch.float64)
    (table(torch.tensor(ids, dtype=torch.int64)) * slopes).sum().backward()


def run(table, optimizer, steps):
    for step, ids in enumerate(steps):
        backward(table, ids, step)
        optimizer.step()
    return table.weight.detach()


def change_of_a_row(config, g, w, state, step):
    """One textbook step of one row, number by number."""
    lr = config.learning_rate
    for i in range(len(w)):
        if config.name == "sgd":
            w[i] -= lr * g[i]
        elif config.name in ("momentum", "nesterov"):
            state["m"][i] = config.momentum * state["m"][i] + g[i]
            w[i] -= lr * (g[i] + config.momentum * state["m"][i] if config.name == "nesterov" else state["m"][i])
        elif config.name == "adagrad" and config.state == "row":
            if i == 0:
                state["v"][0] += sum(x * x for x in g) / len(g)
            w[i] -= lr * g[i] / (math.sqrt(state["v"][0]) + config.eps)
        elif config.name == "adagrad":
            state["v"][i] += g[i] ** 2
            w[i] -= lr * g[i] / (math.sqrt(state["v"][i]) + config.eps)
        elif config.name == "rmsprop":
            state["v"][i] = config.alpha * state["v"][i] + (1 - config.alpha) * g[i] ** 2
            w[i] -= lr * g[i] / (math.sqrt(state["v"][i]) + config.eps)
        else:
            w[i] -= lr * getattr(config, "weight_decay", 0.0) * w[i]
            state["m"][i] = config.beta1 * state["m"][i] + (1 - config.beta1) * g[i]
            state["v"][i] = config.beta2 * state["v"][i] + (1 - config.beta2) * g[i] ** 2
            mean, square = state["m"][i] / (1 - config.beta1**step), state["v"][i] / (1 - config.beta2**step)
            w[i] -= lr * mean / (math.sqrt(square) + config.eps / math.sqrt(1 - config.beta2**step))


def by_a_loop(config, steps):
    table = new_table(sparse=False)
    weight = table.weight.detach().numpy().copy()
    states = [{"m": np.zeros(DIM), "v": np.zeros(DIM)} for _ in range(NUM_ROWS)]
    for step, ids in enumerate(steps):
        backward(table, ids, step)
        for row in set(ids):
            change_of_a_row(config, table.weight.grad[row].numpy(), weight[row], states[row], step + 1)
    return torch.from_numpy(weight)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=30)
@given(steps=STEPS)
def test_rows_of_the_batch_follow_the_textbook_and_the_others_rest(name, steps):
    config, _ = ALL[name]
    table = new_table()

    torch.testing.assert_close(run(table, build_optimizer(config, table), steps), by_a_loop(config, steps))


@pytest.mark.parametrize("name", CASES)
def test_if_every_row_occurs_in_every_step_lazy_is_torchs_dense_optimizer(name):
    config, textbook = CASES[name]
    steps = [[*range(NUM_ROWS), step % NUM_ROWS, 2] for step in range(8)]
    table, dense = new_table(), new_table(sparse=False)

    lazy = run(table, build_optimizer(config, table), steps)

    torch.testing.assert_close(lazy, run(dense, textbook(dense.parameters()), steps), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize(
    ("name", "of_torch"),
    [("adam", lambda p: SparseAdam(p, lr=0.01, betas=(0.8, 0.95))), ("adagrad", CASES["adagrad"][1]), ("sgd", CASES["sgd"][1])],
)
@settings(max_examples=30)
@given(steps=STEPS)
def test_it_equals_torchs_own_for_sparse_gradients(name, of_torch, steps):
    config, _ = CASES[name]
    table, other = new_table(), new_table()

    torch.testing.assert_close(run(table, build_optimizer(config, table), steps), run(other, of_torch(other.parameters()), steps))


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
@settings(max_examples=30)
@given(steps=STEPS)
def test_sgd_and_adagrad_are_exact(name, steps):
    config, textbook = CASES[name]
    table, dense = new_table(), new_table(sparse=False)

    torch.testing.assert_close(run(table, build_optimizer(config, table), steps), run(dense, textbook(dense.parameters()), steps))


@pytest.mark.parametrize("name", CASES)
def test_a_dense_update_of_tables_is_torchs_optimizer(name):
    """Rows outside the batch keep moving with their momentum, decay or do not change, as in the textbook."""
    config, textbook = CASES[name]
    steps = [[0, 1], [1, 1, 2], [4], [0, 3]]
    table, dense = new_table(), new_table(sparse=False)

    moved = run(table, build_optimizer(config.model_copy(update={"embedding_update": "dense"}), table), steps)

    torch.testing.assert_close(moved, run(dense, textbook(dense.parameters()), steps))


class LargeOutputs(TorchDispatchMode):
    """Records operations that return a dense tensor of at least a number of rows."""

    def __init__(self, num_rows):
        super().__init__()
        self.num_rows, self.names = num_rows, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        is_large = isinstance(result, torch.Tensor) and not result.is_sparse and result.dim() > 0 and result.shape[0] >= self.num_rows
        if is_large and result.layout == torch.strided:
            self.names.add(function.overloadpacket.__name__)
        return result


@pytest.mark.parametrize("name", ALL)
def test_a_step_has_no_operation_over_the_whole_table(name):
    config, _ = ALL[name]
    table = new_table(num_rows=1000)
    optimizer = build_optimizer(config, table)
    backward(table, [3, 3, 7], 0)
    optimizer.step()  # creates the state
    backward(table, [3, 8, 8], 1)

    with LargeOutputs(1000) as large:
        optimizer.step()

    assert "index_copy_" in large.names  # writes rows in place
    assert large.names <= {"index_copy_", "detach"}


def test_state_by_row_is_one_number_per_row():
    config, _ = ALL["adagrad by row"]
    table = new_table()
    optimizer = build_optimizer(config, table)
    run(table, optimizer, [[1, 2]])

    (part,) = optimizer.parts
    assert part.state[table.weight]["rows"].shape == (NUM_ROWS, 1)


def test_a_table_without_a_gradient_rests():
    table = new_table()
    before = table.weight.detach().clone()
    optimizer = build_optimizer(AdamConfig(), table)

    optimizer.step()

    assert torch.equal(table.weight, before)


@pytest.mark.parametrize("name", ALL)
def test_changing_rows_a_portion_at_a_time_changes_nothing(name, monkeypatch):
    config, _ = ALL[name]
    steps = [[0, 1, 1, 4], [3, 2, 0, 1, 4], [], [2]]
    whole, portions = new_table(), new_table()
    in_one_go = run(whole, build_optimizer(config, whole), steps)

    monkeypatch.setattr(sparse_optimizers, "PORTION", 2 * DIM)

    assert torch.equal(run(portions, build_optimizer(config, portions), steps), in_one_go)
