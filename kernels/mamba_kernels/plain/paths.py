"""Reading along orders and putting back, by gather and scatter alone.

Tensors are ``(B, K, *inner, L)`` here; without an order K is 1.
"""

from __future__ import annotations

from torch import Tensor


def refuse(op: str, **given: object) -> None:
    """Raise ``NotImplementedError`` for what the plain form of an op does not know."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise NotImplementedError(
                f"{op} has no plain form with {name}: export a model that does not use it"
            )


def read(x: Tensor, order: Tensor | None, *, shared: bool) -> Tensor:
    """``(B, *inner, L)`` when ``shared``, else ``(B, K, *inner, L)`` -> ``(B, K, *inner, L)`` in
    scan order."""
    x = x.unsqueeze(1) if shared else x
    if order is None:
        return x
    index = _index(x, order)
    return x.expand(index.shape).gather(-1, index)


def write(y: Tensor, order: Tensor | None) -> Tensor:
    """Back to token order, ``(B, K, *inner, L)``; without an order the K is dropped."""
    if order is None:
        return y.squeeze(1)
    return y.new_zeros(y.shape).scatter(-1, _index(y, order), y)


def _index(x: Tensor, order: Tensor) -> Tensor:
    """``(K, L)`` or ``(B, K, L)`` -> the shape of ``x``, K paths."""
    inner = x.dim() - 3
    order = order if order.dim() == 3 else order[None]
    for _ in range(inner):
        order = order.unsqueeze(2)
    return order.expand(x.shape[0], order.shape[1], *x.shape[2:-1], x.shape[-1])
