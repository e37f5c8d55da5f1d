"""Product-based Neural Network: the tower sees the fields and their products.

Qu et al., Product-based Neural Networks for User Response Prediction, ICDM 2016. With fields f_1 ... f_F of width E the product layer is

    l_1 = activation(W_z z + W_p p + b_1)
    z = [f_1, ..., f_F]                                     linear signals
    p = [<f_i, f_j> for i < j]                              product = inner (IPNN)
    p = vec(f_Σ f_Σᵀ) with f_Σ = Σ_i f_i                    product = outer (OPNN with the paper's superposition)

W_z and W_p side by side are the tower's first layer over [z, p]. The paper writes the inner products as a symmetric matrix; here each
occurs once, and the squares <f_i, f_i> are left out, as in the authors' code. Numeric fields have no vector and are appended to z.
"""

import torch
from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.config import PNNConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.embedding import FieldEmbeddings
from clickflow.models.layers.products import field_vectors, inner_products, outer_product


class PNN(nn.Module):
    """The tower over pooled history, target, user, context and numeric fields, and the products of all but the numeric fields."""

    def __init__(self, config: PNNConfig, schema: Schema) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(schema, config.embedding_dim, config.embedding_init_std)
        self.pool = config.build_pool()
        self.embedding_dim = config.embedding_dim
        self.product = inner_products if config.product == "inner" else outer_product
        num_fields = 2 * len(schema.item_fields) + len(schema.impression_fields)
        num_products = num_fields * (num_fields - 1) // 2 if config.product == "inner" else config.embedding_dim**2
        self.mlp = config.build_tower(self.embeddings.tower_input_dim(self.embeddings.target_dim) + num_products)

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        embedded = self.embeddings(batch)
        pooled = batch.of_rows(self.pool(embedded.history, batch.offsets))  # (B, D)
        products = self.product(field_vectors(embedded, pooled, self.embedding_dim))  # (B, P)
        return ModelOutput(self.mlp(torch.cat([embedded.tower_input(pooled), products], dim=1)))
