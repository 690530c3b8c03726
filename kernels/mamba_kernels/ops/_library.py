"""Registration of ops with PyTorch: schema, fake, autograd, and dispatch to a backend.

Each op is two operators, ``mamba_kernels::<op>`` and ``mamba_kernels::<op>_backward``. The backend
is an argument (its name): it is chosen once, by the public function, so that forward, backward and
the traced shapes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.plain import plain_form

LIBRARY = torch.library.Library("mamba_kernels", "DEF")

Fake = Callable[..., tuple[Tensor, Tensor]]


def define(
    op: str, tensors: Sequence[str], options: Sequence[str], fake: Fake
) -> Callable[..., Any]:
    """Register ``op`` and its backward; returns what calls it, or its plain form inside
    :func:`~mamba_kernels.plain.plain_ops`.

    :param tensors: names of the differentiable inputs, ``"D?"`` for an optional one.
    :param options: schema text of the other inputs, ``"Tensor? order"`` for instance. ``bool keep``
        (a backward will follow) and ``str backend`` are added at the end.
    :param fake: from all inputs to empty ``(out, last state)``. What forward keeps for backward
        is the backend's own affair: its ``keeps(*inputs)``, if it has one, makes it, empty.
    """
    inputs = [f"Tensor{'?' if t.endswith('?') else ''} {t.rstrip('?')}" for t in tensors]
    count = len(inputs)
    common = ", ".join([*inputs, *options])
    LIBRARY.define(f"{op}({common}, bool keep, str backend) -> (Tensor, Tensor, Tensor)")
    LIBRARY.define(
        f"{op}_backward(Tensor? dout, Tensor? dlast, Tensor saved, bool[] needs, {common}, "
        "str backend) -> Tensor[]"
    )
    _define_forward(op, fake)
    _define_backward(op, count)
    _define_autograd(op, count)
    operator = getattr(torch.ops.mamba_kernels, op).default

    def call(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
        plain = plain_form(op)
        return operator(*args) if plain is None else (*plain(*args[:-2]), args[0].new_empty(0))

    return call


def _define_forward(op: str, fake: Fake) -> None:
    def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            return backends.load(args[-1], op).forward(*args[:-1])  # type: ignore[attr-defined]

    def fake_with_saved(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
        *inputs, keep, backend = args
        keeps = getattr(backends.load(backend, op), "keeps", None)
        saved = keeps(*inputs) if keep and keeps is not None else inputs[0].new_empty(0)
        return (*fake(*inputs), saved)

    LIBRARY.impl(op, forward, "CompositeExplicitAutograd")
    torch.library.register_fake(f"mamba_kernels::{op}", fake_with_saved, lib=LIBRARY)


def _define_backward(op: str, count: int) -> None:
    def wanted(needs: Sequence[bool], args: Sequence[Any]) -> list[Tensor]:
        return [tensor for tensor, need in zip(args, needs, strict=False) if need]

    def backward(
        dout: Tensor | None, dlast: Tensor | None, saved: Tensor, needs: list[bool], *args: Any
    ) -> list[Tensor]:
        module: Any = backends.load(args[-1], op)
        grads = module.backward(dout, dlast, saved, needs, *args[:-1])
        return [
            torch.zeros_like(like, memory_format=torch.contiguous_format)
            if grad is None
            else grad.to(like.dtype).resolve_conj().contiguous()
            for grad, like in zip(wanted(needs, grads), wanted(needs, args), strict=True)
        ]

    def fake(dout: Any, dlast: Any, saved: Any, needs: list[bool], *args: Any) -> list[Tensor]:
        return [x.new_empty(x.shape) for x in wanted(needs, args[:count])]

    def autograd(keyset: Any, *args: Any) -> list[Tensor]:
        # redispatched without excluding autograd, so that a backend may use it inside
        below = keyset & torch._C._after_autograd_keyset
        operator = getattr(torch.ops.mamba_kernels, f"{op}_backward").default
        flat = [x for x in args if isinstance(x, Tensor)]
        if torch.is_grad_enabled() and any(x.requires_grad for x in flat):
            return list(_Once.apply(op, lambda: operator.redispatch(below, *args), *flat))
        return operator.redispatch(below, *args)

    LIBRARY.impl(f"{op}_backward", backward, "CompositeExplicitAutograd")
    LIBRARY.impl(f"{op}_backward", autograd, "Autograd", with_keyset=True)
    torch.library.register_fake(f"mamba_kernels::{op}_backward", fake, lib=LIBRARY)


class _Once(torch.autograd.Function):
    """Gradients that cannot be differentiated again, and say so."""

    @staticmethod
    def forward(ctx: Any, op: str, compute: Callable[[], list[Tensor]], *inputs: Tensor) -> Any:
        ctx.op = op
        return tuple(compute())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            f"{ctx.op} has no second derivative: its gradient was differentiated again (gradient "
            "penalty, Hessian). Drop create_graph=True, or take finite differences"
        )


def _define_autograd(op: str, count: int) -> None:
    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[2])
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        ctx.save_for_backward(output[2], *tensors)
        ctx.others = [None if isinstance(x, Tensor) else (x,) for x in inputs]

    def backward(ctx: Any, dout: Tensor | None, dlast: Tensor | None, _: None) -> Any:
        saved, *rest = ctx.saved_tensors
        tensors = iter(rest)
        inputs = [next(tensors) if other is None else other[0] for other in ctx.others]
        *inputs, keep, backend = inputs
        if not keep:
            raise RuntimeError(f"{op} was called with keep=False, and then asked for gradients")
        needs = list(ctx.needs_input_grad[:count])
        operator = getattr(torch.ops.mamba_kernels, f"{op}_backward").default
        grads = iter(operator(dout, dlast, saved, needs, *inputs, backend))
        return (
            *(next(grads) if need else None for need in needs),
            *[None] * (len(ctx.others) - count),
        )

    torch.library.register_autograd(
        f"mamba_kernels::{op}", backward, setup_context=setup, lib=LIBRARY
    )


def features_of(
    *tensors: Tensor | None, keep: bool = False, order: bool = False, packed: bool = False
) -> list[str]:
    """The :class:`~mamba_kernels.backends.Call` features that all ops have in common."""
    double = working_dtype(*tensors) == torch.float64
    given = {"double": double, "order": order, "packed": packed, "grad": keep}
    return [name for name, present in given.items() if present]


def differentiated(*tensors: Tensor | None) -> bool:
    """Whether autograd will ask for gradients of a call with these inputs."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


class _Never(torch.autograd.Function):
    """An in-place update: it has no gradient, and says so when one is asked for."""

    @staticmethod
    def forward(ctx: Any, op: str, instead: str, out: Tensor, *_: Tensor) -> Tensor:
        ctx.op, ctx.instead = op, instead
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            f"{ctx.op} changes its state in place and has no gradient: train through {ctx.instead} "
            "with an initial state"
        )


def define_update(op: str, schema: str, fake: Callable[..., Tensor]) -> Callable[..., Any]:
    """Register an op that updates a state in place and returns one output; returns the operator.

    It has no Autograd key, so that a call enters Python once; see :func:`refuse_gradient`.

    :param schema: its inputs, the mutated one marked ``Tensor(a!)``; ``str backend`` is added.
    """
    LIBRARY.define(f"{op}({schema}, str backend) -> Tensor")

    def update(*args: Any) -> Tensor:
        module: Any = backends.load(args[-1], op)
        if not torch.is_grad_enabled():
            return module.update(*args[:-1])
        with torch.no_grad():
            return module.update(*args[:-1])

    LIBRARY.impl(op, update, "CompositeExplicitAutograd")
    torch.library.register_fake(f"mamba_kernels::{op}", fake, lib=LIBRARY)
    return getattr(torch.ops.mamba_kernels, op).default


def refuse_gradient(op: str, instead: str, out: Tensor, *inputs: Tensor | None) -> Tensor:
    """``out`` of an update, which raises when someone asks for gradients through it.

    :param instead: the op that has gradients, for the message.
    """
    given = [t for t in inputs if t is not None]
    return _Never.apply(op, instead, out.detach(), *given) if differentiated(*given) else out
