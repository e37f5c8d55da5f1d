"""The combined optimizer against torch's own, applied to dense and sparse parameters separately."""

import copy
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from tests.models.examples import FULL_SCHEMA, random_batch
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop, SparseAdam

from clickflow.config import StrictConfig, validate
from clickflow.errors import ConfigError
from clickflow.models.config import DINConfig
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
from clickflow.training.optimizers import build_optimizer
from clickflow.training.sparse_optimizers import LazyOptimizer

LEARNING_RATE = 0.01
CASES = {
    config.model_fields["name"].default: config
    for config in (SGDConfig, MomentumConfig, NesterovConfig, AdagradConfig, RMSpropConfig, AdamConfig, AdamWConfig)
}
# torch's optimizer of dense parameters, with the settings that the configs must have by default
OF_TORCH = {
    "sgd": lambda p: SGD(p, lr=LEARNING_RATE),
    "momentum": lambda p: SGD(p, lr=LEARNING_RATE, momentum=0.9),
    "nesterov": lambda p: SGD(p, lr=LEARNING_RATE, momentum=0.9, nesterov=True),
    "adagrad": lambda p: Adagrad(p, lr=LEARNING_RATE),
    "rmsprop": lambda p: RMSprop(p, lr=LEARNING_RATE),
    "adam": lambda p: Adam(p, lr=LEARNING_RATE),
    "adamw": lambda p: AdamW(p, lr=LEARNING_RATE),
}
OF_TORCH_SPARSE = {
    "sgd": OF_TORCH["sgd"],
    "adagrad": OF_TORCH["adagrad"],
    "adam": lambda p: SparseAdam(p, lr=LEARNING_RATE),
}


def test_every_optimizer_of_the_union_is_tested_here():
    assert set(CASES.values()) == set(get_args(get_args(OptimizerConfig)[0]))


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DINConfig(embedding_dim=4, hidden_units=(6,), attention_hidden_units=(5,)).build(FULL_SCHEMA)


def batches(count, start=0):
    return [random_batch(FULL_SCHEMA, [3, 0, 2, 5], seed=start + number) for number in range(count)]


def train(model, optimizer, steps):
    for batch in steps:
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(batch).logit, batch.label).backward()
        optimizer.step()


def tables_of(model):
    return [layer.weight for layer in model.modules() if isinstance(layer, torch.nn.Embedding)]


def assert_equal(one, other):
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


def assert_steps_are_those_of(optimizers, plain, composed, model):
    for batch in batches(5):
        train(model, composed, [batch])
        plain.zero_grad()
        F.binary_cross_entropy_with_logits(plain(batch).logit, batch.label).backward()
        for optimizer in optimizers:
            optimizer.step()
        for (name, left), right in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize("name", OF_TORCH_SPARSE)
def test_it_equals_torch_optimizers_step_by_step(name, model):
    plain = copy.deepcopy(model)
    tables = tables_of(plain)
    dense = [p for p in plain.parameters() if not any(p is table for table in tables)]

    composed = build_optimizer(CASES[name](learning_rate=LEARNING_RATE), model)

    assert_steps_are_those_of([OF_TORCH[name](dense), OF_TORCH_SPARSE[name](tables)], plain, composed, model)


@pytest.mark.parametrize("name", OF_TORCH)
def test_with_a_dense_update_of_tables_it_is_torchs_optimizer_of_the_whole_model(name, model):
    plain = copy.deepcopy(model)
    for layer in plain.modules():
        if isinstance(layer, torch.nn.Embedding):
            layer.sparse = False

    composed = build_optimizer(CASES[name](learning_rate=LEARNING_RATE, embedding_update="dense"), model)

    assert_steps_are_those_of([OF_TORCH[name](plain.parameters())], plain, composed, model)


def test_a_model_goes_back_to_sparse_updates(case, model):
    build_optimizer(case(embedding_update="dense"), model)
    optimizer = build_optimizer(case(), model)

    train(model, optimizer, batches(1))

    assert all(table.grad.is_sparse for table in tables_of(model))


def test_every_parameter_moves(case, model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    train(model, build_optimizer(case(learning_rate=LEARNING_RATE), model), batches(2))

    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_rows_outside_the_batch_stay_as_they_are(case, model):
    """They stay the same even after earlier steps, whose momentum would still move them."""
    optimizer = build_optimizer(case(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    before = model.embeddings.item_tables["item"].weight.detach().clone()
    batch = random_batch(FULL_SCHEMA, [2, 1], seed=9)

    train(model, optimizer, [batch])

    seen = torch.cat([batch.target[0], batch.history[0]]).unique()
    changed = (model.embeddings.item_tables["item"].weight != before).any(dim=1).nonzero()[:, 0]
    assert 0 < len(changed) < 12
    assert torch.equal(changed, seen)


def test_its_state_carries_on_where_it_was_saved(case, model, tmp_path):
    optimizer = build_optimizer(case(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other = DINConfig(embedding_dim=4, hidden_units=(6,), attention_hidden_units=(5,)).build(FULL_SCHEMA)
    other.load_state_dict(saved["model"])
    resumed = build_optimizer(case(learning_rate=LEARNING_RATE), other)
    resumed.load_state_dict(saved["optimizer"])

    train(model, optimizer, batches(3, start=3))
    train(other, resumed, batches(3, start=3))
    assert_equal(model, other)


def test_state_without_momentum_would_not_carry_on(model):
    """Adam's state matters, as the test before assumes."""
    optimizer = build_optimizer(AdamConfig(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    other = copy.deepcopy(model)

    train(model, optimizer, batches(1, start=3))
    train(other, build_optimizer(AdamConfig(learning_rate=LEARNING_RATE), other), batches(1, start=3))

    assert not torch.allclose(model.activation_unit.first.weight, other.activation_unit.first.weight, rtol=1e-4)


def test_every_parameter_is_in_one_group_and_tables_are_apart_from_the_others(case, model):
    optimizer = build_optimizer(case(), model)

    dense, sparse = (group["params"] for group in optimizer.param_groups)
    assert [isinstance(part, LazyOptimizer) for part in optimizer.parts] == [False, True]

    assert {id(p) for p in sparse} == {id(table) for table in tables_of(model)}
    assert {id(p) for p in dense} == {id(p) for p in model.parameters()} - {id(p) for p in sparse}
    assert len(dense) + len(sparse) == len(list(model.parameters()))


@pytest.mark.parametrize("restored", [False, True])
def test_a_changed_learning_rate_reaches_both_paths(case, model, restored):
    optimizer = build_optimizer(case(learning_rate=LEARNING_RATE), model)
    if restored:
        train(model, optimizer, batches(1))
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, batches(1))

    assert [name for name, p in model.named_parameters() if not torch.equal(p, before[name])] == []


def test_a_step_gives_the_loss_of_its_closure_and_runs_it_once(case, model):
    optimizer = build_optimizer(case(), model)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        return torch.tensor(3.5)

    with torch.no_grad():
        assert optimizer.step(closure) == 3.5
    assert calls == [True]


def test_a_model_without_tables_or_with_nothing_else_has_one_part(case):
    assert len(build_optimizer(case(), torch.nn.Linear(2, 1)).parts) == 1
    assert len(build_optimizer(case(), DINConfig().build(FULL_SCHEMA).embeddings).parts) == 1


class Holder(StrictConfig):
    optimizer: OptimizerConfig


def test_state_by_row_with_a_dense_update_of_tables_is_a_contradiction():
    message = r"optimizer\.state = row: only the sparse path has it; set embedding_update=sparse or state=element"
    with pytest.raises(ConfigError, match=message):
        validate(Holder, {"optimizer": {"name": "adagrad", "state": "row", "embedding_update": "dense"}})


@pytest.mark.parametrize(
    "values",
    [
        {"name": "momentum", "momentum": 1.0},
        {"name": "adam", "beta1": 1.0},
        {"name": "adamw", "weight_decay": -0.1},
        {"name": "rmsprop", "eps": 0.0},
        {"name": "sgd", "embedding_update": "lazy"},
    ],
    ids=lambda values: values["name"],
)
def test_choices_out_of_range_are_refused(values):
    key = next(key for key in values if key != "name")
    with pytest.raises(ConfigError, match=rf"optimizer\.{key} = .*: must be "):
        validate(Holder, {"optimizer": values})
