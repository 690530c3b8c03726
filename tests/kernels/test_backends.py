"""Who computes a call: preference, refusals, forcing, and backends that others bring."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from kernel_cases import Draw, conv_call, scan_call, ssd_call

import mamba_kernels
from mamba_kernels import Backend, Call, backends, ops

PLAIN = Call("selective_scan", "cpu", torch.float32)
NAMES = ("triton", "native", "eager", "reference")


@pytest.fixture(autouse=True)
def _no_sources(monkeypatch):
    """Each test starts without added backends, and its own are gone afterwards."""
    monkeypatch.delenv(backends.FORCE, raising=False)
    monkeypatch.setattr(backends, "_sources", [])
    monkeypatch.setattr(backends, "_added", None)
    monkeypatch.setattr(backends, "_loaded", {})
    yield
    backends._choice.cache_clear()


class Recorder:
    """A backend that takes every plain call, answers through ``reference``, and keeps notes."""

    name = "recorder"

    def __init__(self):
        self.calls, self.loaded = [], []

    def supports(self, call):
        self.calls.append(call)
        return "no scans of graphs" if call.op == "ssd" else None

    def load(self, op):
        self.loaded.append(op)
        return backends._find("reference").load(op)


def add(*made):
    mamba_kernels.add_backend_source(lambda: made)


def rows():
    return {row["name"]: row for row in ops.backends()}


def test_reference_computes_everything():
    (reference,) = (b for b in backends.available() if b.name == "reference")
    features = ("complex", "constant", "order", "packed", "grad")
    for op in backends.OPS:
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            assert reference.supports(Call(op, "cpu", dtype, features)) is None
    assert set(rows()["reference"]["ops"]) == set(backends.OPS)


def test_eager_computes_all_but_complex_and_constant_scans():
    (eager,) = (b for b in backends.available() if b.name == "eager")
    features = ("order", "packed", "grad")
    for op in backends.OPS:
        for device in ("cpu", "cuda", "mps", "xpu"):
            assert eager.supports(Call(op, device, torch.bfloat16, features)) is None
    for feature in ("complex", "constant"):
        reason = eager.supports(Call("selective_scan", "cpu", torch.float32, (feature,)))
        assert isinstance(reason, str)


def test_fast_backends_come_first_and_reference_last():
    assert tuple(b.name for b in backends.available()) == NAMES
    assert backends.choose("ssd", "mps", torch.float32, ()) == "eager"
    assert backends.choose("selective_scan", "mps", torch.float32, ("complex",)) == "reference"


def test_overview_says_who_can_and_why_not():
    found = rows()
    assert tuple(found) == NAMES
    taken = [op for row in found.values() for op in row["chosen"]]
    assert sorted(taken) == sorted(backends.OPS)  # each op by exactly one
    for row in found.values():
        assert set(row["ops"]) | set(row["reasons"]) == set(backends.OPS)
        assert not set(row["ops"]) & set(row["reasons"])
        assert all(isinstance(reason, str) and reason for reason in row["reasons"].values())


@pytest.mark.parametrize("name", ["eager", "reference"])
def test_one_can_be_forced(name, monkeypatch):
    monkeypatch.setenv(backends.FORCE, name)
    assert {backends.choose(op, "cpu", torch.float32, ()) for op in backends.OPS} == {name}
    found = rows()
    assert set(found[name]["chosen"]) == set(backends.OPS)
    assert all(not row["chosen"] for other, row in found.items() if other != name)
    ops.ssd(**ssd_call(Draw(torch.float32)))
    assert list(backends._loaded) == [(name, "ssd")]


def test_a_forced_backend_that_cannot_says_why(monkeypatch):
    monkeypatch.setenv(backends.FORCE, "eager")
    words = r"MAMBA_KERNELS_BACKEND=eager cannot compute selective_scan here: eager computes real A"
    with pytest.raises(RuntimeError, match=words + r".*Unset MAMBA_KERNELS_BACKEND"):
        ops.selective_scan(**scan_call(Draw(torch.float32), complex_=True))


def test_an_unknown_name_lists_the_known(monkeypatch):
    monkeypatch.setenv(backends.FORCE, "cuda")
    with pytest.raises(ValueError, match=r"'cuda'.*takes one of triton, native, eager, reference"):
        ops.ssd(**ssd_call(Draw(torch.float32)))


def test_added_backends_are_asked_first():
    recorder = Recorder()
    add(recorder)
    call = scan_call(Draw(torch.float32))
    plain = ops.selective_scan(**call)
    assert recorder.loaded == ["selective_scan"]
    ops.selective_scan(**call)
    assert recorder.loaded == ["selective_scan"]  # loaded once
    ops.ssd(**ssd_call(Draw(torch.float32)))  # refused, so another computes it
    assert recorder.loaded == ["selective_scan"]
    assert rows()["recorder"]["reasons"] == {"ssd": "no scans of graphs"}
    assert next(iter(rows())) == "recorder"
    torch.testing.assert_close(plain, backends_answer("reference", call))


def backends_answer(name, call):
    module = backends._find(name).load("selective_scan")
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state")
    options = (call["delta_softplus"], call["order"], call["cu_seqlens"], False)
    return module.forward(*(call[n] for n in names), *options)[0]


def test_a_source_is_asked_once_and_late():
    asked = []

    def source():
        asked.append(1)
        return [Recorder()]

    mamba_kernels.add_backend_source(source)
    assert not asked
    ops.backends()
    ops.backends()
    assert asked == [1]


def test_a_name_that_is_taken_is_refused():
    impostor = Recorder()
    impostor.name = "eager"
    add(impostor)
    with pytest.raises(ValueError, match="two kernel backends are called 'eager': rename"):
        ops.backends()


def test_the_protocol_is_what_backends_have():
    fields = {name for name in vars(Backend) if not name.startswith("_")}
    assert fields == {"name", "supports", "load"}


CALLS = {
    "plain": ("selective_scan", scan_call, {}, ()),
    "grad": ("selective_scan", scan_call, {}, ("grad",)),
    "order": ("selective_scan", scan_call, {"paths": 2}, ("order",)),
    "packed": ("selective_scan", scan_call, {"lengths": [2, 3]}, ("packed",)),
    "complex": ("selective_scan", scan_call, {"complex_": True}, ("complex",)),
    "constant": ("selective_scan", scan_call, {"c": "constant"}, ("constant",)),
    "segments": ("ssd", ssd_call, {"seq_idx": [[0] * 9] * 2}, ("packed",)),
    "conv": ("causal_conv1d", conv_call, {"paths": 1, "lengths": [3, 1]}, ("order", "packed")),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_backend_is_told_what_is_unusual(name):
    op, make, options, features = CALLS[name]
    recorder = Recorder()
    add(recorder)
    call = make(Draw(torch.float32), **options)
    if "grad" in features:
        call["A"].requires_grad_()
    getattr(ops, op)(**call)
    assert recorder.calls == [Call(op, "cpu", torch.float32, features)]


def test_a_backend_is_imported_only_when_it_is_chosen():
    program = (
        "import sys, torch\n"
        "from mamba_kernels import ops\n"
        "mine = lambda: {m for m in sys.modules if m.startswith('mamba_kernels.backends.')}\n"
        "assert 'mamba_kernels.backends.eager.ssd' not in mine(), mine()\n"
        "x = torch.randn(1, 4, 1, 2); b = torch.randn(1, 4, 1, 2)\n"
        "ops.ssd(x, torch.rand(1, 4, 1), -torch.ones(1), b, b, 64)\n"
        "assert 'mamba_kernels.backends.reference.ssd' not in mine(), mine()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
