"""Metrics as tables and reports show them."""

import math
from collections.abc import Container

HEADINGS = {
    "auc": "AUC",
    "gauc": "GAUC",
    "gauc_users_skipped": "users skipped",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss",
    "list_gauc": "GAUC by list",
    "mrr": "MRR",
    "ndcg_5": "NDCG@5",
    "ndcg_10": "NDCG@10",
    "lists_skipped": "lists skipped",
    "oracle_auc": "oracle AUC",
}
"""Name of a metric -> its heading; the other names are headings themselves."""
PRINCIPAL = ("auc", "gauc", "pr_auc", "log_loss")
"""The metrics that every report shows, in this order."""
LIST_METRICS = ("list_gauc", "mrr", "ndcg_5", "ndcg_10")
"""The metrics within lists, which only data with lists has."""
WHOLE_NUMBERS = frozenset({"gauc_users_skipped", "lists_skipped"})


def reported(metrics: Container[str]) -> tuple[str, ...]:
    """The metrics that every report shows, and those within lists where there are lists.

    >>> reported({"auc", "calibration", "mrr", "gauc"})
    ('auc', 'gauc', 'pr_auc', 'log_loss', 'mrr')
    """
    return (*PRINCIPAL, *(name for name in LIST_METRICS if name in metrics))


def heading_of(name: str) -> str:
    """The heading of a metric.

    >>> heading_of("pr_auc"), heading_of("calibration")
    ('PR-AUC', 'calibration')
    """
    return HEADINGS.get(name, name)


def shown_value(name: str, value: float) -> str:
    """A metric's value; a dash where the rows cannot tell.

    >>> shown_value("auc", 0.71234), shown_value("gauc_users_skipped", 1234.0), shown_value("gauc", math.nan)
    ('0.7123', '1,234', '–')
    """
    return "–" if math.isnan(value) else f"{value:,.0f}" if name in WHOLE_NUMBERS else f"{value:.4f}"
