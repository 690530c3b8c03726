"""Who is tested, random calls of every op, and how results are compared."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import pytest
import torch

from mamba_kernels import ops
from mamba_kernels.backends import FORCE

# RMS of the error over RMS of the expected values: outputs and states, gradients
TOLERANCE = {torch.float64: (1e-12, 1e-11), torch.float32: (1e-5, 1e-4)}


@dataclass(frozen=True)
class Runner:
    """A backend on a device."""

    name: str
    device: str

    def can(self, op, dtype):
        """Whether it takes plain calls of ``op`` in ``dtype``."""
        rows = ops.backends(self.device, dtype)
        return any(row["name"] == self.name and op in row["ops"] for row in rows)

    def need(self, op, dtype):
        """Skip the test if it does not."""
        if not self.can(op, dtype):
            pytest.skip(f"{self.name} does not compute {op} in {dtype} on {self.device}")

    @contextlib.contextmanager
    def forced(self):
        """Every op inside is computed by this backend."""
        before = os.environ.get(FORCE)
        os.environ[FORCE] = self.name
        try:
            yield
        finally:
            os.environ.pop(FORCE)
            if before is not None:
                os.environ[FORCE] = before

    def call(self, op, *args, **kwargs):
        """``ops.<op>``; the test is skipped if the backend says that it cannot."""
        with self.forced():
            try:
                return getattr(ops, op)(*args, **kwargs)
            except RuntimeError as error:
                if f"{FORCE}={self.name} cannot" in str(error):
                    pytest.skip(str(error))
                raise


def runners(op):
    """Every backend that computes ``op`` here; those on a GPU carry the mark ``gpu``."""
    found = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        marks = [pytest.mark.gpu] if device == "cuda" else []
        for row in ops.backends(device):
            runner = Runner(row["name"], device)
            if any(runner.can(op, dtype) for dtype in TOLERANCE):
                found.append(pytest.param(runner, id=f"{runner.name}-{device}", marks=marks))
    return found


def each_runner(op):
    """Parametrise a test by ``runner``."""
    return pytest.mark.parametrize("runner", runners(op))


each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])


class Draw:
    """Random tensors of one dtype on one device, the same for the same seed."""

    def __init__(self, dtype=torch.float64, device="cpu", seed=0):
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape, scale=1.0, shift=0.0):
        made = torch.randn(*shape, generator=self.generator, dtype=torch.float64) * scale + shift
        return made.to(self.device, self.dtype)

    def between(self, low, high, *shape):
        made = torch.rand(*shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * made).to(self.device, self.dtype)

    def order(self, shape, lengths):
        """Permutations ``(*shape, sum(lengths))`` that keep every sequence in its place."""
        count = 1
        for size in shape:
            count *= size
        rows, start = [], 0
        for _ in range(count):
            row, start = [], 0
            for length in lengths:
                row.append(start + torch.randperm(length, generator=self.generator))
                start += length
            rows.append(torch.cat(row) if row else torch.zeros(0, dtype=torch.int64))
        return torch.stack(rows).reshape(*shape, start).to(self.device)

    def edges(self, lengths, dtype=torch.int32):
        edges = torch.tensor([0, *lengths]).cumsum(0)
        return edges.to(self.device, dtype)


def scan_call(
    draw, batch=2, channels=6, length=9, n=5, *, complex_=False, b="time", c="time", groups=2,
    paths=0, order_per_item=False, own_tokens=False, own_parameters=False, lengths=None,
    skip=True, gate=True, bias=True, softplus=True, initial=True,
):  # fmt: skip
    """Arguments of ``selective_scan``; B and C are "time", "grouped" or "constant"."""
    if lengths is not None:
        batch, length = 1, sum(lengths)
    k = (paths,) if paths else ()
    tokens = (batch, *(k if own_tokens else ()), channels, length)
    parameters = k if own_parameters else ()
    rows = batch if lengths is None else len(lengths)

    def over_time(kind):
        if kind == "constant":
            real = draw.normal(channels, n)
            return torch.complex(real, draw.normal(channels, n)) if complex_ else real
        group = (groups,) if kind == "grouped" else ()
        return draw.normal(batch, *k, *group, n, length * (2 if complex_ else 1))

    A = draw.between(-3, -0.3, *parameters, channels, n)
    A = torch.complex(A, draw.normal(*A.shape)) if complex_ else A
    state = draw.normal(rows, *k, channels, n)
    state = torch.complex(state, draw.normal(*state.shape)) if complex_ else state
    step = (batch, *k, channels, length)
    items = (batch, *k) if order_per_item else k
    return {
        "u": draw.normal(*tokens),
        "delta": draw.normal(*step, shift=-1) if softplus else draw.between(0.02, 0.8, *step),
        "A": A,
        "B": over_time(b),
        "C": over_time(c),
        "D": draw.normal(*parameters, channels) if skip else None,
        "z": draw.normal(*tokens) if gate else None,
        "delta_bias": draw.between(-0.01, 0.4, *parameters, channels) if bias else None,
        "delta_softplus": softplus,
        "initial_state": state if initial else None,
        "order": draw.order(items, lengths or [length]) if paths else None,
        "cu_seqlens": None if lengths is None else draw.edges(lengths),
    }


def ssd_call(
    draw, batch=2, length=9, heads=6, p=3, n=5, *, groups=2, c_groups=None, chunk=4, paths=0,
    order_per_item=False, own_tokens=False, own_parameters=False, lengths=None, seq_idx=None,
    skip="head", gate=True, bias=True, softplus=True, limit=(0.0, float("inf")), initial=True,
):  # fmt: skip
    """Arguments of ``ssd``; ``skip`` is None, "head" for D (H,) or "channel" for D (H, P)."""
    if lengths is not None:
        batch, length = 1, sum(lengths)
    k = (paths,) if paths else ()
    tokens = (batch, *(k if own_tokens else ()), length, heads, p)
    parameters = k if own_parameters else ()
    rows = batch if lengths is None else len(lengths)
    step = (batch, *k, length, heads)
    items = (batch, *k) if order_per_item else k
    skips = {None: None, "head": (heads,), "channel": (*parameters, heads, p)}
    return {
        "x": draw.normal(*tokens),
        "dt": draw.normal(*step, shift=-1) if softplus else draw.between(0.02, 0.8, *step),
        "A": draw.between(-3, -0.3, *parameters, heads),
        "B": draw.normal(batch, *k, length, groups, n),
        "C": draw.normal(batch, *k, length, c_groups or groups, n),
        "chunk_size": chunk,
        "D": None if skip is None else draw.normal(*skips[skip]),
        "z": draw.normal(*tokens) if gate else None,
        "dt_bias": draw.between(-0.01, 0.4, *parameters, heads) if bias else None,
        "dt_softplus": softplus,
        "dt_limit": limit,
        "initial_states": draw.normal(rows, *k, heads, p, n) if initial else None,
        "order": draw.order(items, lengths or [length]) if paths else None,
        "seq_idx": None if seq_idx is None else torch.tensor(seq_idx, device=draw.device),
        "cu_seqlens": None if lengths is None else draw.edges(lengths),
    }


def conv_call(
    draw, batch=2, channels=5, length=9, width=4, *, paths=0, order_per_item=False,
    own_tokens=False, own_parameters=False, lengths=None, seq_idx=None, bias=True,
    activation="silu", initial=True,
):  # fmt: skip
    """Arguments of ``causal_conv1d``."""
    if lengths is not None:
        batch, length = 1, sum(lengths)
    k = (paths,) if paths else ()
    parameters = k if own_parameters else ()
    rows = batch if lengths is None else len(lengths)
    items = (batch, *k) if order_per_item else k
    return {
        "x": draw.normal(batch, *(k if own_tokens else ()), channels, length),
        "weight": draw.normal(*parameters, channels, width),
        "bias": draw.normal(*parameters, channels) if bias else None,
        "activation": activation,
        "initial_states": draw.normal(rows, *k, channels, width - 1) if initial else None,
        "order": draw.order(items, lengths or [length]) if paths else None,
        "seq_idx": None if seq_idx is None else torch.tensor(seq_idx, device=draw.device),
        "cu_seqlens": None if lengths is None else draw.edges(lengths),
    }


RETURN_STATE = {
    "selective_scan": {"return_last_state": True},
    "ssd": {"return_final_states": True},
    "causal_conv1d": {"return_final_states": True},
    "rms_norm_gated": {},
}


def differentiable(call):
    """Names of the arguments that have gradients."""
    floating = {k: v for k, v in call.items() if isinstance(v, torch.Tensor)}
    return [k for k, v in floating.items() if v.is_floating_point() or v.is_complex()]


def _weighted(value, draw):
    """A real number that depends on all of ``value``, differently."""
    value = torch.view_as_real(value) if value.is_complex() else value
    weight = draw.normal(*value.shape)
    return (value * weight.to(value.dtype)).sum(dtype=torch.float64)


def results(function, call, *, dtype, device, through=("out", "state"), with_grad=True):
    """Outputs of ``function(**call)``, and gradients of a weighted sum of them.

    :param through: which of the outputs the sum takes in.
    :returns: name -> tensor; gradients are called ``"d <argument>"``.
    """
    names = differentiable(call) if with_grad else []
    leaves = {k: call[k].detach().clone().requires_grad_() for k in names}
    outputs = function(**{**call, **leaves})
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    named = dict(zip(("out", "state"), outputs, strict=False))
    found = {name: value.detach() for name, value in named.items()}
    if with_grad:
        draw = Draw(dtype, device, seed=99)
        weighted = {name: _weighted(value, draw) for name, value in named.items()}
        total = sum(weighted[name] for name in through if name in weighted)
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        for name, grad in zip(names, grads, strict=True):
            found[f"d {name}"] = torch.zeros_like(call[name]) if grad is None else grad
    return found


def widened(call):
    """The same call in double precision, for an oracle."""
    wide = {}
    for name, value in call.items():
        if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
            value = value.to(torch.complex128 if value.is_complex() else torch.float64)
        wide[name] = value
    return wide


def rms(t):
    """Root mean square, of absolute values where complex."""
    return t.abs().square().mean().sqrt().item() if t.numel() else 0.0


def assert_near(found, expected, dtype):
    """``found`` has the shapes and, within the tolerance of ``dtype``, the values expected."""
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        have = found[name]
        assert have.shape == want.shape, f"{name}: {tuple(have.shape)}, not {tuple(want.shape)}"
        forward, backward = TOLERANCE[dtype]
        wide = torch.complex128 if want.is_complex() else torch.float64
        error, size = rms(have.to(wide) - want), rms(want)
        allowed = (backward if name.startswith("d ") else forward) * max(size, 1e-3)
        assert error <= allowed, f"{name}: error {error:.3g} of {size:.3g}, allowed {allowed:.3g}"


def check_against(oracle, op, call, runner, dtype, **options):
    """The op's outputs, states and gradients are the oracle's."""
    runner.need(op, dtype)

    def function(**arguments):
        return runner.call(op, **arguments, **RETURN_STATE[op])

    found = results(function, call, dtype=dtype, device=runner.device, **options)
    wide = widened(call)
    expected = results(lambda **a: oracle(**a), wide, dtype=dtype, device=runner.device, **options)
    assert_near(found, expected, dtype)
    return found
