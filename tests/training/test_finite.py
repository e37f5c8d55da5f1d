"""Numbers that are not finite: the error names the layer in which they begin, and they never reach a checkpoint."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, random_batch
from torch import nn

from clickflow.errors import TrainingError
from clickflow.models.base import EmbeddingMLP
from clickflow.models.config import BaseConfig, DINConfig
from clickflow.models.contract import ModelOutput
from clickflow.training.config import AdamConfig, TrainerConfig
from clickflow.training.finite import first_non_finite, refuse_non_finite, refuse_non_finite_weights
from clickflow.training.fit import fit, seed_everything

LENGTHS = [3, 0, 5, 2]
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DINConfig(activation="relu").build(FULL_SCHEMA)


@pytest.fixture
def batch():
    return random_batch(FULL_SCHEMA, LENGTHS)


def put(model, name, value):
    """Set the first number of a weight to a value."""
    dict(model.named_parameters())[name].data.view(-1)[0] = value


class TestTheLayerThatIsNamed:
    def test_by_its_weights(self, model, batch):
        put(model, "mlp.layers.2.weight", INFINITE)

        assert first_non_finite(model, batch) == "first in forward order: the weights mlp.layers.2.weight, inf in 1 of 3,200 numbers"

    def test_by_its_output_where_an_activation_overflows(self, model, batch):
        with torch.no_grad():
            model.mlp.layers[0].weight.fill_(3e38)
            model.mlp.layers[0].bias.fill_(3e38)

        assert "first in forward order: the output of mlp.layers.0, " in first_non_finite(model, batch)

    def test_it_is_the_first_one_in_forward_order_and_not_of_those_registered(self, batch):
        class Backwards(nn.Module):
            def __init__(self):
                super().__init__()
                self.last, self.first = nn.Linear(3, 1), nn.Linear(2, 3)

            def forward(self, batch):
                return ModelOutput(self.last(self.first(batch.numeric)).squeeze(1))

        model = Backwards()
        put(model, "last.weight", NAN)
        put(model, "first.weight", NAN)

        assert "first in forward order: the weights first.weight, nan in 1 of 6 numbers" in first_non_finite(model, batch)

    def test_weights_that_a_parent_uses_without_a_call_are_found_before_what_follows_from_them(self, model, batch):
        """The activation unit factorises its first layer and never calls it."""
        put(model, "activation_unit.first.weight", NAN)

        assert "the weights activation_unit.first.weight, nan in 1 of 10,240 numbers" in first_non_finite(model, batch)

    def test_only_the_looked_up_rows_of_a_table_count(self, model, batch):
        table = model.embeddings.item_tables["item"].weight
        used = torch.cat([batch.target[0], batch.history[0]]).unique()
        unused = next(row for row in range(12) if row not in used)
        with torch.no_grad():
            table[unused] = NAN
        assert "all layers are finite" in first_non_finite(model, batch)

        with torch.no_grad():
            table[used[0], 0] = NAN
        assert "first in forward order: the looked-up rows of embeddings.item_tables.item, nan in" in first_non_finite(model, batch)

    def test_the_result_of_a_function_between_layers_is_an_input(self, batch):
        class Between(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = nn.Linear(2, 3), nn.Linear(3, 1)

            def forward(self, batch):
                return ModelOutput(self.last(self.first(batch.numeric) / 0).squeeze(1))

        assert "first in forward order: the input of last, " in first_non_finite(Between(), batch)

    def test_numeric_fields_that_are_not_finite_themselves(self, model, batch):
        batch.numeric[1, 0] = INFINITE

        assert first_non_finite(model, batch) == "first in forward order: the batch's numeric fields, inf in 1 of 8 numbers"

    def test_a_part_of_the_models_output_by_its_name(self, batch):
        class Auxiliary(nn.Module):
            def forward(self, batch):
                return ModelOutput(torch.zeros(len(batch)), torch.tensor(NAN))

        assert "the output of the model (auxiliary_loss), nan in 1 of 1 numbers" in first_non_finite(Auxiliary(), batch)

    def test_the_loss_itself(self, model, batch):
        assert first_non_finite(model, batch) == "all layers are finite when the batch is run again: it arises in the loss itself"

    def test_the_search_leaves_no_hooks(self, model, batch):
        first_non_finite(model, batch)

        assert not [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]


def test_the_error_names_step_value_layer_and_remedy(model, batch):
    put(model, "mlp.layers.0.bias", NAN)

    message = (
        r"^training at step 7, loss = nan: training diverged; it must be finite; first in forward order: the weights mlp\.layers\.0\.bias, "
        r"nan in 1 of 80 numbers; lower optimizer\.learning_rate, set trainer\.gradient_clip_norm, or look for extreme values in the"
    )
    with pytest.raises(TrainingError, match=message):
        refuse_non_finite(torch.tensor(NAN), "training at step 7, loss", model, batch)


@pytest.mark.parametrize("value", [0.0, -3e38])
def test_finite_values_pass(model, batch, value):
    refuse_non_finite(torch.tensor(value), "training at step 7, loss", model, batch)
    refuse_non_finite_weights(model, step=7)


@pytest.mark.parametrize("name", ["embeddings.item_tables.item.weight", "mlp.layers.0.bias"])
@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
def test_weights_that_are_not_finite_are_refused(model, name, value):
    put(model, name, value)

    with pytest.raises(
        TrainingError, match=rf"weights after step 7, {name} = {value} in 1 of .*weights must be finite to be saved, .*; lower"
    ):
        refuse_non_finite_weights(model, step=7)


class WithPassenger(EmbeddingMLP):
    """Model with a weight that predictions do not depend on, like rows of a table that validation does not look up."""

    def __init__(self, config, schema):
        super().__init__(config, schema)
        self.passenger = nn.Parameter(torch.zeros(3))


class TestTheLastGoodCheckpoint:
    """An epoch has ten or fewer steps; the fault begins in the second epoch."""

    @pytest.fixture
    def diverge(self, small_dataset, tmp_path):
        def run(poison, *, at_step):
            seed_everything(0)
            model = WithPassenger(BaseConfig(embedding_dim=4, hidden_units=(8,)), small_dataset.schema)
            config = TrainerConfig(max_epochs=3, batch_size=500, monitor="val/auc", log_every_num_steps=1, progress_bar=False)

            def sink(metrics, step):
                if "train/loss" in metrics and step == at_step:
                    poison(model)

            with pytest.raises(TrainingError) as error:
                fit(model, small_dataset, config, AdamConfig(), seed=0, folder=tmp_path, sink=sink)
            return str(error.value)

        return run

    @staticmethod
    def assert_finite_and_of_the_first_epoch(path):
        saved = torch.load(path, weights_only=True)
        assert saved["epoch"] == 0
        assert all(torch.isfinite(tensor).all() for tensor in saved["state_dict"].values())

    def test_it_stays_where_the_weights_break_within_an_epoch(self, diverge, small_dataset, tmp_path):
        steps = -(-len(small_dataset.split("train")) // 500)

        message = diverge(lambda model: put(model, "mlp.layers.2.weight", NAN), at_step=steps + 1)

        assert message.startswith(f"training at step {steps + 2}, loss = nan")
        assert "the weights mlp.layers.2.weight" in message
        self.assert_finite_and_of_the_first_epoch(tmp_path / "last.ckpt")

    def test_it_stays_where_a_gradient_breaks_the_weights_in_a_finite_step(self, diverge, small_dataset, tmp_path):
        steps = -(-len(small_dataset.split("train")) // 500)

        def break_gradients(model):
            model.mlp.layers[2].weight.register_hook(lambda gradient: gradient * NAN)

        message = diverge(break_gradients, at_step=steps + 1)

        assert message.startswith(f"training at step {steps + 3}, loss = nan")
        assert "the weights mlp.layers.2.weight" in message
        self.assert_finite_and_of_the_first_epoch(tmp_path / "last.ckpt")

    def test_it_stays_where_no_prediction_shows_the_fault(self, diverge, small_dataset, tmp_path):
        steps = -(-len(small_dataset.split("train")) // 500)

        message = diverge(lambda model: put(model, "passenger", NAN), at_step=steps + 1)

        assert message.startswith(f"weights after step {2 * steps}, passenger = nan in 1 of 3 numbers")
        for name in ("last.ckpt", "best.ckpt"):
            self.assert_finite_and_of_the_first_epoch(tmp_path / name)
