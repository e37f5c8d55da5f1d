"""LR against a loop over rows, and against scikit-learn's optimum."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch
from tests.models.plain_loops import in_double, randomised

from clickflow.models.config import LRConfig

LENGTHS = [3, 0, 1, 5]


def build(schema, **choices):
    return randomised(LRConfig(**choices).build(schema))


def logit_of_row(linear, batch, row, pooling):
    total = linear.bias.item()
    for f, (of_target, of_history) in enumerate(zip(linear.target_tables.values(), linear.history_tables.values(), strict=True)):
        total += of_target.weight[batch.target[f, row], 0].item()
        history = [of_history.weight[batch.history[f, n], 0].item() for n in range(int(batch.offsets[row]), int(batch.offsets[row + 1]))]
        total += sum(history) / (len(history) if pooling == "mean" and history else 1)
    for c, table in enumerate(linear.context_tables.values()):
        total += table.weight[batch.context[c, row], 0].item()
    return total + sum(w * x for w, x in zip(linear.numeric_weight[:, 0].tolist(), batch.numeric[row].tolist(), strict=True))


@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_it_equals_a_loop_over_rows(pooling, schema):
    model, batch = build(schema, pooling=pooling), in_double(random_batch(schema, LENGTHS))

    expected = [logit_of_row(model.linear, batch, row, pooling) for row in range(len(LENGTHS))]

    torch.testing.assert_close(model(batch).logit, torch.tensor(expected, dtype=torch.float64))


def test_its_optimum_is_that_of_scikit_learns_logistic_regression():
    """Both have the same features (one-hot target, counts of behaviours), ridge penalty and loss."""
    draw = torch.Generator().manual_seed(1)
    batch = in_double(random_batch(ITEM_SCHEMA, torch.randint(0, 6, (200,), generator=draw).tolist()))
    rows = torch.repeat_interleave(torch.arange(200), batch.lengths)
    counts = torch.zeros(200, 12, dtype=torch.float64).index_put(
        (rows, batch.history[0]), torch.ones(1, dtype=torch.float64), accumulate=True
    )
    features = torch.cat([F.one_hot(batch.target[0], 12).double(), counts], dim=1)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(features.numpy(), batch.label.numpy())

    model = build(ITEM_SCHEMA)
    for table in model.modules():
        if isinstance(table, torch.nn.Embedding):
            table.sparse = False  # L-BFGS accepts dense gradients only
    weights = [model.linear.target_tables["item"].weight, model.linear.history_tables["item"].weight]
    optimizer = torch.optim.LBFGS([*weights, model.linear.bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        total = F.binary_cross_entropy_with_logits(model(batch).logit, batch.label.double(), reduction="sum")
        total = total + sum(weight.square().sum() for weight in weights) / 2
        total.backward()
        return total

    optimizer.step(loss)

    torch.testing.assert_close(
        model(batch).logit.detach(), torch.from_numpy(expected.decision_function(features.numpy())), rtol=1e-4, atol=1e-4
    )


def test_no_term_combines_target_and_history():
    """The history adds the same amount to the logit of every target."""
    model, batch = build(ITEM_SCHEMA), in_double(random_batch(ITEM_SCHEMA, [4, 0, 4, 0]))
    batch.history[0, 4:] = batch.history[0, :4]
    batch.target[0] = torch.tensor([3, 3, 9, 9])

    with_3, without_3, with_9, without_9 = model(batch).logit.tolist()

    assert with_3 - without_3 == pytest.approx(with_9 - without_9)
