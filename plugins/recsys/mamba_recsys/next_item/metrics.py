"""HR, NDCG and MRR at 10 over the whole catalogue, with and without what the history holds."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor

from mamba_core.training import ValueMean
from mamba_recsys.next_item.objective import IGNORE
from mamba_recsys.next_item.softmax import chunk_rows
from mamba_recsys.ragged import places
from mamba_recsys.ranking import MEASURES, ranks

K = 10
Values = dict[str, Tensor]


class RankMeasure(ValueMean):
    """Mean of a measure of the target's rank among all items.

    :param measure: one of :data:`~mamba_recsys.ranking.MEASURES`.
    :param k: length of the list.
    :param filter_seen: leave out the items of the history that the batch holds up to there; a
        target that is among them is a miss.
    """

    higher_is_better = True

    def __init__(self, measure: str, k: int, *, filter_seen: bool) -> None:
        super().__init__()
        self.measure, self.k, self.filter_seen = MEASURES[measure], k, filter_seen

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """The measure of every position with a target."""
        at = (batch["targets"] != IGNORE).nonzero()[:, 0]
        rows = chunk_rows(len(outputs["item_vectors"]))
        parts = [self._some(part, outputs, batch) for part in at.split(rows)]
        return torch.cat(parts) if parts else torch.zeros(0)

    def _some(self, at: Tensor, outputs: Values, batch: Values) -> Tensor:
        hidden, items = outputs["hidden"][at].float(), outputs["item_vectors"].float()
        with torch.autocast(hidden.device.type, enabled=False):  # or rounding would make ties
            scores = hidden @ items.T
        if self.filter_seen:
            seen = _seen(at, batch)
            scores[seen] = -torch.inf
        return self.measure(ranks(scores, batch["targets"][at]), self.k)


def _seen(at: Tensor, batch: Values) -> tuple[Tensor, Tensor]:
    """Rows and items that each position's own history holds up to there."""
    items, cu = batch["items"], batch["cu_seqlens"].long()
    sequence, _ = places(batch["cu_seqlens"], len(items))
    begin = cu[sequence[at]]
    lengths = at + 1 - begin
    rows = torch.repeat_interleave(torch.arange(len(at), device=at.device), lengths)
    first = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])[:-1]
    offset = torch.arange(len(rows), device=at.device) - first[rows]
    return rows, items[begin[rows] + offset]


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score. ``_new`` leaves out what was seen."""
    plain = {name: RankMeasure(name, K, filter_seen=False) for name in ("ndcg", "hr", "mrr")}
    new = {f"{name}_new": RankMeasure(name, K, filter_seen=True) for name in ("ndcg", "hr", "mrr")}
    return {**plain, **new}
