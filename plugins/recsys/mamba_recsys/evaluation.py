"""Ranking against the whole catalogue, in both conventions of what the user had before.

Protocol: every item is a candidate, or (``filter_seen``) every item that the user's whole
history up to the target does not hold, and a target that it does hold is a miss. Equal scores
count half (:mod:`mamba_recsys.ranking`). Means are over all users, misses included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.file_batches import Progress
from mamba_recsys.interactions import Contexts, Interactions, contexts
from mamba_recsys.ragged import pairs
from mamba_recsys.ranking import MEASURES, ranks

SCORES = 1 << 25
"""Most scores at once, so that memory does not grow with the catalogue."""


class Scorer(Protocol):
    """Anything that scores a catalogue for histories."""

    def scores(self, contexts: Contexts) -> Any:
        """Return ``(users, items)``, an array or a tensor of its own."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Ranks of all targets in both conventions, and what was recommended."""

    targets: NDArray[np.int64]
    """Items, ``(users,)``."""
    lengths: NDArray[np.int64]
    """Events of each user's whole context."""
    plain: Tensor
    """Rank of each target among all items, float64 ``(users,)``."""
    unseen: Tensor
    """Rank among the items that are new to the user; infinite where the target is not."""
    shown: dict[str, Tensor]
    """How often each item is among the first k of anybody, int64 ``(items,)``, by convention."""
    k: int
    """Of ``shown``."""

    def table(self, ks: Sequence[int] = (10,)) -> pd.DataFrame:
        """Return a row per convention (``filter_seen``) with HR, NDCG and MRR at every k."""
        rows = []
        for name, rank in (("plain", self.plain), ("unseen", self.unseen)):
            row: dict[str, Any] = {"filter_seen": name == "unseen"}
            for k in ks:
                row |= {f"{m}@{k}": float(f(rank, k).mean()) for m, f in MEASURES.items()}
            row[f"coverage@{self.k}"] = float((self.shown[name] > 0).double().mean())
            rows.append(row)
        return pd.DataFrame(rows)

    def by_popularity(self, counts: NDArray[np.int64], k: int = 10) -> pd.DataFrame:
        """Return the measures for targets that are frequent, middling, rare and new in training.

        :param counts: training events per item. The most frequent items that make half of all
            events are the head, those that make the next 30 % the middle, the others the tail.
        """
        order = np.argsort(-counts, kind="stable")
        before = (counts[order].cumsum() - counts[order]) / max(counts.sum(), 1)
        names = np.empty(len(counts), dtype=object)
        names[order] = np.where(before < 0.5, "head", np.where(before < 0.8, "middle", "tail"))
        names[counts == 0] = "new"
        return self._grouped(names[self.targets], ("head", "middle", "tail", "new"), k)

    def by_length(self, edges: Sequence[int] = (10, 50, 200), k: int = 10) -> pd.DataFrame:
        """Return the measures for users with short and long contexts, cut at ``edges``."""
        names = [f"<= {edge}" for edge in edges] + [f"> {edges[-1]}"]
        group = np.searchsorted(np.array(edges), self.lengths, side="left")
        return self._grouped(np.array(names, dtype=object)[group], tuple(names), k)

    def _grouped(self, groups: NDArray[Any], names: Sequence[str], k: int) -> pd.DataFrame:
        rows = []
        for name in names:
            own = torch.from_numpy(groups == name)
            if own.any():
                row: dict[str, Any] = {"group": name, "users": int(own.sum())}
                for convention, rank in (("", self.plain), ("_new", self.unseen)):
                    row |= {
                        f"{m}@{k}{convention}": float(f(rank[own], k).mean())
                        for m, f in MEASURES.items()
                    }
                rows.append(row)
        return pd.DataFrame(rows)


@torch.no_grad()
def evaluate(
    scorer: Scorer,
    data: Interactions,
    places: NDArray[np.int64],
    *,
    longest: int | None = None,
    k: int = 10,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank the target of every example.

    :param places: of the targets, as :class:`~mamba_recsys.interactions.Parts` holds them.
    :param longest: events of the context that the scorer is given; what was seen is always
        taken from the whole.
    :param k: length of the lists that coverage is counted on.
    :param progress: called with ``("evaluating", users done, in all)``.
    :raises ValueError: without any example.
    """
    if not len(places):
        raise ValueError(
            "there is no target to rank: no user has enough events, or events on both sides of the "
            "split's moment"
        )
    items = len(data.catalogue)
    whole = contexts(data, places)
    batch_size = min(max(SCORES // items, 1), 256)
    found: dict[str, list[Tensor]] = {"plain": [], "unseen": []}
    shown = {name: torch.zeros(items, dtype=torch.int64) for name in found}
    targets = torch.from_numpy(data.items[places])
    for start in range(0, len(places), batch_size):
        part = slice(start, start + batch_size)
        scores = torch.as_tensor(scorer.scores(whole[part].latest(longest)))
        for name in found:
            if name == "unseen":
                scores[pairs(whole[part])] = -torch.inf
            found[name].append(ranks(scores, targets[part]))
            best = scores.topk(min(k, items), dim=1)
            chosen = best.indices[~torch.isneginf(best.values)]
            shown[name] += torch.bincount(chosen, minlength=items)
        if progress is not None:
            progress("evaluating", min(start + batch_size, len(places)), len(places))
    return Evaluation(
        targets=data.items[places],
        lengths=whole.stops - whole.starts,
        plain=torch.cat(found["plain"]),
        unseen=torch.cat(found["unseen"]),
        shown=shown,
        k=k,
    )
