"""Logistic regression, the weakest of the papers' baselines: no embeddings, no products of features.

    logit = b + Σ_f [w_f(target_f) + pool over behaviours k of u_f(k_f)] + Σ_c v_c(x_c) + n · x_numeric

McMahan et al., Ad Click Prediction, KDD 2013, is the reference for clicks. No term combines target and history, so LR ranks the
same candidates identically for every user.
"""

from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.config import LRConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.linear import LinearPart


class LR(nn.Module):
    """The linear part alone."""

    def __init__(self, config: LRConfig, schema: Schema) -> None:
        super().__init__()
        self.linear = LinearPart(schema, config.build_pool())

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        return ModelOutput(self.linear(batch))
