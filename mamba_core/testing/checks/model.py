"""Checks of the forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_core import registry, scan_orders
from mamba_core.testing.declared import check_declared, parse_declared
from mamba_core.testing.golden import compare_golden
from mamba_core.testing.subject import Skip, TaskUnderTest, check

RTOL, ATOL = 1e-3, 1e-4
"""Another batch size or length means another order of float32 sums."""
PADDING = 7
"""An odd number of steps, so that no stride or chunk divides it."""
_SHAPES = {1: ((1,), (7,), (16,)), 2: ((1, 1), (4, 4), (5, 6)), 3: ((2, 3, 4), (3, 3, 3))}


@check()
def forward_matches_declared_outputs(subject: TaskUnderTest) -> None:
    """Inputs and outputs have the names, shapes and kinds of numbers the record declares.

    Losses, metrics, export and servers are written against the declaration.
    """
    batch = subject.batch()
    sizes: dict[str, int] = {}
    check_declared(batch, subject.spec.inputs, sizes, subject.config)
    with torch.no_grad():
        outputs = subject.forward(subject.model(), batch)
    assert isinstance(outputs, dict), f"the model returned {type(outputs).__name__}, not a dict"
    check_declared(outputs, subject.spec.outputs, sizes, subject.config)
    extra = sorted(set(outputs) - set(subject.spec.outputs))
    assert not extra, f"outputs {extra} are not declared"


@check()
def eval_is_deterministic(subject: TaskUnderTest) -> None:
    """Two runs of one batch in eval mode are equal bit for bit.

    Otherwise no result can be reproduced, and no difference traced.
    """
    model, batch = subject.model(), subject.batch()
    with torch.no_grad():
        first, second = subject.forward(model, batch), subject.forward(model, batch)
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"output '{name}' differs between two runs"


@check(mandatory=False)
def batch_items_are_independent(subject: TaskUnderTest) -> None:
    """An item alone gives what it gives in a batch.

    Anything shared across the batch (statistics, a wrong reshape) makes results depend on
    their neighbours. Skipped where items are packed instead of batched.
    """
    _need_batch_dimension(subject)
    model, batch = subject.model(), subject.batch(size=3)
    with torch.no_grad():
        together = subject.forward(model, batch)
        for index in range(3):
            item = {name: value[index : index + 1] for name, value in batch.items()}
            for name, value in subject.forward(model, item).items():
                _close(value, together[name][index : index + 1], f"output '{name}', item {index}")


@check(mandatory=False)
def padding_does_not_leak(subject: TaskUnderTest) -> None:
    """Padding a batch further changes no valid output.

    Items of other lengths share a batch; how long the longest is must not matter. Needs an
    input ``lengths`` of kind ``int[batch]``.
    """
    inputs = {name: parse_declared(text) for name, text in subject.spec.inputs.items()}
    if inputs.get("lengths", ("", ()))[1] != ("batch",):
        raise Skip("the task declares no input lengths: int[batch]")
    padded_dims = {dims[1] for name, (_, dims) in inputs.items() if len(dims) > 1}
    model, batch = subject.model(), subject.batch()
    longer = {
        name: _pad(value) if len(inputs.get(name, ("", ()))[1]) > 1 else value
        for name, value in batch.items()
    }
    with torch.no_grad():
        short, long = subject.forward(model, batch), subject.forward(model, longer)
    for name, text in subject.spec.outputs.items():
        axes = [i for i, dim in enumerate(parse_declared(text)[1]) if dim in padded_dims]
        for index, length in enumerate(batch["lengths"].tolist()):
            one, other = short[name][index], long[name][index]
            for axis in axes:
                one, other = one.narrow(axis - 1, 0, length), other.narrow(axis - 1, 0, length)
            _close(other, one, f"output '{name}', item {index} of length {length}")


@check()
def scan_orders_are_permutations(subject: TaskUnderTest) -> None:
    """Every order the task offers reads each token once (or says that it does not).

    A repeated or lost token trains well enough to go unnoticed.
    """
    for name in subject.spec.scan_orders:
        order = scan_orders.get(name)
        if not isinstance(order, scan_orders.NamedOrder) or order.cover != "all":
            continue  # data orders are checked where they are made, partial covers say so
        for shape in _SHAPES[order.dims or 1]:
            table = order(shape)
            whole = torch.arange(table.shape[1]).expand_as(table)
            assert torch.equal(table.sort(dim=1).values, whole), (
                f"scan order '{name}' of {shape} is no permutation"
            )


@check(mandatory=False)
def mixers_can_be_exchanged(subject: TaskUnderTest) -> None:
    """The task runs with every mixer of the core.

    A user's own mixer goes the same way; a task tied to one of them cannot take it.
    """
    if not hasattr(subject.config, "mixer"):
        raise Skip("the task's config has no field 'mixer'")
    batch = subject.batch()
    for name in ("mamba1", "mamba2", "attention"):
        config = registry.config(subject.full_id, preset=subject.preset, mixer=name)
        model = registry.build(subject.full_id, config=config).to(subject.device).eval()
        with torch.no_grad():
            for output, value in subject.forward(model, batch).items():
                assert torch.isfinite(value).all(), f"mixer '{name}': output '{output}' not finite"


@check(mandatory=False)
def golden_output_unchanged(subject: TaskUnderTest) -> None:
    """The outputs for fixed weights and inputs are those that were committed.

    A change of meaning under the same version breaks every saved model in silence.
    """
    compare_golden(subject)


def _need_batch_dimension(subject: TaskUnderTest) -> None:
    declared = {**subject.spec.inputs, **subject.spec.outputs}
    for name, text in declared.items():
        if parse_declared(text)[1][:1] != ("batch",):
            raise Skip(f"'{name}' ({text}) has no leading batch dimension")


def _pad(value: Tensor) -> Tensor:
    filler = value.new_zeros(value.shape[0], PADDING, *value.shape[2:])
    return torch.cat([value, filler], dim=1)


def _close(value: Tensor, expected: Tensor, what: str) -> None:
    same = (
        torch.allclose(value, expected, rtol=RTOL, atol=ATOL)
        if value.is_floating_point() or value.is_complex()
        else torch.equal(value, expected)
    )
    if not same:
        raise AssertionError(f"{what} moved by up to {(value - expected).abs().max():.3g}")
