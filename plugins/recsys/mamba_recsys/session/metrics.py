"""MRR, HR and NDCG at 20 over the whole catalogue, of every event but a session's first."""

from __future__ import annotations

import torchmetrics

from mamba_recsys.next_item.metrics import RankMeasure

K = 20


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {name: RankMeasure(name, K, filter_seen=False) for name in ("mrr", "hr", "ndcg")}
