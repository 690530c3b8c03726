"""The state of some users: what a model remembers, when, and of which model it is."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from mamba_core.mixers import MixerState

FORMAT = 1


class StateError(ValueError):
    """A state that cannot be used."""


class StaleStateError(StateError):
    """A state that another model made."""


class OutOfOrderError(StateError):
    """An event that is earlier than one the state has read."""


@dataclass
class UserState:
    """One row per user; :meth:`mamba_recsys.Recommender.update` moves it on, in place."""

    mixer: MixerState
    """What the model remembers; a tree of tensors ``(users, ...)``."""
    times: NDArray[np.float64]
    """Seconds of each user's last event, minus infinity before the first, ``(users,)``."""
    key: str
    """Of the model that made it."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events that each user's state has read, ``(users,)``."""
        counts: NDArray[np.int64] = self.mixer.tensors["count"].numpy()
        return counts

    @property
    def nbytes(self) -> int:
        """Memory of the model's part, in bytes."""
        return self.mixer.nbytes

    def copy(self) -> UserState:
        """Return a state that moves on by itself."""
        return UserState(self.mixer, self.times.copy(), self.key)  # tensors are never written

    def select(self, rows: Any) -> UserState:
        """Return the state of some users, in this order."""
        at = torch.as_tensor(rows, dtype=torch.int64).reshape(-1)
        return UserState(self.mixer.select(at), self.times[at.numpy()], self.key)

    @staticmethod
    def join(states: list[UserState]) -> UserState:
        """Return one state of the users of several, in order.

        :raises StaleStateError: when they are of different models.
        """
        keys = {state.key for state in states}
        if len(keys) != 1:
            raise StaleStateError(f"states of {len(keys)} models cannot be joined: {sorted(keys)}")
        flat = [state.mixer.flatten() for state in states]
        joined = {name: torch.cat([one[name] for one in flat]) for name in flat[0]}
        times = np.concatenate([state.times for state in states])
        return UserState(states[0].mixer.unflatten(joined), times, states[0].key)

    def to_bytes(self) -> bytes:
        """Return the state as a safetensors file; :meth:`from_bytes` takes it back, bit for bit."""
        tensors = self.mixer.flatten() | {"times": torch.from_numpy(self.times)}
        return save(tensors, {"mamba_recsys": json.dumps({"format": FORMAT, "key": self.key})})

    @classmethod
    def from_bytes(cls, data: bytes, like: UserState) -> UserState:
        """Read a state.

        :param like: any state of the model that is to go on with it: its form and its key.
        :raises StateError: for bytes that are no state.
        :raises StaleStateError: for the state of another model.
        """
        try:
            described = json.loads(_metadata(data)["mamba_recsys"])
            tensors = load(data)
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise StateError(f"these {len(data)} bytes are no state of a user: {error}") from error
        if described["format"] != FORMAT:
            raise StateError(f"a state of format {described['format']}, this reads {FORMAT}")
        if described["key"] != like.key:
            raise StaleStateError(
                f"the state is of model {described['key']}, this is {like.key}: read the user's "
                "events again with this one"
            )
        return cls(like.mixer.unflatten(tensors), tensors["times"].numpy(), like.key)


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of safetensors bytes: a length, then JSON."""
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= len(data) - 8:
        raise ValueError("no header")
    found: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


def as_seconds(time: Any) -> float:
    """Return a moment as seconds: a number, a date with time (without zone: UTC), or ISO text.

    :raises StateError: for anything else, and for what is missing or not finite.
    """
    if isinstance(time, str):
        try:
            time = datetime.datetime.fromisoformat(time)
        except ValueError:
            raise StateError(f"time {time!r} is text, but no ISO date") from None
    if time is pd.NaT or (isinstance(time, np.datetime64) and np.isnat(time)):
        raise StateError(f"time {time!r} is missing")
    if isinstance(time, datetime.datetime):
        zone = time.tzinfo or datetime.UTC
        return time.replace(tzinfo=zone).timestamp()
    if isinstance(time, np.datetime64):
        return float((time - np.datetime64(0, "s")) / np.timedelta64(1, "s"))
    if isinstance(time, bool) or not isinstance(time, int | float | np.integer | np.floating):
        raise StateError(f"time {time!r} is neither a number of seconds nor a date")
    if not np.isfinite(time):
        raise StateError(f"time {time!r} is not finite")
    return float(time)
