"""What the benchmarks do on a GPU: in front of stand-ins here, for real where there is one."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch

from mamba_core import bench
from mamba_core.bench import gpu_peers, scan, ssd
from mamba_core.bench.clock import CudaClock
from mamba_core.bench.problem import BOUNDS, Problem, placed
from mamba_kernels import ops

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class OnGpu(dict):
    """Inputs that say they are on a GPU, so that its peers take part."""

    def values(self):
        yield SimpleNamespace(device=torch.device("cuda"))


def problem_of(op):
    if op == "ssd":
        given = ssd.inputs(B=2, L=9, H=3, P=4, N=5)
        channels, axis = {"x": 2, "dt": 2, "A": 0, "D": 0, "dt_bias": 0}, 2
        options = {"chunk_size": 4, "dt_softplus": True}
    else:
        given = scan.inputs(B=2, D=3, L=7, N=4)
        channels, axis = {"u": 1, "delta": 1, "A": 0, "D": 0, "z": 1, "delta_bias": 0}, 1
        options = {"delta_softplus": True}
    function = getattr(ops, op)
    return Problem(
        op=op,
        function=function,
        inputs=OnGpu(given),
        options=options,
        channels=channels,
        out_channels=axis,
        cotangent=torch.randn_like(given["u" if "u" in given else "x"]),
        backward=True,
        bound=1e-5,
    )


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins with the signatures of the packages, computed by the float64-tested ops."""

    def scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
        return_last_state=False,
    ):  # fmt: skip
        return ops.selective_scan(
            u, delta, A, B, C, D=D, z=z, delta_bias=delta_bias, delta_softplus=delta_softplus
        )

    def combined(
        x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None,
        seq_idx=None, dt_softplus=False,
    ):  # fmt: skip
        return ops.ssd(
            x, dt, A, B, C, chunk_size=chunk_size, D=D, dt_bias=dt_bias, dt_softplus=dt_softplus
        )

    def simple_gla(q, k, v, g, scale):
        """``S = exp(g) S + k v``, ``o = scale q S``, one step after another."""
        state, outs = q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[-1]), []
        for t in range(q.shape[1]):
            state = state * g[:, t, :, None, None].exp() + k[:, t, :, :, None] * v[:, t, :, None]
            outs.append(scale * (q[:, t, :, :, None] * state).sum(-2))
        return torch.stack(outs, 1), None

    for path, name, function in (
        ("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn", scan_fn),
        ("mamba_ssm.ops.triton.ssd_combined", "mamba_chunk_scan_combined", combined),
        ("fla.ops.simple_gla", "chunk_simple_gla", simple_gla),
    ):
        module = ModuleType(path)
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, path, module)
        parts = path.split(".")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, ModuleType(parent))


@pytest.mark.parametrize(
    ("op", "find"),
    [
        ("selective_scan", gpu_peers.mamba_ssm_selective_scan),
        ("ssd", gpu_peers.mamba_ssm_ssd),
        ("ssd", gpu_peers.fla_ssd),
    ],
)
def test_peers_compute_the_same(packages, op, find):
    problem = problem_of(op)
    (contender,) = find(problem)
    assert contender.skip is None
    assert problem.judge(contender.call()).complaint is None


@pytest.mark.parametrize("name", ["mamba_ssm", "fla"])
def test_peers_of_a_gpu_stay_away_from_the_cpu(name):
    case = next(iter(ssd.cases(ssd.Config(length=4, heads=1, headdim=2, state=2), [name], CPU)))
    assert case.contenders[-1].skip == "runs on a GPU only"


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fla", None)
    (contender,) = gpu_peers.fla_ssd(problem_of("ssd"))
    assert contender.skip.endswith("pip install --no-build-isolation flash-linear-attention")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["scan", "ssd"])
def test_half_precision_is_held_against_float64_of_the_rounded_inputs(name, dtype):
    sizes = {
        "scan": {"batch": 1, "channels": 4, "length": 6, "curve_lengths": ()},
        "ssd": {"length": 6, "heads": 2, "headdim": 4, "state": 3},
    }[name]
    rows = bench.run(name, bench.Settings(rounds=1), against=(), dtype=dtype, **sizes).rows
    ran = [row for row in rows if row.status != "skipped"]
    assert ran
    for row in ran:
        assert row.status == "ok", row.note
        assert 1e-5 < row.error < row.bound == BOUNDS[getattr(torch, dtype)]


def test_only_tokens_lose_precision():
    given = placed(scan.inputs(1, 2, 3, 4), scan.TOKENS, torch.bfloat16, CPU)
    low = {name for name, x in given.items() if x.dtype == torch.bfloat16}
    assert low == set(scan.TOKENS)


class Event:
    """Counts what came before it."""

    happened: ClassVar[list[str]] = []

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.happened.append("event")

    def synchronize(self):
        self.happened.append("wait")

    def elapsed_time(self, other):
        return 2.5


def test_the_clock_of_a_gpu_reads_its_events(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "happened", [])
    clock = CudaClock(CPU)
    spent = clock.time(lambda: Event.happened.append("call"))
    assert Event.happened == ["event", "call", "event", "wait"]
    assert spent.wall == 2.5e-3


def test_a_benchmark_of_the_host_refuses_a_gpu(monkeypatch):
    monkeypatch.setattr("mamba_core.device.choose_device", lambda name: torch.device("cuda"))
    with pytest.raises(ValueError, match="startup is measured on cpu only"):
        bench.run("startup", device="cuda")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", ["kernels", "scan", "ssd", "orders", "layers"])
def test_runs_on_a_gpu(name):
    sizes = {
        "kernels": {"channels": 64, "length": 256, "linear_lengths": (), "tokens": 4},
        "scan": {"channels": 64, "length": 256, "curve_lengths": ()},
        "ssd": {"length": 256, "heads": 2},
        "orders": {"side": 9, "grid": 8, "channels": 32},
        "layers": {"d_model": 64, "lengths": (512,), "token_d_model": 64},
    }[name]
    settings = bench.Settings(rounds=3)
    report = bench.run(name, settings, device="cuda", dtype="bfloat16", against=(), **sizes)
    assert report.machine["gpu"]
    assert not [row for row in report.rows if row.status in ("wrong", "failed")]
    assert all(row.ms > 0 for row in report.rows if row.status == "ok")


def test_the_kernel_of_the_exponentials():
    """In the interpreter, as a process of its own: it is chosen before Triton is imported."""
    import os
    import subprocess

    program = (
        "import torch; from mamba_core.bench.gpu_speed import exponentials\n"
        "out = torch.empty(8); exponentials[(2,)](out, 3, 4)\n"
        "x = torch.arange(8) / 1e6\n"
        "for _ in range(3): x = torch.exp2(-x)\n"
        "torch.testing.assert_close(out, x)\n"
    )
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
