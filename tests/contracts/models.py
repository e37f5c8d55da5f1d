"""Contract of every model, as a class of tests.

A test module that imports :class:`TestEveryModel` runs it over every model of the union. A subclass that overrides the fixtures ``config``
and ``default_config`` runs it over another model.
"""

from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
import torch
import torch.nn.functional as F
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, expanded, random_batch, shared_batch, take_rows
from tests.models.plain_loops import in_double

from clickflow.config import validate
from clickflow.data.dataset import BatchLoader
from clickflow.data.schema import NumericField, Schema
from clickflow.models.config import ModelConfig
from clickflow.models.contract import ModelOutput
from clickflow.training.config import AdamConfig
from clickflow.training.optimizers import build_optimizer

CONFIG_CLASSES = get_args(get_args(ModelConfig)[0])
SCHEMAS = {
    "all kinds of fields": FULL_SCHEMA,
    "items only": ITEM_SCHEMA,
    "numeric but no context": Schema(
        categorical=ITEM_SCHEMA.categorical, numeric=(NumericField(name="price", role="item", mean=0, std=1),)
    ),
}
NORMAL = [3, 0, 1, 5, 2, 7]
CAP = 100
LENGTHS = {
    "normal": NORMAL,
    "empty histories only": [0, 0, 0],
    "one row": [4],
    "one row without a history": [0],
    "histories at the cap": [CAP] * 3,
}

# Lengths of histories, and the history of each row.
SHARED = {
    "some of each": ([3, 0, 5, 2, 1], [2, 2, 0, 1, 1, 3, 2]),
    "one history of many rows": ([6], [0] * 8),
    "an empty history of many rows": ([0], [0] * 4),
    "one history per row": ([2, 0, 4], [0, 1, 2]),
    "one history per row, in another order": ([2, 0, 4], [2, 0, 1]),
    "histories that no row reads": ([4, 2, 0, 3], [1, 1]),
}

# One more value of each option whose annotation does not list its values.
OTHER_VALUES = {"hidden_units": (), "dropout": 0.5, "cross_fields": ("item",)}


def values_of(annotation):
    """Values that an annotation lists: those of a Literal, of an alias of a Literal, of a union with one."""
    if annotation is bool:
        return (True, False)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return tuple(value for member in get_args(annotation) for value in values_of(member))
    return ()


def options(config_class):
    """Every value other than the default of every choice, one at a time."""
    for name, field in config_class.model_fields.items():
        values = (OTHER_VALUES[name],) if name in OTHER_VALUES else values_of(field.annotation)
        yield from ({name: value} for value in values if value != field.default)


def is_activation(choices):
    return any(name.endswith("activation") for name in choices)


def describe(variant):
    config_class, choices = variant
    return "-".join([config_class.model_fields["name"].default, *(f"{key}={value}" for key, value in choices.items())])


ALL_VARIANTS = [(config_class, choices) for config_class in CONFIG_CLASSES for choices in ({}, *options(config_class))]
# An activation is a layer with tests of its own, so it is not combined with every schema and every length.
VARIANTS = [variant for variant in ALL_VARIANTS if not is_activation(variant[1])]
ACTIVATION_VARIANTS = [variant for variant in ALL_VARIANTS if is_activation(variant[1])]


def build(config, schema=FULL_SCHEMA, seed=0):
    torch.manual_seed(seed)
    return config.build(schema)


def mean_loss(output: ModelOutput, label):
    click_loss = F.binary_cross_entropy_with_logits(output.logit, label)
    return click_loss if output.auxiliary_loss is None else click_loss + output.auxiliary_loss


def assert_finite(model, batch):
    """Check that a model gives one finite logit per row and finite gradients, in training and in evaluation."""
    for training in (True, False):
        model.train(training).zero_grad()
        output = model(batch)
        mean_loss(output, batch.label).backward()

        assert output.logit.shape == (len(batch),)
        assert output.logit.dtype == torch.float32
        assert torch.isfinite(output.logit).all()
        gradients = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


class TestEveryModel:
    @pytest.fixture(params=VARIANTS, ids=describe)
    def config(self, request):
        config_class, choices = request.param
        return config_class(**choices)

    @pytest.fixture(params=CONFIG_CLASSES, ids=lambda config_class: config_class.model_fields["name"].default)
    def default_config(self, request):
        return request.param()

    @pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
    def test_any_batch_gives_one_finite_logit_per_row_and_finite_gradients(self, config, schema):
        for lengths in LENGTHS.values():
            assert_finite(build(config, schema), random_batch(schema, lengths))

    @pytest.mark.parametrize("variant", ACTIVATION_VARIANTS, ids=describe)
    def test_with_any_activation_too(self, variant):
        config_class, choices = variant
        model = build(config_class(**choices))

        for lengths in (NORMAL, [4], [0, 0, 0]):
            assert_finite(model, random_batch(FULL_SCHEMA, lengths))

        assert [name for name, p in model.named_parameters() if p.grad is None] == []

    def test_unknown_ids_everywhere_are_fine(self, config):
        model, batch = build(config), random_batch(FULL_SCHEMA, NORMAL)
        for ids in (batch.target, batch.history, batch.context):
            ids.zero_()

        for training in (True, False):
            assert torch.isfinite(model.train(training)(batch).logit).all()

    def test_every_parameter_gets_a_gradient(self, default_config):
        model, batch = build(default_config), random_batch(FULL_SCHEMA, NORMAL)

        mean_loss(model(batch), batch.label).backward()

        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()] == []

    def test_every_option_leaves_no_parameter_unused(self, config):
        model, batch = build(config), random_batch(FULL_SCHEMA, NORMAL)

        mean_loss(model(batch), batch.label).backward()

        assert [name for name, p in model.named_parameters() if p.grad is None] == []

    def test_gradients_of_embedding_tables_are_sparse_and_no_others(self, config):
        model, batch = build(config), random_batch(FULL_SCHEMA, NORMAL)

        mean_loss(model(batch), batch.label).backward()

        tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, torch.nn.Embedding)}
        assert tables
        for name, parameter in model.named_parameters():
            assert parameter.grad.is_sparse == (id(parameter) in tables), name

    def test_the_order_of_rows_does_not_matter(self, config):
        model, batch = build(config).eval(), random_batch(FULL_SCHEMA, NORMAL)
        order = [4, 0, 5, 1, 3, 2]

        torch.testing.assert_close(model(take_rows(batch, order)).logit, model(batch).logit[order], rtol=1e-4, atol=1e-5)

    def test_a_row_is_scored_alike_alone_and_among_others(self, config):
        model, batch = build(config).eval(), random_batch(FULL_SCHEMA, NORMAL)
        whole = model(batch).logit

        alone = torch.cat([model(take_rows(batch, [row])).logit for row in range(len(batch))])

        torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)

    def test_rows_that_share_a_history_are_scored_as_with_a_copy_each(self, config):
        model = build(config).eval()
        for case, (lengths, history_of) in SHARED.items():
            shared = shared_batch(FULL_SCHEMA, lengths, history_of)

            found, copied = model(shared), model(expanded(shared))

            torch.testing.assert_close(found, copied, rtol=1e-6, atol=1e-6, msg=lambda m, case=case: f"{case}: {m}")

    def test_rows_that_share_a_history_give_the_gradients_of_copies(self, config):
        model = build(config).double().eval()
        shared = in_double(shared_batch(FULL_SCHEMA, *SHARED["some of each"]))

        gradients = []
        for batch in (shared, expanded(shared)):
            model.zero_grad()
            model(batch).logit.square().sum().backward()
            gradients.append({name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None})

        torch.testing.assert_close(gradients[0], gradients[1])

    def test_the_same_seed_gives_the_same_output_and_another_does_not(self, config):
        batch = random_batch(FULL_SCHEMA, NORMAL)

        first, again, other = (build(config, seed=seed).eval()(batch).logit for seed in (0, 0, 1))

        assert torch.equal(first, again)
        assert not torch.allclose(first, other)

    def test_target_and_history_both_matter(self, config):
        model, batch = build(config).eval(), random_batch(FULL_SCHEMA, [2, 2])
        other_target = take_rows(batch, [0, 1])
        other_target.target[0] = (batch.target[0] + 1) % 12
        other_history = take_rows(batch, [0, 1])
        other_history.history[0] = (batch.history[0] + 1) % 12

        for changed in (other_target, other_history):
            assert (model(changed).logit != model(batch).logit).all()

    def test_its_state_goes_into_another_one_of_its_kind(self, config, tmp_path):
        model, other = build(config, seed=0), build(config, seed=1)
        batch = random_batch(FULL_SCHEMA, NORMAL)
        model(batch)  # updates the state that training moves, such as the statistics of Dice

        torch.save(model.state_dict(), tmp_path / "state.pt")
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))

        assert torch.equal(other.eval()(batch).logit, model.eval()(batch).logit)

    def test_its_config_goes_through_plain_values(self, config):
        values = config.model_dump(mode="json")

        assert validate(type(config), values) == config

    @pytest.mark.slow
    def test_it_learns_the_synthetic_signal(self, default_config, learnable_dataset):
        """After two epochs its loss on unseen rows is below that of the best constant."""
        model = build(default_config, learnable_dataset.schema)
        optimizer = build_optimizer(AdamConfig(learning_rate=5e-3), model)
        train = BatchLoader(learnable_dataset.split("train"), batch_size=200, max_history=20, seed=0)
        for _ in range(2):
            for batch in train:
                optimizer.zero_grad()
                mean_loss(model(batch), batch.label).backward()
                optimizer.step()

        unseen = learnable_dataset.split("validation").take(slice(None), 20)
        rate = unseen.label.mean()
        with torch.no_grad():
            loss = F.binary_cross_entropy_with_logits(model.eval()(unseen).logit, unseen.label)

        assert loss < 0.97 * F.binary_cross_entropy(rate.expand_as(unseen.label), unseen.label)
