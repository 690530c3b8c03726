"""Several scan paths over the same tokens, merged into one output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_core.mixers.base import Mixer, ScanMixer
from mamba_core.mixers.choice import MixerChoice, build_mixer
from mamba_core.mixers.merge import Merge, Scatter, Sum, make_merge
from mamba_core.mixers.paths import check_parts, folded, map_inputs, put, scan_each, take

Share = Literal["projections", "all", "none"]
"""What the K paths have in common. ``projections``: one input and one output projection around
K scans (Vim's form). ``all``: one mixer reads every path. ``none``: K whole mixers (S-Mamba's
form, with ``merge="sum"``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultiScanConfig:
    """Paths, sharing and merge of a :class:`MultiScan`."""

    scan_order: str = "bidirectional"
    """A scan order: a registered name or an expression such as ``hilbert+hilbert:reverse``; its
    K paths are what is scanned. With ``a|b`` layers take turns."""
    merge: Merge = "mean"
    """How the K outputs become one. With ``none`` layer l reads path l alone, counted round."""
    share: Share | None = None
    """What the paths have in common; None takes ``projections`` where the mixer allows it and
    ``none`` elsewhere."""


class MultiScan(Mixer):
    """A mixer that reads its tokens along K orders.

    The paths of Mamba mixers go through the convolution and the scan in one call each, the
    order applied inside; other mixers read one permuted copy per path.

    Never causal, whatever its order: a path may read any token first. For a causal stack use
    the mixer itself.

    :param mixer: what reads each path.
    :param paths: K, the rows of the order handed to :meth:`forward`.
    :param fold: axes of the grid whose slices are sequences of their own.
    """

    causal = False
    takes_shape = True

    def __init__(
        self,
        d_model: int,
        mixer: MixerChoice | str | Mapping[str, Any],
        paths: int,
        *,
        merge: Merge = "mean",
        share: Share | None = None,
        fold: tuple[int, ...] = (),
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
        self.d_model, self.paths, self.fold = d_model, paths, fold
        self.mixer = first
        if self.share == "none":
            self.others = nn.ModuleList(build_mixer(mixer, d_model) for _ in range(paths - 1))
        elif self.share == "projections":
            assert isinstance(first, ScanMixer)
            self.others = nn.ModuleList(first.make_path() for _ in range(paths - 1))
        else:
            self.others = nn.ModuleList()
        self.merge = make_merge(merge, d_model, paths)

    def forward(
        self,
        x: Tensor,
        *,
        order: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        shape: Sequence[int] | None = None,
    ) -> Tensor:
        """Mix along every path.

        :param x: ``(B, L, d_model)``, packed ``(1, sum of L, d_model)`` with ``cu_seqlens``.
        :param order: int64 ``(K, L)`` or ``(B, K, L)``; packed orders stay inside sequences.
            Shorter paths of a partition end with -1; -1 between tokens is read as zeros. With
            ``fold`` the order of one slice.
        :param shape: the grid, which only ``fold`` needs.
        :returns: a tensor like ``x``, in token order.
        """
        if order is None:
            raise ValueError(f"MultiScan reads {self.paths} paths: hand it order, int64 (K, L)")
        if not isinstance(order, Tensor):
            raise TypeError(
                f"order is a {type(order).__name__}; a tensor int64 (K, L) belongs here"
            )
        if order.shape[-2] != self.paths:
            raise ValueError(f"order has {order.shape[-2]} paths, the mixer has {self.paths}")
        if self.fold:
            if shape is None or cu_seqlens is not None:
                raise ValueError(
                    "slices need the shape of the grid, and tokens that are not packed"
                )
            slices, unfold = folded(x, tuple(shape), self.fold)
            return unfold(self._mix(slices, order, None))
        if order.shape[-1] != x.shape[1] or isinstance(self.merge, Scatter):
            return self._mix_parts(x, order, cu_seqlens)
        return self._mix(x, order, cu_seqlens)

    def _mix(self, x: Tensor, order: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """Paths that each read all tokens."""
        if self.share == "none":
            xs = [x] * self.paths
            return self.merge(self._stack(scan_each(self._readers(), xs, order, cu_seqlens)))
        if not isinstance(self.mixer, ScanMixer):
            readers = [self.mixer] * self.paths
            return self.merge(self._stack(scan_each(readers, [x] * self.paths, order, cu_seqlens)))
        inputs, gate = self.mixer.project(x)
        y, _ = self.mixer.scan(inputs, order=order, paths=self._scans(), cu_seqlens=cu_seqlens)
        if isinstance(self.merge, Sum) and self.share == "projections":
            return self.mixer.combine(self.merge(y), gate)  # one gate and projection, as in Vim
        return self.merge(self.mixer.combine(y, gate[:, None].expand(-1, self.paths, -1, -1)))

    def _mix_parts(self, x: Tensor, order: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """Paths with empty slots: each token is read from a copy, by one path."""
        if cu_seqlens is not None or order.dim() != 2:
            raise ValueError(
                f"order reads {order.shape[-1]} tokens, x has {x.shape[1]}; orders with empty "
                "slots are (K, M) and cannot be packed"
            )
        check_parts(order, x.shape[1])
        if isinstance(self.mixer, ScanMixer) and self.share != "none":
            inputs, gate = self.mixer.project(x)
            parts = map_inputs(lambda t: take(t, order), inputs)
            straight = torch.arange(order.shape[1], device=x.device).expand(self.paths, -1)
            y, _ = self.mixer.scan(parts, order=straight, paths=self._scans())
            return self.mixer.combine(put(y, order, x.shape[1]), gate)
        readers = self._readers() if self.share == "none" else [self.mixer] * self.paths
        parts = take(x, order)
        outputs = [reader(parts[:, k]) for k, reader in enumerate(readers)]
        return put(torch.stack(outputs, dim=1), order, x.shape[1])

    def _readers(self) -> list[nn.Module]:
        return [self.mixer, *self.others]

    def _scans(self) -> list[nn.Module]:
        """What :meth:`ScanMixer.scan` takes as its paths."""
        return self._readers() if self.others else []

    @staticmethod
    def _stack(outputs: list[Tensor]) -> Tensor:
        return torch.stack(outputs, dim=1)


def packing(cu_seqlens: Tensor | None) -> dict[str, Tensor]:
    """Return the keyword for packed input, or none, so that simple mixers need not know it."""
    return {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
