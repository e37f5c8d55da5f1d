"""Penalties against autograd on the written-out penalty, hand-computed gradients, and counts by hand."""

import re
from types import SimpleNamespace

import polars as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.models.examples import FULL_SCHEMA, random_batch
from tests.training.fits import Trained, steps_per_epoch
from torch import nn

from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.models.config import BaseConfig, DINConfig
from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training.config import AdamConfig, RegularisationConfig, SGDConfig
from clickflow.training.module import ClickModule
from clickflow.training.optimizers import build_optimizer
from clickflow.training.regularisation import Regulariser, id_counts

LAMBDA = 0.01
MINI_BATCH_AWARE = RegularisationConfig(embedding="mini_batch_aware", embedding_lambda=LAMBDA)
L2 = RegularisationConfig(embedding="l2", embedding_lambda=LAMBDA)
NONE = RegularisationConfig()


def table_of(field, vocabulary_size, dim=2):
    return EmbeddingTable(vocabulary_size, dim, field)


def random_counts():
    draw = torch.Generator().manual_seed(5)
    return {f.name: torch.randint(1, 50, (f.vocabulary_size,), generator=draw).float() for f in FULL_SCHEMA.categorical}


def din(sparse=True):
    torch.manual_seed(0)
    model = DINConfig(embedding_dim=4, hidden_units=(6,), attention_hidden_units=(5,)).build(FULL_SCHEMA)
    build_optimizer(AdamConfig(embedding_update="sparse" if sparse else "dense"), model)
    return model


def click_loss(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch).logit, batch.label)


def gradients(model):
    return {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}


def assert_gradients_are_those_of(model, batch, config, counts, expected_loss, sparse):
    """Compare gradients with autograd's of ``expected_loss(model)``, the penalty written out."""
    other = din(sparse=False)
    (click_loss(other, batch) + expected_loss(other)).backward()
    click_loss(model, batch).backward()

    Regulariser(config, model, counts).add_gradients()

    expected = gradients(other)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], msg=lambda m, name=name: f"{name}: {m}")
    assert all(p.grad.is_sparse == sparse for p in model.parameters() if any(p is t.weight for t in tables_of(model)))


def tables_of(model):
    return [module for module in model.modules() if isinstance(module, EmbeddingTable)]


def rows_in(batch):
    """Distinct rows of each field's table in a batch."""
    rows = {f.name: torch.cat([batch.target[i], batch.history[i]]).unique() for i, f in enumerate(FULL_SCHEMA.item_fields)}
    return rows | {f.name: batch.context[i].unique() for i, f in enumerate(FULL_SCHEMA.impression_fields)}


class TestMiniBatchAware:
    def test_a_gradient_computed_by_hand(self):
        table = table_of("item", 4)
        with torch.no_grad():
            table.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0], [7.0, 8.0]]))
        (table(torch.tensor([1, 1, 3])) * torch.tensor([1.0, 0.5])).sum().backward()

        config = RegularisationConfig(embedding="mini_batch_aware", embedding_lambda=0.1)
        Regulariser(config, table, {"item": torch.tensor([1.0, 4.0, 9.0, 2.0])}).add_gradients()

        # 2 lookups of slope (1, 0.5) and 2 * 0.1 * (3, -4) / 4, once although the row occurs twice; 1 lookup and 2 * 0.1 * (7, 8) / 2
        expected = torch.tensor([[0, 0], [2 + 0.15, 1 - 0.2], [0, 0], [1 + 0.7, 0.5 + 0.8]])
        torch.testing.assert_close(table.weight.grad.to_dense(), expected)

    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_the_gradient_of_the_penalty_over_the_rows_of_the_batch(self, seed):
        batch, counts = random_batch(FULL_SCHEMA, [3, 0, 2, 5], seed=seed), random_counts()

        def penalty(model):
            rows = rows_in(batch)
            return LAMBDA * sum(
                (table.weight[rows[table.field]].square().sum(dim=1) / counts[table.field][rows[table.field]]).sum()
                for table in tables_of(model)
            )

        assert_gradients_are_those_of(din(), batch, MINI_BATCH_AWARE, counts, penalty, sparse=True)

    def test_the_papers_sum_over_a_loop(self):
        """The reference is eq. 6 as loops over features and rows, for two tables of one field."""
        wide, deep = table_of("item", 5, dim=1), table_of("item", 5, dim=3)
        model, counts = nn.ModuleList([wide, deep]), torch.tensor([1.0, 7.0, 3.0, 2.0, 2.0])
        ids = [2, 4, 2]
        (wide(torch.tensor(ids)).sum() + deep(torch.tensor(ids)).sum()).backward()
        before = gradients(model)

        Regulariser(MINI_BATCH_AWARE, model, {"item": counts}).add_gradients()

        for name, gradient in gradients(model).items():
            weight = model.get_parameter(name)
            for row in range(5):
                added = 2 * LAMBDA * weight[row] / counts[row] if row in ids else torch.zeros_like(weight[row])
                torch.testing.assert_close(gradient[row], before[name][row] + added)

    @given(ids=st.lists(st.integers(0, 5), max_size=20))
    def test_rows_outside_the_batch_get_no_gradient(self, ids):
        table = table_of("item", 6)
        table(torch.tensor(ids, dtype=torch.int64)).sum().backward()

        Regulariser(MINI_BATCH_AWARE, table, {"item": torch.ones(6)}).add_gradients()

        assert table.weight.grad.coalesce().indices()[0].tolist() == sorted(set(ids))

    def test_a_rare_id_is_penalised_more_than_a_frequent_one(self, small_dataset, tmp_path):
        plain = Trained(small_dataset, tmp_path / "plain", max_epochs=2, optimizer=SGDConfig(learning_rate=0.5))
        config = RegularisationConfig(embedding="mini_batch_aware", embedding_lambda=1.0)
        penalised = Trained(small_dataset, tmp_path / "p", max_epochs=2, optimizer=SGDConfig(learning_rate=0.5), regularisation=config)

        norms = [trained.saved()["state_dict"]["model.embeddings.item_tables.item.weight"].norm(dim=1) for trained in (plain, penalised)]
        shrunk = norms[1] / norms[0]  # rows are in the order of their counts
        assert shrunk[-100:].mean() < shrunk[1:101].mean() < 1.0


class TestFullL2:
    def test_it_is_the_gradient_of_the_penalty_over_all_rows(self):
        batch = random_batch(FULL_SCHEMA, [1, 2])

        def penalty(model):
            return LAMBDA * sum(table.weight.square().sum() for table in tables_of(model))

        assert_gradients_are_those_of(din(sparse=False), batch, L2, {}, penalty, sparse=False)

    def test_a_fit_refuses_it_with_sparse_updates(self, small_dataset, tmp_path):
        with pytest.raises(ValueError, match=r"regularisation.embedding = l2: .*set optimizer.embedding_update=dense"):
            Trained(small_dataset, tmp_path, regularisation=L2, optimizer=AdamConfig())

    def test_it_shrinks_the_embedding_of_every_row_at_each_step(self, small_dataset, tmp_path):
        optimizer = SGDConfig(learning_rate=0.5, embedding_update="dense")
        plain = Trained(small_dataset, tmp_path / "plain", max_epochs=2, optimizer=optimizer)
        penalised = Trained(small_dataset, tmp_path / "l2", max_epochs=2, optimizer=optimizer, regularisation=L2)

        norms = [trained.saved()["state_dict"]["model.embeddings.item_tables.item.weight"].norm() for trained in (plain, penalised)]
        num_steps = 2 * steps_per_epoch(small_dataset)
        assert float(norms[1] / norms[0]) == pytest.approx((1 - 2 * LAMBDA * 0.5) ** num_steps, rel=0.05)


class TestDenseLayers:
    def test_l1_and_l2_are_the_gradients_of_their_penalties_over_weights_without_biases(self):
        batch = random_batch(FULL_SCHEMA, [3, 0, 2, 5])
        config = RegularisationConfig(dense_l1=0.02, dense_l2=0.03)

        def penalty(model):
            weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
            return sum(0.02 * weight.abs().sum() + 0.03 * weight.square().sum() for weight in weights)

        assert_gradients_are_those_of(din(), batch, config, {}, penalty, sparse=True)

    def test_without_a_penalty_gradients_stay_as_they_are(self):
        model, batch = din(), random_batch(FULL_SCHEMA, [3, 0])
        click_loss(model, batch).backward()
        before = gradients(model)

        Regulariser(NONE, model, {}).add_gradients()

        assert all(torch.equal(gradient, before[name]) for name, gradient in gradients(model).items())

    def test_layers_without_a_gradient_are_left_alone(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        Regulariser(RegularisationConfig(dense_l1=0.1, dense_l2=0.1), model, {}).add_gradients()

        assert all(p.grad is None for p in model.parameters())


class TestCounts:
    def test_known_ids_have_the_counts_of_the_vocabulary(self, small_dataset):
        counts = id_counts(small_dataset)

        for field in small_dataset.schema.categorical:
            vocabulary = small_dataset.vocabulary(field.name)
            assert len(counts[field.name]) == field.vocabulary_size
            for index, count in zip(vocabulary["index"].to_list(), vocabulary["count"].to_list(), strict=True):
                assert counts[field.name][index] == count

    def test_the_unknown_id_counts_what_no_known_id_covers_and_at_least_one(self):
        known = {"item": [50, 30], "category": [60, 5], "country": [70, 20], "shop.page": [100]}
        dataset = SimpleNamespace(
            schema=FULL_SCHEMA,
            manifest=SimpleNamespace(splits={"train": SimpleNamespace(rows=100)}),
            vocabulary=lambda field: pl.DataFrame({"count": known[field]}),
        )

        counts = id_counts(dataset)

        assert counts["country"].tolist() == [10, 70, 20]
        assert counts["shop.page"].tolist() == [1, 100]
        assert counts["item"].tolist() == [1, 50, 30]
        assert counts["category"].tolist() == [15, 60, 5]  # of 80 occurrences of items


class TestConfig:
    def test_a_lambda_without_a_penalty_is_a_contradiction(self):
        with pytest.raises(ConfigError, match=r"embedding_lambda = 0.1: has no effect with embedding=none; set embedding=mini_batch_aware"):
            validate(RegularisationConfig, {"embedding_lambda": 0.1})

    @pytest.mark.parametrize(
        ("config", "embedding_update", "message"),
        [
            (L2, "sparse", "= l2: changes every row .*set optimizer.embedding_update=dense or regularisation.embedding=mini_batch_aware"),
            (MINI_BATCH_AWARE, "dense", "= mini_batch_aware: needs .*set optimizer.embedding_update=sparse or regularisation.embedding=l2"),
        ],
    )
    def test_penalties_that_contradict_the_optimizer_are_reported_with_the_remedy(self, config, embedding_update, message):
        ((key, found),) = config.contradictions_with(AdamConfig(embedding_update=embedding_update))

        assert key == "regularisation.embedding"
        assert re.search(message, found)

    @pytest.mark.parametrize(
        ("config", "embedding_update"), [(L2, "dense"), (MINI_BATCH_AWARE, "sparse"), (NONE, "sparse"), (NONE, "dense")]
    )
    def test_penalties_that_suit_the_optimizer_are_accepted(self, config, embedding_update):
        assert list(config.contradictions_with(AdamConfig(embedding_update=embedding_update))) == []


def test_the_module_adds_the_penalties_after_each_backward_pass():
    model, batch = BaseConfig(embedding_dim=4).build(FULL_SCHEMA), random_batch(FULL_SCHEMA, [1, 2, 0])
    module = ClickModule(model, AdamConfig(), regulariser=Regulariser(RegularisationConfig(dense_l2=0.5), model, {}))
    module.training_step(batch, 0)["loss"].backward()
    weight = model.mlp.layers[-1].weight
    before = weight.grad.clone()

    module.on_after_backward()

    torch.testing.assert_close(weight.grad, before + weight.detach())
