"""Backward of a reference op: its forward again, under autograd."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def _recorded() -> Iterator[None]:
    """Autograd records inside, even where the caller switched it off.

    A traced graph may call an operator with the dispatch keys of autograd, and of the lazy
    conjugates its formulas make, excluded: ``enable_grad`` alone would then record nothing, and
    every gradient would silently be zero.
    """
    keys = torch._C.DispatchKey
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in (keys.AutogradFunctionality, keys.ADInplaceOrView, keys.Conjugate, keys.Negative):
        excluded = excluded.remove(key)
    included = torch._C._dispatch_tls_local_include_set()
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.enable_grad():
        yield


def recompute(
    forward: Callable[..., tuple[Tensor, ...]],
    dout: Tensor | None,
    dlast: Tensor | None,
    needs: Sequence[bool],
    args: Sequence[Any],
) -> list[Tensor | None]:
    """Gradients of ``forward(*args)[0]`` and ``[1]``, one for each of ``needs``.

    :param needs: for each of the first ``len(needs)`` arguments, whether to differentiate by it.
    :returns: a list as long as ``needs``, None where there is no gradient.
    """
    with _recorded():
        leaves = [
            arg.detach().requires_grad_(needs[i]) if i < len(needs) and arg is not None else arg
            for i, arg in enumerate(args)
        ]
        outputs = forward(*leaves)
        pairs = [
            (value, grad)
            for value, grad in zip(outputs, (dout, dlast), strict=False)
            if grad is not None and value.requires_grad
        ]
        wanted = [leaf for leaf, need in zip(leaves, needs, strict=False) if need]
        if not pairs:
            return [None] * len(needs)
        grads = iter(
            torch.autograd.grad(
                [value for value, _ in pairs],
                wanted,
                [grad for _, grad in pairs],
                allow_unused=True,
            )
        )
    return [next(grads) if need else None for need in needs]
