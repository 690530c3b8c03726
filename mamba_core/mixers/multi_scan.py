"""Several scan paths over the same tokens, merged into one output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_core.mixers.base import Mixer, ScanMixer
from mamba_core.mixers.choice import MixerChoice, build_mixer

Merge = Literal["sum", "mean", "concat", "gate"]
"""How the K outputs become one: added, averaged, joined along channels and projected, or
weighted per token by a learned softmax."""

Share = Literal["projections", "all", "none"]
"""What the K paths have in common. ``projections``: one input and one output projection around
K scans (Vim's form). ``all``: one mixer reads every path. ``none``: K whole mixers (S-Mamba's
form, with ``merge="sum"``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultiScanConfig:
    """Paths, sharing and merge of a :class:`MultiScan`."""

    scan_order: str = "bidirectional"
    """Name of a registered scan order; its K paths are what is scanned."""
    merge: Merge = "mean"
    """How the K outputs become one."""
    share: Share | None = None
    """What the paths have in common; None takes ``projections`` where the mixer allows it and
    ``none`` elsewhere."""


class MultiScan(Mixer):
    """A mixer that reads its tokens along K orders.

    Never causal, whatever its order: a path may read any token first. For a causal stack use
    the mixer itself.

    :param mixer: what reads each path.
    :param paths: K, the rows of the order handed to :meth:`forward`.
    """

    causal = False

    def __init__(
        self,
        d_model: int,
        mixer: MixerChoice | str | Mapping[str, Any],
        paths: int,
        *,
        merge: Merge = "mean",
        share: Share | None = None,
    ) -> None:
        super().__init__()
        first = build_mixer(mixer, d_model)
        splits = isinstance(first, ScanMixer)
        if share == "projections" and not splits:
            raise ValueError(
                f"share='projections' needs a mixer whose scan stands between projections; "
                f"{type(first).__name__} is whole: use share='none' or 'all'"
            )
        self.share = share or ("projections" if splits else "none")
        self.d_model, self.paths = d_model, paths
        self.mixer = first
        if self.share == "none":
            self.others = nn.ModuleList(build_mixer(mixer, d_model) for _ in range(paths - 1))
        elif self.share == "projections":
            assert isinstance(first, ScanMixer)
            self.others = nn.ModuleList(first.make_path() for _ in range(paths - 1))
        else:
            self.others = nn.ModuleList()
        self.merge = _merge(merge, d_model, paths)

    def forward(
        self, x: Tensor, *, order: Tensor | None = None, cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Mix along every path.

        :param x: ``(B, L, d_model)``, packed ``(1, sum of L, d_model)`` with ``cu_seqlens``.
        :param order: int64 ``(K, L)`` or ``(B, K, L)``; packed orders stay inside sequences.
        :returns: a tensor like ``x``, in token order.
        """
        if order is None:
            raise ValueError(f"MultiScan reads {self.paths} paths: hand it order, int64 (K, L)")
        if order.shape[-2] != self.paths:
            raise ValueError(f"order has {order.shape[-2]} paths, the mixer has {self.paths}")
        if self.share == "projections":
            return self._scan_between(x, order, cu_seqlens)
        readers = [self.mixer, *self.others] if self.others else [self.mixer] * self.paths
        outputs = [
            self._read(reader, x, order[..., k, :], cu_seqlens) for k, reader in enumerate(readers)
        ]
        return self.merge(torch.stack(outputs, dim=1))

    def _scan_between(self, x: Tensor, order: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """One projection in, K scans, one projection out per merged (or single) path."""
        assert isinstance(self.mixer, ScanMixer)
        inputs, gate = self.mixer.project(x)
        scans = [self.mixer.scan, *(path.scan for path in self.others)]  # type: ignore[operator]
        outputs = [
            scan(inputs, order=order[..., k : k + 1, :], cu_seqlens=cu_seqlens)[0]
            for k, scan in enumerate(scans)
        ]
        y = torch.cat(outputs, dim=1)
        if isinstance(self.merge, _Sum):  # linear up to the gate: merge before projecting once
            return self.mixer.combine(self.merge(y), gate)
        return self.merge(self.mixer.combine(y, gate[:, None].expand(-1, self.paths, -1, -1)))

    @staticmethod
    def _read(mixer: nn.Module, x: Tensor, order: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """Gather, mix, scatter back: works with any mixer."""
        index = order.expand(x.shape[0], -1)[..., None].expand(-1, -1, x.shape[-1])
        y = mixer(x.gather(1, index), **packing(cu_seqlens))
        return torch.zeros_like(y).scatter(1, index, y)


def packing(cu_seqlens: Tensor | None) -> dict[str, Tensor]:
    """Return the keyword for packed input, or none, so that simple mixers need not know it."""
    return {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}


class _Sum(nn.Module):
    """Add the paths, ``(B, K, L, D) -> (B, L, D)``, or average them."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, y: Tensor) -> Tensor:
        total = y.sum(1)
        return total if self.scale == 1.0 else total * self.scale


class _Concat(nn.Module):
    """Join the paths' channels and project back to ``d_model``."""

    def __init__(self, d_model: int, paths: int) -> None:
        super().__init__()
        self.proj = nn.Linear(paths * d_model, d_model, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        return self.proj(y.transpose(1, 2).flatten(2))


class _Gate(nn.Module):
    """Weigh the paths per token by a softmax of each one's own score."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.score = nn.Linear(d_model, 1, bias=False)

    def forward(self, y: Tensor) -> Tensor:
        return (y * self.score(y).softmax(dim=1)).sum(1)


def _merge(merge: Merge, d_model: int, paths: int) -> nn.Module:
    if merge == "concat":
        return _Concat(d_model, paths)
    if merge == "gate":
        return _Gate(d_model)
    return _Sum(1.0 if merge == "sum" else 1.0 / paths)
