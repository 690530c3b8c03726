"""The library itself: there where it must be, found, chosen, refused with a reason, safe."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from native_cases import CASES, make
from native_comparing import run

from mamba_kernels import backends, ops
from mamba_kernels.backends import Call
from mamba_kernels.backends.native import _abi, _library, refusal

SOURCES = Path(__file__).resolve().parents[3] / "kernels/native/src"


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_library_is_there_where_a_compiler_is():
    """Never a silent fallback: with a compiler, no library is a failed build."""
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        pytest.skip("no C++ compiler here")
    assert _library.unavailable() is None


def test_native_is_what_a_cpu_gets(native):
    rows = {row["name"]: row for row in ops.backends("cpu")}
    assert rows["native"]["chosen"] == list(backends.OPS)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("ssd", "cuda", torch.float32), "CPU only"),
        (Call("ssd", "cpu", torch.float64), "float64"),
        (Call("ssd", "cpu", torch.float32, ("double",)), "float64"),
        (Call("selective_scan", "cpu", torch.float32, ("complex",)), "real A only"),
        (Call("selective_scan", "cpu", torch.float32, ("constant",)), "change over time"),
        (Call("ssd", "cpu", torch.float8_e5m2), "float8_e5m2"),
    ],
)
def test_refusals_say_why(call, reason):
    assert reason in (refusal(call) or "")


def test_doubles_among_floats_go_elsewhere(native):
    given = make("ssd")
    given["x"] = given["x"].float()
    with torch.no_grad():
        _, states = ops.ssd(**given, return_final_states=True)
    assert states.dtype == torch.float64


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse2", "neon", "plain"])
def test_variable_chooses_the_instruction_set(native, name):
    code = (
        "from mamba_kernels.backends.native import _library as l;"
        "print(l.unavailable() or l.isa_in_use())"
    )
    answer = _python(code, **{_library.ISA: name})
    if name in native.isas():
        assert answer == name
    else:
        assert answer.startswith(f"{_library.ISA}={name} cannot run here")


def test_missing_library_leaves_eager_and_a_reason(tmp_path):
    (tmp_path / "mamba_kernels_native").mkdir()
    (tmp_path / "mamba_kernels_native/__init__.py").write_text(
        "LIBRARY, REASON = None, 'no compiler was found: install one'"
    )
    code = (
        "from mamba_kernels import ops; rows = {r['name']: r for r in ops.backends()};"
        "print(rows['native']['reasons']['ssd'], '|', *rows['eager']['chosen'])"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    reason, chosen = _python(code, PYTHONPATH=path).split("|")
    assert reason.strip() == "no compiler was found: install one"
    assert chosen.split() == list(backends.OPS)


@pytest.mark.skipif(not SOURCES.exists(), reason="needs the library's sources")
def test_structures_are_those_of_the_header():
    """Field by field: C++ reads what Python packs by position."""
    header = re.sub(r"//.*", "", (SOURCES / "abi.h").read_text())
    layouts = {
        "SelectiveScan": _abi.SELECTIVE_SCAN,
        "Ssd": _abi.SSD,
        "Conv": _abi.CONV,
        "Norm": _abi.NORM,
        "Step": _abi.STEP,
        "ConvStep": _abi.CONV_STEP,
    }
    for name, layout in layouts.items():
        (body,) = re.findall(rf"struct {name} {{(.*?)}};", header, re.DOTALL)
        for kind, fields in (
            ("Tensor", layout.tensors),
            ("int64_t", layout.integers),
            ("double", layout.doubles),
        ):
            lines = re.findall(rf"{kind} ([^;]*);", body)
            assert tuple(re.findall(r"\w+", " ".join(lines))) == fields, (name, kind)
    (table,) = re.findall(r"struct Kernels {(.*?)};", header, re.DOTALL)
    names = re.findall(r"\w+", " ".join(re.findall(r"Kernel ([^;]*);", table)))
    assert tuple(names) == _library.KERNELS


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d"])
@pytest.mark.parametrize("wrong", [-1, 37, 1 << 40, 5])
def test_wrong_order_is_refused_before_it_writes(native, op, wrong):
    given = make(op, order="shared")
    given["order"][1, 6] = wrong
    given["order"][1, 7] = 5
    with pytest.raises(ValueError, match="order must read each of the tokens"):
        run(op, "native", given, torch.float32)


def test_another_interface_is_refused_with_the_way_out(native, monkeypatch):
    """A library built before a change of ``abi.h`` is not called: it would read other fields."""
    older = native.VERSION
    monkeypatch.setattr(native, "VERSION", older + 1)
    answer = native._load.__wrapped__()
    assert isinstance(answer, native.Unavailable)
    assert str(answer) == (
        f"mamba-kernels-native has interface {older}, mamba_kernels needs {older + 1}: "
        f"{native.INSTALL}"
    )


def test_rows_of_the_state_are_checked(native):
    state, x = torch.zeros(2, 4, 3), torch.ones(1, 4)
    rates, B = -torch.ones(4, 3), torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"must be rows 0\.\.1"):
        ops.selective_state_update(state, x, x, rates, B, B, state_batch_indices=torch.tensor([2]))
    with pytest.raises(ValueError, match=r"must be rows 0\.\.1"):
        ops.causal_conv1d_update(x, state, rates, state_batch_indices=torch.tensor([2]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_with_threads(native):
    """What hangs with thread pools that a child inherits without their threads."""
    code = """
import os, torch
from mamba_kernels import ops
torch.set_num_threads(2)
u = torch.randn(2, 64, 200)
A, B = -torch.rand(64, 16), torch.randn(2, 16, 200)
expected = ops.selective_scan(u, u, A, B, B)
child = os.fork()
if child == 0:
    same = torch.equal(ops.selective_scan(u, u, A, B, B), expected)
    os._exit(0 if same else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert _python(code) == "0"


@pytest.mark.parametrize("op", CASES)
@pytest.mark.parametrize("number", [0, 2, 4])
def test_nothing_is_left_unwritten(native, monkeypatch, op, number):
    """Outputs, gradients and workspaces start as NaN; none of it comes out."""
    fresh, fresh_like = torch.Tensor.new_empty, torch.empty_like

    def poisoned(x, *args, **kwargs):
        made = fresh(x, *args, **kwargs)
        return made.fill_(torch.nan) if made.is_floating_point() else made

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: fresh_like(*a, **k).fill_(torch.nan))
    found = run(op, "native", make(op, **CASES[op][number]), torch.float32)
    assert not [name for name, value in found.items() if not torch.isfinite(value).all()]


@pytest.mark.parametrize("op", CASES)
def test_strides_do_not_matter(native, op):
    """Each tensor as every second element of a larger one, with its dimensions reversed."""
    given = make(op, **CASES[op][2])
    strided = {}
    for name, value in given.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim():
            shape = tuple(reversed(value.shape))
            wide = torch.full((*shape[:-1], 2 * shape[-1]), torch.nan, dtype=torch.float32)
            view = wide[..., ::2].permute(*reversed(range(value.dim())))
            strided[name] = view.copy_(value)
        else:
            strided[name] = value
    plain = run(op, "native", given, torch.float32)
    found = run(op, "native", strided, torch.float32)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_offsets_beyond_32_bits(native):
    """A view of two far rows: nothing that large is allocated."""
    rows = torch.empty(1).set_(torch.UntypedStorage(4 * ((1 << 31) + 64)), 0, (2, 8), (1 << 31, 1))
    rows.copy_(torch.arange(16.0).view(2, 8))
    weight, bias = torch.ones(8), None
    found = ops.rms_norm_gated(rows, weight, bias)
    torch.testing.assert_close(found, ops.rms_norm_gated(rows.clone(), weight, bias))
