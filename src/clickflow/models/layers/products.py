"""Products of fields: PNN passes them to its tower, DeepFM adds them to its logit.

A field is one vector of width E: the pooled history of each item field, the target's vector of each item field, each user or context field.
A history counts as one field with the pooled vector; products among its behaviours are left out, as in the papers' comparisons.
"""

import torch
from torch import Tensor

from clickflow.models.layers.embedding import EmbeddedBatch


def field_vectors(embedded: EmbeddedBatch, pooled: Tensor, embedding_dim: int) -> Tensor:
    """Vectors of the fields of each row: B embedded rows and (B, D) pooled histories -> (B, F, E) for embeddings of E numbers.

    F = 2 * item fields + user and context fields.
    """
    side_by_side = torch.cat([pooled, embedded.target, embedded.context], dim=1)
    return side_by_side.view(len(pooled), side_by_side.shape[1] // embedding_dim, embedding_dim)


def inner_products(vectors: Tensor) -> Tensor:
    """<f_i, f_j> of all pairs i < j: (B, F, E) -> (B, F (F - 1) / 2), in the order (0, 1), (0, 2), ... (1, 2), ...

    >>> inner_products(torch.tensor([[[1.0], [2.0], [5.0]]]))
    tensor([[ 2.,  5., 10.]])
    """
    first, second = torch.triu_indices(vectors.shape[1], vectors.shape[1], offset=1, device=vectors.device)
    return torch.bmm(vectors, vectors.transpose(1, 2))[:, first, second]


def outer_product(vectors: Tensor) -> Tensor:
    """f_Σ f_Σᵀ with f_Σ = Σ_i f_i, which is the sum of f_i f_jᵀ over all i and j: (B, F, E) -> (B, E * E).

    >>> outer_product(torch.tensor([[[1.0, 0.0], [2.0, 5.0]]]))
    tensor([[ 9., 15., 15., 25.]])
    """
    total = vectors.sum(1)  # (B, E)
    return (total.unsqueeze(2) * total.unsqueeze(1)).flatten(1)


def factorised_pairs(vectors: Tensor) -> Tensor:
    """Sum of <f_i, f_j> over all pairs i < j as 1/2 Σ_e [(Σ_i f_ie)² - Σ_i f_ie²], in O(F E): (B, F, E) -> (B,).

    >>> factorised_pairs(torch.tensor([[[1.0], [2.0], [5.0]]]))
    tensor([17.])
    """
    return (vectors.sum(1).square() - vectors.square().sum(1)).sum(1) / 2
