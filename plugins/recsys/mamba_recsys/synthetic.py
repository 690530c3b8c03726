"""Made-up interactions with known structure, for tests and first tries; no real data is needed.

Items stand in groups. A user walks a Markov chain over the groups, takes the group's items by
their popularity, goes back to an earlier item now and then, and may come from a drifting taste.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """How the events come about."""

    users: int = 200
    items: int = 60
    groups: int = 6
    """Groups of items, as equal in size as possible."""
    stay: float = 0.1
    """Chance that the next item is of the same group; else it is of the group behind it, with
    a chance of ``next``, or of any."""
    next: float = 0.8
    skew: float = 1.0
    """Popularity inside a group falls as rank to this power."""
    repeat: float = 0.0
    """Chance to take one of the last five items again."""
    shortest: int = 5
    longest: int = 30
    """Events of a user, drawn evenly between the two."""
    cold: int = 0
    """Items of each group that nobody takes before the last event of a user; each user's last
    event is then one of those."""
    spread: int = 1000
    """Hours over which users begin."""
    seed: int = 0

    def group_of(self, item: int) -> int:
        """Return an item's group."""
        return item % self.groups

    def events(self) -> pd.DataFrame:
        """Return ``user_id``, ``item_id``, ``timestamp`` (an hour between events)."""
        rng = np.random.default_rng(self.seed)
        rows: list[tuple[int, int, int]] = []
        for user in range(self.users):
            start = int(rng.integers(self.spread)) * 3600
            for step, item in enumerate(self._walk(rng)):
                rows.append((user, item, start + 3600 * step))
        return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])

    def features(self) -> pd.DataFrame:
        """Return ``item_id``, ``group`` (text) and ``rank`` (popularity inside the group)."""
        every = range(self.items)
        return pd.DataFrame(
            {
                "item_id": list(every),
                "group": [f"g{self.group_of(i)}" for i in every],
                "rank": [float(i // self.groups) for i in every],
            }
        )

    def _walk(self, rng: np.random.Generator) -> list[int]:
        length = int(rng.integers(self.shortest, self.longest + 1))
        group = int(rng.integers(self.groups))
        taken: list[int] = []
        for step in range(length):
            if taken and rng.random() < self.repeat:
                taken.append(taken[-1 - int(rng.integers(min(5, len(taken))))])
                continue
            group = self._step(rng, group)
            taken.append(self._item(rng, group, cold=self.cold > 0 and step == length - 1))
        return taken

    def _step(self, rng: np.random.Generator, group: int) -> int:
        chance = rng.random()
        if chance < self.stay:
            return group
        if chance < self.stay + self.next:
            return (group + 1) % self.groups
        return int(rng.integers(self.groups))

    def _item(self, rng: np.random.Generator, group: int, *, cold: bool) -> int:
        own = np.arange(group, self.items, self.groups)
        own = own[len(own) - self.cold :] if cold else own[: len(own) - self.cold]
        weights = (1.0 + np.arange(len(own))) ** -self.skew
        return int(rng.choice(own, p=weights / weights.sum()))
