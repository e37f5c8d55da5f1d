"""One optimizer to Lightning against torch's own ones, applied to dense and sparse parameters apart."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adagrad, Adam, SparseAdam

from clickflow.models.din import DINConfig
from clickflow.training.optimizers import AdagradConfig, AdamConfig, SGDConfig, build_optimizer
from tests.models.examples import FULL_SCHEMA, random_batch

# Adagrad's sparse path, once a process; `fit` silences it too.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")

LEARNING_RATE = 0.01
# config, torch's optimizer of dense parameters, torch's optimizer of tables
CASES = {
    "adam": (AdamConfig, Adam, SparseAdam),
    "adagrad": (AdagradConfig, Adagrad, Adagrad),
    "sgd": (SGDConfig, SGD, SGD),
}


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


def test_it_equals_torch_optimizers_step_by_step(case, model):
    config, of_dense, of_sparse = case
    plain = copy.deepcopy(model)
    tables = tables_of(plain)
    dense = [p for p in plain.parameters() if not any(p is table for table in tables)]
    optimizers = [of_dense(dense, lr=LEARNING_RATE), of_sparse(tables, lr=LEARNING_RATE)]
    composed = build_optimizer(config(learning_rate=LEARNING_RATE), model)

    for batch in batches(5):
        train(model, composed, [batch])
        plain.zero_grad()
        F.binary_cross_entropy_with_logits(plain(batch).logit, batch.label).backward()
        for optimizer in optimizers:
            optimizer.step()
        for (name, left), right in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_every_parameter_moves(case, model):
    config, _, _ = case
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    train(model, build_optimizer(config(learning_rate=LEARNING_RATE), model), batches(2))

    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_rows_outside_the_batch_stay_as_they_are(case, model):
    """Also after earlier steps, whose momentum would still move them."""
    config, _, _ = case
    optimizer = build_optimizer(config(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    before = model.embeddings.item_tables["item"].weight.detach().clone()
    batch = random_batch(FULL_SCHEMA, [2, 1], seed=9)

    train(model, optimizer, [batch])

    seen = torch.cat([batch.target[0], batch.history[0]]).unique()
    changed = (model.embeddings.item_tables["item"].weight != before).any(dim=1).nonzero()[:, 0]
    assert 0 < len(changed) < 12
    assert torch.equal(changed, seen)


def test_its_state_carries_on_where_it_was_saved(case, model, tmp_path):
    config, _, _ = case
    optimizer = build_optimizer(config(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other = DINConfig(embedding_dim=4, hidden_units=(6,), attention_hidden_units=(5,)).build(FULL_SCHEMA)
    other.load_state_dict(saved["model"])
    resumed = build_optimizer(config(learning_rate=LEARNING_RATE), other)
    resumed.load_state_dict(saved["optimizer"])

    train(model, optimizer, batches(3, start=3))
    train(other, resumed, batches(3, start=3))
    assert_equal(model, other)


def test_state_without_momentum_would_not_carry_on(model):
    """What the test before rests on: Adam's state matters."""
    optimizer = build_optimizer(AdamConfig(learning_rate=LEARNING_RATE), model)
    train(model, optimizer, batches(3))
    other = copy.deepcopy(model)

    train(model, optimizer, batches(1, start=3))
    train(other, build_optimizer(AdamConfig(learning_rate=LEARNING_RATE), other), batches(1, start=3))

    assert not torch.allclose(model.activation_unit.first.weight, other.activation_unit.first.weight, rtol=1e-4)


def test_every_parameter_is_in_one_group_and_tables_are_apart_from_the_others(case, model):
    config, _, _ = case
    optimizer = build_optimizer(config(), model)

    dense, sparse = (group["params"] for group in optimizer.param_groups)

    assert {id(p) for p in sparse} == {id(table) for table in tables_of(model)}
    assert {id(p) for p in dense} == {id(p) for p in model.parameters()} - {id(p) for p in sparse}
    assert len(dense) + len(sparse) == len(list(model.parameters()))


@pytest.mark.parametrize("restored", [False, True])
def test_a_changed_learning_rate_reaches_both_paths(case, model, restored):
    config, _, _ = case
    optimizer = build_optimizer(config(learning_rate=LEARNING_RATE), model)
    if restored:
        train(model, optimizer, batches(1))
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, batches(1))

    assert [name for name, p in model.named_parameters() if not torch.equal(p, before[name])] == []


def test_a_step_gives_the_loss_of_its_closure_and_runs_it_once(case, model):
    config, _, _ = case
    optimizer = build_optimizer(config(), model)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        return torch.tensor(3.5)

    with torch.no_grad():
        assert optimizer.step(closure) == 3.5
    assert calls == [True]
