"""What every op means: loops over batch, path, sequence and step, in double precision.

Written from the equations alone and sharing no code with ``mamba_kernels``. All are differentiable
by autograd. Arguments as in the public ops; states come back always.

Inside ``computed_in(dtype)`` the same loops run in another precision, every intermediate rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

_working = torch.float64


@contextlib.contextmanager
def computed_in(dtype: torch.dtype) -> Iterator[None]:
    """The loops inside keep every number in ``dtype``."""
    global _working
    _working = dtype
    try:
        yield
    finally:
        _working = torch.float64


def _wide(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.to(_working.to_complex() if t.is_complex() else _working)


def _steps(order, cu_seqlens, batch, path, length):
    """For each sequence the tokens that this path of this batch item reads, one after another."""
    tokens = list(range(length))
    if order is not None:
        tokens = (order[path] if order.dim() == 2 else order[batch, path]).tolist()
    edges = [0, length] if cu_seqlens is None else cu_seqlens.tolist()
    return [tokens[a:b] for a, b in pairwise(edges)]


def _runs(seq_idx, batch, length):
    """The runs of equal numbers in one row, as lists of tokens."""
    runs: list[list[int]] = []
    for t in range(length):
        if t == 0 or seq_idx[batch, t] != seq_idx[batch, t - 1]:
            runs.append([])
        runs[-1].append(t)
    return runs


def _silu(t: Tensor) -> Tensor:
    return t / (1 + torch.exp(-t))


def _softplus(t: Tensor) -> Tensor:
    return torch.logaddexp(t, torch.zeros_like(t))


def selective_scan(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, *,
    order=None, cu_seqlens=None, initial_state=None,
):  # fmt: skip
    u, delta, A, B, C, D, z, delta_bias, initial_state = (
        _wide(t) for t in (u, delta, A, B, C, D, z, delta_bias, initial_state)
    )
    batch, channels, length = u.shape[0], u.shape[-2], u.shape[-1]
    paths = 1 if order is None else order.shape[-2]

    def at(t, b, k, shared):  # the part of a tensor that one path of one batch item sees
        return t[b] if order is None or t.dim() == shared else t[b, k]

    def own(t, k, dims):  # the same for a parameter, which may have paths in front
        return t if t is None or t.dim() == dims else t[k]

    def over_time(t, b, k):  # -> function of the step, (D, N)
        if t.dim() == 2:
            return lambda s: t
        mine = at(t, b, k, 0)
        if A.is_complex():
            mine = torch.complex(mine[..., 0::2], mine[..., 1::2])
        if mine.dim() == 2:
            return lambda s: mine[None, :, s]
        size = channels // mine.shape[0]
        group = torch.tensor([c // size for c in range(channels)], device=t.device)
        return lambda s: mine[group, :, s]

    rows, last = [], {}
    for b in range(batch):
        for k in range(paths):
            a, skip, bias = own(A, k, 2), own(D, k, 1), own(delta_bias, k, 1)
            inputs, gate = at(u, b, k, 3), None if z is None else at(z, b, k, 3)
            sizes, b_at, c_at = at(delta, b, k, 0), over_time(B, b, k), over_time(C, b, k)
            column = [torch.zeros_like(inputs[:, 0])] * length if length else []
            for s, tokens in enumerate(_steps(order, cu_seqlens, b, k, length)):
                row = b if cu_seqlens is None else s
                h = torch.zeros_like(a)
                if initial_state is not None:
                    h = initial_state[row] if order is None else initial_state[row, k]
                    h = h.to(a.dtype)
                for t in tokens:
                    step = sizes[:, t] if bias is None else sizes[:, t] + bias
                    step = _softplus(step) if delta_softplus else step
                    h = torch.exp(step[:, None] * a) * h + (step * inputs[:, t])[:, None] * b_at(t)
                    y = (h * c_at(t)).sum(1)
                    y = 2 * y.real if y.is_complex() else y
                    y = y if skip is None else y + skip * inputs[:, t]
                    column[t] = y if gate is None else y * _silu(gate[:, t])
                last[row, k] = h
            rows.append(torch.stack(column, 1) if column else inputs)
    return _assemble(rows, last, batch, paths, order, cu_seqlens, A)


def _assemble(rows, last, batch, paths, order, cu_seqlens, like):
    """Outputs ``(B, [K,] ...)`` and states ``(B or S, [K,] ...)``."""
    out = torch.stack(rows).unflatten(0, (batch, paths))
    count = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    states = [torch.stack([last[row, k] for k in range(paths)]) for row in range(count)]
    state = torch.stack(states) if states else like.new_zeros(0, paths)
    return (out[:, 0], state[:, 0]) if order is None else (out, state)


def ssd(
    x, dt, A, B, C, chunk_size=1, D=None, z=None, dt_bias=None, dt_softplus=False,
    dt_limit=(0.0, float("inf")), *, order=None, seq_idx=None, cu_seqlens=None,
    initial_states=None,
):  # fmt: skip
    x, dt, A, B, C, D, z, dt_bias, initial_states = (
        _wide(t) for t in (x, dt, A, B, C, D, z, dt_bias, initial_states)
    )
    batch, (length, heads, _), n = x.shape[0], x.shape[-3:], B.shape[-1]
    paths = 1 if order is None else order.shape[-2]

    def at(t, b, k, shared):
        return t[b] if order is None or t.dim() == shared else t[b, k]

    def per_head(t, b, k):
        mine = at(t, b, k, 0)
        size = heads // mine.shape[1]
        group = torch.tensor([h // size for h in range(heads)], device=t.device)
        return lambda s: mine[s, group]  # (H, N)

    rows, last = [], {}
    for b in range(batch):
        for k in range(paths):
            a = A if A.dim() == 1 else A[k]
            bias = dt_bias if dt_bias is None or dt_bias.dim() == 1 else dt_bias[k]
            skip = D if D is None or D.dim() < 3 else D[k]
            skip = skip[:, None] if skip is not None and skip.dim() == 1 else skip
            inputs, gate = at(x, b, k, 4), None if z is None else at(z, b, k, 4)
            sizes, b_at, c_at = at(dt, b, k, 0), per_head(B, b, k), per_head(C, b, k)
            column = [torch.zeros_like(inputs[0])] * length if length else []
            packed = _steps(order, cu_seqlens, b, k, length)
            for s, tokens in enumerate(
                _runs(seq_idx, b, length) if seq_idx is not None else packed
            ):
                row = b if cu_seqlens is None else s
                h = x.new_zeros(heads, x.shape[-1], n)
                if initial_states is not None and (seq_idx is None or s == 0):
                    h = initial_states[row] if order is None else initial_states[row, k]
                for t in tokens:
                    step = sizes[t] if bias is None else sizes[t] + bias
                    step = _softplus(step) if dt_softplus else step
                    step = step.clamp(*dt_limit)
                    added = (step[:, None] * inputs[t])[..., None] * b_at(t)[:, None]
                    h = torch.exp(step * a)[:, None, None] * h + added
                    y = (h * c_at(t)[:, None]).sum(-1)
                    y = y if skip is None else y + skip * inputs[t]
                    column[t] = y if gate is None else y * _silu(gate[t])
                last[row, k] = h
            if not length:
                h = x.new_zeros(heads, x.shape[-1], n)
                last.setdefault((b, k), h if initial_states is None else initial_states[b])
            rows.append(torch.stack(column) if column else inputs)
    return _assemble(rows, last, batch, paths, order, cu_seqlens, x)


def causal_conv1d(
    x, weight, bias=None, activation=None, *, order=None, seq_idx=None, cu_seqlens=None,
    initial_states=None,
):  # fmt: skip
    x, weight, bias, initial_states = (_wide(t) for t in (x, weight, bias, initial_states))
    batch, channels, length = x.shape[0], x.shape[-2], x.shape[-1]
    width, paths = weight.shape[-1], 1 if order is None else order.shape[-2]
    rows, last = [], {}
    for b in range(batch):
        for k in range(paths):
            kernel = weight if weight.dim() == 2 else weight[k]
            shift = bias if bias is None or bias.dim() == 1 else bias[k]
            inputs = x[b] if order is None or x.dim() == 3 else x[b, k]
            column = [torch.zeros_like(inputs[:, 0])] * length if length else []
            packed = _steps(order, cu_seqlens, b, k, length)
            for s, tokens in enumerate(
                _runs(seq_idx, b, length) if seq_idx is not None else packed
            ):
                row = b if cu_seqlens is None else s
                past = [x.new_zeros(channels)] * (width - 1)
                if initial_states is not None and (seq_idx is None or s == 0):
                    own = initial_states[row] if order is None else initial_states[row, k]
                    past = list(own.unbind(-1))
                for t in tokens:
                    past = [*past, inputs[:, t]]
                    y = sum(kernel[:, i] * past[len(past) - width + i] for i in range(width))
                    y = y if shift is None else y + shift
                    column[t] = y if activation is None else _silu(y)
                kept = past[len(past) - width + 1 :]
                last[row, k] = torch.stack(kept, -1) if kept else x.new_zeros(channels, 0)
            rows.append(torch.stack(column, 1) if column else inputs)
    return _assemble(rows, last, batch, paths, order, cu_seqlens, x)


def rms_norm_gated(x, weight, bias=None, z=None, eps=1e-5, group_size=None, norm_before_gate=False):
    x, weight, bias, z = (_wide(t) for t in (x, weight, bias, z))
    size = x.shape[-1] if group_size is None else group_size
    y = x if z is None or norm_before_gate else x * _silu(z)
    parts = []
    for start in range(0, x.shape[-1], size):
        part = y[..., start : start + size]
        parts.append(part / ((part * part).sum(-1, keepdim=True) / size + eps).sqrt())
    y = torch.cat(parts, -1) * weight
    y = y if bias is None else y + bias
    return y if z is None or not norm_before_gate else y * _silu(z)


def selective_state_update(state, x, dt, A, B, C, D=None, z=None, dt_bias=None, dt_softplus=False):
    """Output and new state; ``state`` itself is left alone."""
    if x.dim() == state.dim():  # several tokens: one after another
        after, steps = _wide(state), []
        for t in range(x.shape[-1]):
            gate = None if z is None else z[..., t]
            tokens = (x[..., t], dt[..., t], A, B[..., t], C[..., t], D, gate)
            y, after = selective_state_update(after, *tokens, dt_bias, dt_softplus)
            steps.append(y)
        return torch.stack(steps, -1) if steps else _wide(x), after
    state, x, dt, A, B, C, D, z, dt_bias = (
        _wide(t) for t in (state, x, dt, A, B, C, D, z, dt_bias)
    )
    y, after = torch.empty_like(x), torch.empty_like(state)

    def own(t, b, index):  # heads or channels are grouped along the first of their dimensions
        return t[b] if t.dim() == 2 else t[b, index[0] * t.shape[1] // x.shape[1]]

    for b in range(x.shape[0]):
        for index in torch.cartesian_prod(*(torch.arange(s) for s in x.shape[1:])).tolist():
            i = tuple(index) if isinstance(index, list) else (index,)
            step = dt[(b, *i)] if dt_bias is None else dt[(b, *i)] + dt_bias[i]
            step = _softplus(step) if dt_softplus else step
            h = torch.exp(step * A[i]) * state[(b, *i)] + step * x[(b, *i)] * own(B, b, i)
            value = (h * own(C, b, i)).sum()
            value = value if D is None else value + D[i] * x[(b, *i)]
            y[(b, *i)] = value if z is None else value * _silu(z[(b, *i)])
            after[(b, *i)] = h
    return y, after


def causal_conv1d_update(x, conv_state, weight, bias=None, activation=None):
    """Output and new state; ``conv_state`` itself is left alone."""
    new = x if x.dim() == 3 else x[..., None]
    kept, width = conv_state.shape[-1], weight.shape[-1]
    past = torch.cat([_wide(conv_state), _wide(new)], -1)
    start = conv_state[..., kept - (width - 1) :]
    y, _ = causal_conv1d(new, weight, bias, activation, initial_states=start)
    return y.reshape(x.shape), past[..., past.shape[-1] - kept :]
