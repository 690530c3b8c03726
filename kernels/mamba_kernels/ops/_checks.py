"""What bad input gets: one sentence that names the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")
_MOST_SIGNATURES = 256


def once(check: Callable[..., Found]) -> Callable[..., Found]:
    """Let ``check`` look at each combination of dtypes, devices and shapes only once.

    A decoder makes the same call for every token, and checking it takes longer than computing it.

    :param check: from tensors (or None) to what it finds out, not None; raises for bad ones. It
        looks at dtypes, devices and shapes alone. What fails is checked again each time.
    """
    passed: dict[tuple[Any, ...], Found] = {}

    def known(*given: Any) -> Found:
        if torch.compiler.is_compiling():
            return check(*given)
        try:
            key = tuple([None if t is None else (t.dtype, t.device, t.shape) for t in given])
            seen = passed.get(key)  # not asked twice: hashing is most of the cost
            if seen is not None:
                return seen
        except (AttributeError, TypeError):  # no tensor, or one with traced sizes
            return check(*given)
        found = check(*given)
        if len(passed) >= _MOST_SIGNATURES:
            passed.clear()
        passed[key] = found
        return found

    return known


def tensors(
    op: str, given: Mapping[str, Any], *, optional: Sequence[str] = (), real: bool = False
) -> None:
    """All are tensors of floating point (unless ``real``, also complex) dtype on one device."""
    device: torch.device | None = None
    first = ""
    for name, value in given.items():
        if value is None and name in optional:
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}: {name} must be a tensor, got {type(value).__name__}")
        if not (value.is_floating_point() or (value.is_complex() and not real)):
            raise TypeError(f"{op}: {name} must be floating point, got {value.dtype}: convert it")
        if device is None:
            device, first = value.device, name
        elif value.device != device:
            raise ValueError(
                f"{op}: {name} is on {value.device} and {first} on {device}: move both to one "
                "device"
            )


def shape(op: str, name: str, value: Tensor | None, *allowed: Sequence[int | str]) -> None:
    """``value`` has one of the ``allowed`` shapes; a str in a shape stands for any size."""
    if value is None:
        return
    for expected in allowed:
        # lengths first: tuples of other lengths are compared too, which traced sizes remember
        if len(expected) == value.dim() and (
            value.shape == expected
            or all(
                isinstance(size, str) or have == size
                for have, size in zip(value.shape, expected, strict=True)
            )
        ):
            return
    rules = dict.fromkeys(_as_shape(expected) for expected in allowed)
    raise ValueError(f"{op}: {name} must have shape {' or '.join(rules)}, got {tuple(value.shape)}")


def _as_shape(sizes: Sequence[int | str]) -> str:
    """Sizes and names of sizes as Python writes a tuple."""
    return "(" + ", ".join(map(str, sizes)) + (",)" if len(sizes) == 1 else ")")


def order(op: str, value: Any, batch: int, length: int, device: torch.device) -> None:
    """``value`` is None or an int64 tensor ``(K, L)`` or ``(B, K, L)`` on the right device."""
    if value is None:
        return
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{op}: order must be an int64 tensor, got {type(value).__name__}. An order says which "
            "token is read at each position; a rank says at which position each token is read, and "
            "is not the same: pass the order itself"
        )
    if value.dtype != torch.int64:
        raise TypeError(f"{op}: order must be int64, got {value.dtype}: call order.long()")
    shape(op, "order", value, ("K", length), (batch, "K", length))
    if value.device != device:
        raise ValueError(f"{op}: order is on {value.device}, the tokens are on {device}: move it")


def packing(op: str, value: Any, batch: int, device: torch.device) -> None:
    """``value`` is None or an integer tensor of sequence edges, for a batch of one."""
    if value is None:
        return
    if not isinstance(value, Tensor) or value.dtype not in (torch.int32, torch.int64):
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{op}: cu_seqlens must be an int32 or int64 tensor, got {kind}")
    if value.dim() != 1 or value.shape[0] < 1:
        raise ValueError(
            f"{op}: cu_seqlens must have shape (sequences + 1,), got {tuple(value.shape)}"
        )
    if batch != 1:
        raise ValueError(
            f"{op}: with cu_seqlens the sequences lie one after another in a batch of 1, got batch "
            f"{batch}: concatenate them along the length"
        )
    if value.device != device:
        raise ValueError(f"{op}: cu_seqlens is on {value.device}, the tokens on {device}: move it")


def segments(op: str, value: Any, tokens: Tensor, length: int, order_: Any, edges: Any) -> None:
    """``value`` (seq_idx) is None or an integer tensor ``(B, L)`` without order or cu_seqlens.

    :param tokens: the tensor of which it numbers the sequences, batch first.
    """
    if value is None:
        return
    if not isinstance(value, Tensor) or value.dtype not in (torch.int32, torch.int64):
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{op}: seq_idx must be an int32 or int64 tensor, got {kind}")
    shape(op, "seq_idx", value, (tokens.shape[0], length))
    if value.device != tokens.device:
        raise ValueError(
            f"{op}: seq_idx is on {value.device}, the tokens on {tokens.device}: move it"
        )
    if edges is not None:
        raise ValueError(f"{op}: seq_idx and cu_seqlens describe the same thing: pass one of them")
    if order_ is not None:
        raise ValueError(f"{op}: seq_idx cannot be combined with order: pass cu_seqlens instead")


def indices(op: str, name: str, value: Any, batch: int, device: torch.device) -> None:
    """``value`` is an integer tensor ``(B,)`` on the right device."""
    if not isinstance(value, Tensor) or value.dtype not in (torch.int32, torch.int64):
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{op}: {name} must be an int32 or int64 tensor, got {kind}")
    shape(op, name, value, (batch,))
    if value.device != device:
        raise ValueError(f"{op}: {name} is on {value.device}, the tokens on {device}: move it")
