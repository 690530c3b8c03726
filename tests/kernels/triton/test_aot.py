"""Every kernel compiled for GPUs that are not here: within the hardware's limits, without spills.

Rarer forms of the kernels are in docs/benchmarks/triton-aot.md, with the spills that some have.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/triton_aot.py"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton"),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter excludes the compiler"
    ),
]
TARGETS = ["sm_80", "sm_90", "gfx942"]
CASES = [
    "S6 bf16, gate",
    "S6 bf16, gate, one sequence",
    "SSD bf16, gate",
    "convolution bf16",
    "norm bf16",
    "updates bf16",
]
# bytes; the assembler stops at 168 registers of 255 there, so that three programs fit
KNOWN = {("S6 bf16, gate, one sequence", "scan_backward", "sm_90"): 24}


@pytest.fixture(scope="module")
def aot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("triton_aot", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def _mnemonic(instruction: str) -> str:
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0].split(".")[0]


def test_scan_loop_is_lean(aot: ModuleType) -> None:
    """No shuffle, barrier or shared memory in the loop over time, and few instructions."""
    forward = aot.compile_case("S6 bf16, inference", "sm_90")[0]
    assert forward.name == "scan_forward"
    assert forward.shared == 0
    assert forward.spills == 0
    loop = forward.loops()[-1]
    names = [_mnemonic(instruction) for instruction in loop]
    assert not {"SHFL", "BAR", "LDS", "STS", "LDL", "STL"} & set(names)
    steps = names.count("MUFU") // 18  # 16 states, and an exponential and a logarithm of softplus
    assert steps == 8
    assert len(names) / steps <= 140


@pytest.mark.slow  # minutes: the compilers work hard on the backward of SSD
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_fit(aot: ModuleType, target: str) -> None:
    seen = set()
    for case in CASES:
        for compiled in aot.compile_case(case, target):
            seen.add(compiled.name)
            assert compiled.shared <= aot.SHARED[target], compiled
            assert compiled.spills <= KNOWN.get((case, compiled.name, target), 0), compiled
    assert seen == aot.kernel_names()
