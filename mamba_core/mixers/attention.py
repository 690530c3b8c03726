"""Softmax attention over tokens, by torch's scaled dot product attention."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers.base import Mixer
from mamba_core.mixers.state import MixerState


class Attention(Mixer):
    """Multi-head (or grouped-query) attention, ``(B, L, d_model) -> (B, L, d_model)``.

    No position enters it: in a hybrid stack the scans beside it carry the order.

    :param num_heads: query heads.
    :param num_heads_kv: key and value heads, a divisor of ``num_heads``; None means as many.
    :param head_dim: channels per head; None is ``d_model / num_heads``.
    :param causal: token t sees tokens up to t only, so that the mixer can stream; its state
        grows with the sequence, unlike a scan's.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: Annotated[int, Field(ge=1)] = 4,
        num_heads_kv: Annotated[int, Field(ge=1)] | None = None,
        head_dim: Annotated[int, Field(ge=1)] | None = None,
        causal: bool = True,
        bias: bool = False,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if head_dim is None:
            if d_model % num_heads:
                raise ValueError(
                    f"num_heads={num_heads} does not divide d_model={d_model}; give head_dim"
                )
            head_dim = d_model // num_heads
        kv = num_heads if num_heads_kv is None else num_heads_kv
        if num_heads % kv:
            raise ValueError(f"num_heads_kv={kv} does not divide num_heads={num_heads}")
        self.d_model, self.num_heads, self.num_heads_kv = d_model, num_heads, kv
        self.head_dim, self.causal = head_dim, causal
        kw: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.in_proj = nn.Linear(d_model, (num_heads + 2 * kv) * head_dim, **kw)
        self.out_proj = nn.Linear(num_heads * head_dim, d_model, **kw)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(B, L, d_model)`` -> q ``(B, H, L, dim)``, k and v ``(B, H_kv, L, dim)``."""
        qkv = self.in_proj(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        kv = self.num_heads_kv
        q, k, v = qkv.split([self.num_heads, kv, kv], dim=1)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        grouped = self.num_heads != self.num_heads_kv
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped
        )
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
        """See :meth:`Mixer.forward`; packing costs an ``(L, L)`` mask here.

        Tokens that see a value that is not finite become NaN, those of other sequences do not.
        """
        q, k, v = self._heads(x)
        if cu_seqlens is None:
            return self._attend(q, k, v, None, self.causal)
        steps = torch.arange(x.shape[1], device=x.device)
        sequence = torch.searchsorted(cu_seqlens[1:].to(steps), steps, right=True)
        mask = sequence[:, None] == sequence[None, :]
        if self.causal:
            mask = mask & (steps[:, None] >= steps[None, :])
        # a weight of zero times NaN is NaN: what is not finite is taken out of the products, and
        # said to those who may see it
        broken = ~torch.cat([q, k, v], 1).isfinite().all(-1).all(1)
        q, k, v = (part.masked_fill(broken[:, None, :, None], 0) for part in (q, k, v))
        y = self._attend(q, k, v, mask, False)
        return y.masked_fill((mask & broken[:, None]).any(-1, keepdim=True), float("nan"))

    def init_state(self, batch_size: int) -> MixerState:
        """An empty key-value cache; ``length`` counts each row's tokens."""
        if not self.causal:
            raise self._cannot_stream()
        weight = self.out_proj.weight
        empty = weight.new_zeros(batch_size, 0, self.num_heads_kv, self.head_dim)
        length = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return MixerState({"k": empty, "v": empty, "length": length})

    def prefill(
        self, x: Tensor, state: MixerState, *, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`Mixer.prefill`."""
        if not self.causal:
            raise self._cannot_stream()
        if cu_seqlens is None:
            new = torch.full_like(state.tensors["length"], x.shape[1])
            return self._extend(x, state, new)
        bounds = cu_seqlens.tolist()
        new = (cu_seqlens[1:] - cu_seqlens[:-1]).to(torch.int64)
        longest = max(new.tolist(), default=0)
        rows = x.new_zeros(len(bounds) - 1, longest, x.shape[-1])
        for row, (start, stop) in enumerate(pairwise(bounds)):
            rows[row, : stop - start] = x[0, start:stop]
        y, after = self._extend(rows, state, new)
        out = [y[row, :count] for row, count in enumerate(new.tolist())]
        return torch.cat(out)[None] if out else x, after

    def _extend(self, x: Tensor, state: MixerState, new: Tensor) -> tuple[Tensor, MixerState]:
        """Append ``new[b]`` of the ``(B, T, d_model)`` tokens to each row's cache and attend."""
        q, k, v = self._heads(x)
        past, batch, tokens = state.tensors["length"], x.shape[0], x.shape[1]
        size = int((past + new).max()) if batch else 0
        at = past[:, None] + torch.arange(tokens, device=x.device)
        written = torch.arange(tokens, device=x.device) < new[:, None]
        rows = torch.arange(batch, device=x.device)[:, None].expand(-1, tokens)
        keys, values = (
            self._append(state.tensors[name], fresh.transpose(1, 2), rows, at, written, size)
            for name, fresh in (("k", k), ("v", v))
        )
        mask = torch.arange(size, device=x.device) <= at[:, :, None]
        y = self._attend(q, keys.transpose(1, 2), values.transpose(1, 2), mask[:, None], False)
        return y, MixerState({"k": keys, "v": values, "length": past + new})

    @staticmethod
    def _append(
        cache: Tensor, fresh: Tensor, rows: Tensor, at: Tensor, written: Tensor, size: int
    ) -> Tensor:
        """Return the cache widened to ``size`` with the written tokens put at their places."""
        wide = fresh.new_zeros(fresh.shape[0], size, *fresh.shape[2:])
        kept = min(size, cache.shape[1])
        wide[:, :kept] = cache[:, :kept]
        return wide.index_put((rows[written], at[written]), fresh[written])
