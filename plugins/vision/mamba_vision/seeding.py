"""Random changes of a sample that are a function of its place only."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def drawn_from(seed: int, epoch: int, index: int) -> Iterator[None]:
    """Inside, torch draws from a generator seeded by these three; afterwards as before."""
    digest = hashlib.blake2b(f"{seed}:{epoch}:{index}".encode(), digest_size=4).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest, "big"))
        yield
