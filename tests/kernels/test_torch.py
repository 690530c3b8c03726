"""The ops as citizens of PyTorch: gradcheck, opcheck, compile, export, one derivative only."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
import torch._dynamo.testing
from kernel_cases import (
    RETURN_STATE,
    TOLERANCE,
    Draw,
    assert_near,
    conv_call,
    differentiable,
    results,
    runners,
    scan_call,
    ssd_call,
    widened,
)

from mamba_kernels import ops


def norm_call(draw, **options):
    call = {n: draw.normal(2, 3, 4) for n in ("x", "z")}
    return call | {n: draw.normal(4) for n in ("weight", "bias")} | {"group_size": 2} | options


MAKE = {
    "selective_scan": scan_call,
    "ssd": ssd_call,
    "causal_conv1d": conv_call,
    "rms_norm_gated": norm_call,
}
SMALL = {
    "selective_scan": {"channels": 2, "length": 4, "n": 2},
    "ssd": {"length": 4, "heads": 2, "p": 2, "n": 2},
    "causal_conv1d": {"channels": 2, "length": 4, "width": 3},
    "rms_norm_gated": {},
}
SHAPES = {
    "plain": {},
    "packed": {"lengths": [2, 0, 3]},
    "order": {"paths": 2, "own_tokens": True, "own_parameters": True},
    "segments": {"seq_idx": [[1, 1, 2, 2], [0, 0, 0, 0]]},
    "complex": {"complex_": True},
    "constant": {"b": "constant", "c": "constant"},
    "grouped": {"b": "grouped", "c": "grouped"},
    "norm-first": {"norm_before_gate": True},
}
ONLY = {
    "selective_scan": {"plain", "packed", "order", "complex", "constant", "grouped"},
    "ssd": {"plain", "packed", "order", "segments"},
    "causal_conv1d": {"plain", "packed", "order", "segments"},
    "rms_norm_gated": {"plain", "norm-first"},
}
each_op = pytest.mark.parametrize("op", MAKE)
each_call = pytest.mark.parametrize(
    ("op", "shape", "runner"),
    [
        pytest.param(op, shape, *p.values, id=f"{op}-{shape}-{p.id}", marks=p.marks)
        for op in MAKE
        for shape in SHAPES
        if shape in ONLY[op]
        for p in runners(op)
    ],
)


def example(op, shape="plain", dtype=torch.float64, device="cpu", **options):
    return MAKE[op](Draw(dtype, device), **{**SMALL[op], **SHAPES[shape], **options})


@each_call
def test_gradients_are_finite_differences(op, shape, runner):
    runner.need(op, torch.float64)
    call = example(op, shape, device=runner.device)
    names = differentiable(call)
    leaves = [call[n].clone().requires_grad_() for n in names]

    def function(*values):
        named = dict(zip(names, values, strict=True))
        return runner.call(op, **{**call, **named}, **RETURN_STATE[op])

    assert torch.autograd.gradcheck(function, leaves)


@each_call
def test_any_subset_of_gradients(op, shape, runner):
    """What is not asked for changes nothing in what is."""
    runner.need(op, torch.float32)
    call = example(op, shape, torch.float32, runner.device)
    everything = results(
        lambda **a: runner.call(op, **a, **RETURN_STATE[op]),
        call, dtype=torch.float32, device=runner.device,
    )  # fmt: skip
    for name in differentiable(call):
        leaf = call[name].clone().requires_grad_()
        outputs = runner.call(op, **{**call, name: leaf}, **RETURN_STATE[op])
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        alone = results(
            lambda outputs=outputs, **_: outputs, {}, dtype=torch.float32,
            device=runner.device, with_grad=False,
        )  # fmt: skip
        draw = Draw(torch.float32, runner.device, seed=99)
        reals = [torch.view_as_real(t) if t.is_complex() else t for t in outputs]
        total = sum((t * draw.normal(*t.shape)).sum(dtype=torch.float64) for t in reals)
        (alone[f"d {name}"],) = torch.autograd.grad(total, leaf)
        for key, value in alone.items():
            torch.testing.assert_close(value, everything[key], rtol=1e-4, atol=1e-5)


@each_call
def test_opcheck(op, shape, runner):
    runner.need(op, torch.float32)
    call = example(op, shape, torch.float32, runner.device)
    names = differentiable(call)
    seen: list[tuple[object, tuple[object, ...]]] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "mamba_kernels":
                seen.append((function, args))
            return function(*args, **(kwargs or {}))

    leaves = {n: call[n].clone().requires_grad_() for n in names}
    with Watch():
        outputs = runner.call(op, **{**call, **leaves}, **RETURN_STATE[op])
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(t.abs().sum() for t in outputs).backward()
    (forward, args), (backward, back_args) = seen
    args = [
        a.detach().clone().requires_grad_(a.is_floating_point() or a.is_complex())
        if isinstance(a, torch.Tensor)
        else a
        for a in args
    ]
    torch.library.opcheck(forward, args)
    plain = [a.detach() if isinstance(a, torch.Tensor) else a for a in back_args]
    torch.library.opcheck(
        backward, plain, test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    )


UPDATES = {
    "selective_state_update": lambda d, rows, *time: (
        d.normal(rows, 4, 3), d.normal(2, 4, *time), d.normal(2, 4, *time), -d.between(1, 2, 4, 3),
        d.normal(2, 3, *time), d.normal(2, 3, *time),
    ),
    "causal_conv1d_update": lambda d, rows, *time: (
        d.normal(2, 5, *time), d.normal(rows, 5, 3), d.normal(5, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("time", [(), (2,)], ids=["one token", "several"])
@pytest.mark.parametrize("indices", [None, [2, 0]], ids=["in order", "by index"])
@pytest.mark.parametrize(
    ("op", "runner"), [(op, p.values[0]) for op in UPDATES for p in runners(op)], ids=str
)
def test_opcheck_of_updates(op, runner, indices, time):
    runner.need(op, torch.float32)
    seen: list[tuple[object, tuple[object, ...]]] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "mamba_kernels":
                seen.append((function, args))
            return function(*args, **(kwargs or {}))

    with Watch():
        rows = None if indices is None else torch.tensor(indices, device=runner.device)
        given = UPDATES[op](Draw(torch.float32, runner.device), 2 if indices is None else 3, *time)
        runner.call(op, *given, state_batch_indices=rows)
    ((function, args),) = seen
    torch.library.opcheck(function, args)


def loss(op, call, **leaves):
    outputs = getattr(ops, op)(**{**call, **leaves}, **RETURN_STATE[op])
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((t.abs() if t.is_complex() else t).sin().sum() for t in outputs)


@each_call
def test_compiled_in_one_graph(op, shape, runner):
    """``fullgraph``: no graph break, forward and backward, the same numbers."""
    runner.need(op, torch.float32)
    torch._dynamo.reset()
    call = example(op, shape, torch.float32, runner.device)
    runner.call(op, **call)
    names = differentiable(call)
    with runner.forced():
        grads = []
        for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
            leaves = {n: call[n].clone().requires_grad_() for n in names}
            value = function(op, call, **leaves)
            grads.append([value.detach(), *torch.autograd.grad(value, list(leaves.values()))])
    for eager, compiled in zip(*grads, strict=True):
        torch.testing.assert_close(compiled, eager)


@each_op
def test_compiled_graph_serves_other_sizes(op):
    torch._dynamo.reset()
    graphs = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=graphs, dynamic=True)
    counts = []
    for length in (4, 9, 33):
        options = {} if op == "rms_norm_gated" else {"batch": 3, "length": length}
        call = example(op, dtype=torch.float32, **options)
        torch.testing.assert_close(compiled(op, call), loss(op, call))
        counts.append(graphs.frame_count)
    assert counts[0] == counts[-1]


class Scan(torch.nn.Module):
    """A little of a mixer: what one would export."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Parameter(torch.randn(4, 3))
        self.log = torch.nn.Parameter(torch.randn(4, 2))
        self.select = torch.nn.Linear(4, 8)
        self.norm = torch.nn.Parameter(torch.randn(4))

    def forward(self, x):
        u = ops.causal_conv1d(x.transpose(1, 2), self.conv, activation="silu")
        step, b, c = self.select(u.transpose(1, 2)).transpose(1, 2).split([4, 2, 2], 1)
        y, last = ops.selective_scan(
            u, step, -self.log.exp(), b, c, delta_softplus=True, return_last_state=True
        )
        heads = y.transpose(1, 2).unflatten(-1, (2, 2))
        z = ops.ssd(
            heads, step.transpose(1, 2)[..., :2], -self.log[:2, 0].exp(),
            b.transpose(1, 2)[:, :, None], c.transpose(1, 2)[:, :, None], 64, dt_softplus=True,
        )  # fmt: skip
        return ops.rms_norm_gated(z.flatten(2), self.norm, z=x), last


def test_exported_with_dynamic_batch_and_length(tmp_path):
    model = Scan().eval()
    x = torch.randn(2, 7, 4)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch, 1: length},))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    for op in MAKE:
        assert f"mamba_kernels.{op}.default" in names
    torch.export.save(program, tmp_path / "scan.pt2")
    again = torch.export.load(tmp_path / "scan.pt2").module()
    for shape in ((2, 7), (3, 1), (5, 40)):
        x = torch.randn(*shape, 4)
        for have, want in zip(again(x), model(x), strict=True):
            torch.testing.assert_close(have, want)


@each_call
def test_a_second_derivative_is_refused_plainly(op, shape, runner):
    runner.need(op, torch.float32)
    call = example(op, shape, torch.float32, runner.device)
    leaf = call[differentiable(call)[0]].requires_grad_()
    out = runner.call(op, **call)
    (grad,) = torch.autograd.grad(out.square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match=f"{op} has no second derivative.*create_graph"):
        grad.sum().backward()


@each_call
def test_a_graph_may_be_kept_and_walked_twice(op, shape, runner):
    runner.need(op, torch.float32)
    call = example(op, shape, torch.float32, runner.device)
    leaf = call[differentiable(call)[0]].requires_grad_()
    out = runner.call(op, **call)
    first = torch.autograd.grad(out.sum(), leaf, retain_graph=True)[0]
    second = torch.autograd.grad(out.sum(), leaf)[0]
    assert torch.equal(first, second)


@each_op
def test_an_input_changed_before_backward_is_noticed(op):
    call = example(op, dtype=torch.float32)
    name = next(iter(differentiable(call)))
    leaf = call[name].requires_grad_()
    inputs = leaf * 1
    out = getattr(ops, op)(**{**call, name: inputs})
    inputs.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@each_op
def test_no_grad_keeps_nothing(op):
    call = example(op, dtype=torch.float32)
    leaf = call[differentiable(call)[0]].requires_grad_()
    with torch.no_grad():
        out = getattr(ops, op)(**call)
    assert not out.requires_grad
    with torch.inference_mode():
        assert torch.equal(getattr(ops, op)(**call), out)
    assert leaf.grad is None


def test_checkpointed_is_the_same():
    from torch.utils.checkpoint import checkpoint

    call = example("selective_scan", dtype=torch.float32)
    leaf = call["u"].requires_grad_()
    (plain,) = torch.autograd.grad(loss("selective_scan", call, u=leaf), leaf)
    again = checkpoint(lambda u: loss("selective_scan", call, u=u), leaf, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(again, leaf)[0], plain)


@pytest.mark.parametrize("op", ["selective_scan", "ssd"])
def test_mixed_dtypes_compute_as_the_widest(op):
    """Tokens in bf16, parameters in float32, as in training: fp32 inside, rounded once."""
    oracle = {"selective_scan": kernel_oracles.selective_scan, "ssd": kernel_oracles.ssd}[op]
    call = example(op, dtype=torch.float32)
    tokens = {"selective_scan": ("u", "z"), "ssd": ("x", "z")}[op]
    call |= {n: call[n].bfloat16() for n in tokens}
    out, last = getattr(ops, op)(**call, **RETURN_STATE[op])
    want, want_last = oracle(**widened(call))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), want, rtol=2**-8, atol=1e-5)
    assert_near({"state": last}, {"state": want_last}, torch.float32)
    assert last.dtype == torch.float32 in TOLERANCE
