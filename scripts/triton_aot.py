"""Compile the Triton kernels for GPUs that are not here, and say what they take.

``python scripts/triton_aot.py [CASE ...]`` writes docs/benchmarks/triton-aot.md. Nothing runs: the
host code is called with tensors without data, its launches are recorded, and each is compiled for
each target with the specialisation (divisibility, constants) that Triton would have chosen.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/benchmarks/triton-aot.md"
INTRODUCTION = """# What the Triton kernels take

Compiled ahead of time, nothing was run: `python scripts/triton_aot.py [CASE ...]` writes the rows
of those cases (all) for the installed Triton; a kernel without a row was not compiled in its
present form with that version. Registers are of one thread; spills are bytes of its stack, or
registers on AMD; shared memory is of one program. Cases have the sizes of a small model; "one
sequence" is too little for a GPU, so that the scan is cut into segments of time (`span_of` in
`scan_segments.py` says when). A kernel has one configuration for each size and dtype, so that a
first call tunes nothing. What spills (24 bytes in the backward scan of one sequence, and in that of
float32 with channels innermost, for sm_90 by 3.8.0, none by 3.6.0) does so where the assembler
stops at 168 registers of 255.
"""
HEADER = """| case | kernel | target | warps | registers | spills | shared memory, bytes |
|---|---|---|---:|---:|---:|---:|
"""
TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
MULTIPROCESSORS = {"sm_80": 108, "sm_90": 132, "gfx942": 304}
SHARED = {"sm_80": 163 << 10, "sm_90": 227 << 10, "gfx942": 64 << 10}  # bytes per block
TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.int32: "*i32",
}
TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


@dataclass
class Launch:
    """One recorded launch: the kernel, and its arguments by name."""

    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.kernel.fn.__name__


@contextmanager
def recorded(target: str) -> Iterator[list[Launch]]:
    """Launches inside are noted, not made, as they would be for a target."""
    from mamba_kernels.backends.triton import selective_scan, ssd, ssd_call

    launches: list[Launch] = []

    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **given: Any) -> None:
        options = {k: given.pop(k) for k in ("num_warps", "num_stages") if k in given}
        arguments = dict(zip(self.arg_names, args, strict=False)) | given
        launches.append(Launch(self, arguments, options))

    replaced = [
        (JITFunction, "run", run),
        (ssd_call, "roomy", lambda: target == "sm_90"),
        (selective_scan, "multiprocessors", lambda: MULTIPROCESSORS[target]),
        (ssd, "chunk_warps", lambda: 4 if target == "gfx942" else 8),
    ]
    originals = [getattr(owner, name) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield launches
    finally:
        for (owner, name, _), value in zip(replaced, originals, strict=True):
            setattr(owner, name, value)


def _signature(launch: Launch, target: str) -> ASTSource:
    """What the runtime would compile for these arguments."""
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    arguments = dict(launch.arguments)
    if "FAST" in arguments:
        arguments["FAST"] = TARGETS[target].backend == "cuda"
    if "PRECISION" in arguments and TARGETS[target].backend != "cuda":
        arguments["PRECISION"] = "ieee"

    def kind(path: tuple[int, ...], value: Any, constant: bool) -> Any:
        if isinstance(value, tuple) and not constant:
            return tuple(kind((*path, i), v, False) for i, v in enumerate(value))
        if constant or value is None or (type(value) is int and value == 1):
            constants[path] = value
            return "constexpr"
        if isinstance(value, torch.Tensor):
            if value.data_ptr() % 16 == 0:
                attributes[path] = [["tt.divisibility", 16]]
            return TYPES[value.dtype]
        if isinstance(value, float):
            return "fp32"
        if value % 16 == 0:
            attributes[path] = [["tt.divisibility", 16]]
        return "i32" if -(2**31) <= value < 2**31 else "i64"

    signature = {
        p.name: "i32" if p.do_not_specialize else kind((p.num,), arguments[p.name], p.is_constexpr)
        for p in launch.kernel.params
    }
    return ASTSource(launch.kernel, signature, constants, attributes)


@dataclass
class Compiled:
    """A kernel for a target, and what it takes."""

    case: str
    name: str
    target: str
    warps: int
    registers: int
    spills: int  # bytes on the stack, or registers on AMD
    shared: int
    code: str = field(repr=False)

    def loops(self) -> list[list[str]]:
        """Instructions of each loop of an NVIDIA kernel, innermost ones first."""
        found: list[str] = []
        labels: dict[str, int] = {}
        loops = []
        for line in self.code.splitlines():
            if label := re.match(r"\s*(\.L_x_\d+):", line):
                labels[label.group(1)] = len(found)
            elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
                found.append(instruction.group(1))
                jump = re.search(r"BRA.*`\((\.L_x_\d+)\)", found[-1])
                if jump and jump.group(1) in labels:
                    loops.append(found[labels[jump.group(1)] :])
        return sorted(loops, key=len)


def compile_for(case: str, launch: Launch, target: str) -> Compiled:
    """Compile one launch for one target."""
    kernel = triton.compile(
        _signature(launch, target), target=TARGETS[target], options=launch.options
    )
    warps, shared = kernel.metadata.num_warps, kernel.metadata.shared
    if TARGETS[target].backend == "hip":
        code = kernel.asm["amdgcn"]

        def number(key: str) -> int:
            return int(re.search(rf"\.{key}:\s+(\d+)", code).group(1))  # type: ignore[union-attr]

        spills = number("vgpr_spill_count")
        return Compiled(
            case, launch.name, target, warps, number("vgpr_count"), spills, shared, code
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()

        def tool(name: str, flag: str) -> str:
            command = [str(TOOLS / name), flag, file.name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        usage, code = tool("cuobjdump", "--dump-resource-usage"), tool("nvdisasm", "-c")
    registers, stack = (int(re.search(rf"{k}:(\d+)", usage).group(1)) for k in ("REG", "STACK"))  # type: ignore[union-attr]
    return Compiled(case, launch.name, target, warps, registers, stack, shared, code)


def _empty(*shape: int, dtype: torch.dtype, time_last: bool = True) -> torch.Tensor:
    """Without data; ``time_last=False`` puts the last but one dimension innermost."""
    if time_last:
        return torch.empty(shape, dtype=dtype, device="meta")
    *outer, channels, length = shape
    return _empty(*outer, length, channels, dtype=dtype).transpose(-1, -2)


def scan_case(
    dtype: torch.dtype,
    *,
    n: int = 16,
    z: bool = True,
    paths: int = 0,
    packed: bool = False,
    time_last: bool = True,
    batch: int = 16,
    keep: bool = True,
) -> None:
    """Forward and (with ``keep``) backward of a selective scan of the size of a small Mamba."""
    from mamba_kernels.backends.triton import selective_scan as module

    batch, channels, length = (1 if packed else batch), 2048, 2048
    k = (paths,) if paths else ()
    f32 = torch.float32

    def tokens(*shape: int) -> torch.Tensor:
        return _empty(*shape, channels, length, dtype=dtype, time_last=time_last)

    order = _empty(paths, length, dtype=torch.int64) if paths else None
    cu_seqlens = _empty(9, dtype=torch.int32) if packed else None
    parameter = _empty(*k, channels, dtype=f32)
    args = (
        tokens(batch), tokens(batch, *k), _empty(*k, channels, n, dtype=f32),
        _empty(batch, *k, n, length, dtype=f32), _empty(batch, *k, n, length, dtype=f32),
        parameter, tokens(batch) if z else None, parameter, None, True, order, cu_seqlens,
    )  # fmt: skip
    out, _, saved = module.forward(*args, keep)
    if keep:
        module.backward(torch.empty_like(out), None, saved, [True] * 9, *args)


def ssd_case(
    dtype: torch.dtype, *, p: int = 64, n: int = 128, z: bool = True, packed: bool = False
) -> None:
    """Forward and backward of SSD of the size of a small Mamba-2."""
    from mamba_kernels.backends.triton import ssd as module

    batch, length, heads = (1 if packed else 8), 4096, 32
    x, head = _empty(batch, length, heads, p, dtype=dtype), _empty(heads, dtype=torch.float32)
    B = _empty(batch, length, 1, n, dtype=dtype)
    cu_seqlens = _empty(9, dtype=torch.int32) if packed else None
    args = (
        x, _empty(batch, length, heads, dtype=dtype), head, B, B, head, x if z else None, head,
        None, 64, True, 0.0, float("inf"), None, None, cu_seqlens,
    )  # fmt: skip
    out, _, saved = module.forward(*args, True)
    module.backward(torch.empty_like(out), None, saved, [True] * 9, *args)


def conv_case(dtype: torch.dtype, *, packed: bool = False) -> None:
    """Forward and backward of the convolution of a small Mamba."""
    from mamba_kernels.backends.triton import causal_conv1d as module

    batch, channels, length = (1 if packed else 8), 2048, 2048
    weight = _empty(channels, 4, dtype=torch.float32)
    state = _empty(8, channels, 3, dtype=dtype)
    cu_seqlens = _empty(9, dtype=torch.int64) if packed else None
    args = (
        _empty(batch, channels, length, dtype=dtype), weight, weight[:, 0], state, "silu", None,
        None, cu_seqlens,
    )  # fmt: skip
    out, last, saved = module.forward(*args, True)
    module.backward(out, last, saved, [True] * 4, *args)


def norm_case(dtype: torch.dtype) -> None:
    """Forward and backward of the norm of a small Mamba-2."""
    from mamba_kernels.backends.triton import rms_norm_gated as module

    x, weight = _empty(8, 2048, 2048, dtype=dtype), _empty(2048, dtype=torch.float32)
    args = (x, weight, weight, x, 1e-5, 2048, False)
    out, _, saved = module.forward(*args, True)
    module.backward(out, None, saved, [True] * 4, *args)


def update_case(dtype: torch.dtype) -> None:
    """One step of both decoding ops, with states by index."""
    from mamba_kernels.backends.triton import causal_conv1d_update, selective_state_update

    f32 = torch.float32
    x, b = _empty(8, 32, 64, dtype=dtype), _empty(8, 1, 128, dtype=dtype)
    state, A = _empty(8, 32, 64, 128, dtype=f32), _empty(32, 64, 128, dtype=f32)
    D = _empty(32, 64, dtype=f32)
    indices = _empty(8, dtype=torch.int32)
    selective_state_update.update(state, x, x, A, b, b, D, x, D, True, indices)
    x, past = _empty(8, 2048, dtype=dtype), _empty(8, 2048, 3, dtype=dtype)
    weight = _empty(2048, 4, dtype=f32)
    causal_conv1d_update.update(x, past, weight, weight[:, 0], "silu", indices)


BF16, FP32 = torch.bfloat16, torch.float32
CASES: dict[str, Callable[[], None]] = {
    "S6 bf16, inference": lambda: scan_case(BF16, z=False, keep=False),
    "S6 bf16": lambda: scan_case(BF16, z=False),
    "S6 bf16, gate": lambda: scan_case(BF16),
    "S6 bf16, gate, one sequence": lambda: scan_case(BF16, batch=1),
    "S6 bf16, gate, packed, 4 paths": lambda: scan_case(BF16, packed=True, paths=4),
    "S6 bf16, gate, N 64": lambda: scan_case(BF16, n=64),
    "S6 bf16, gate, N 256": lambda: scan_case(BF16, n=256),
    "S6 fp32, gate, channels innermost": lambda: scan_case(FP32, time_last=False),
    "SSD bf16, gate": lambda: ssd_case(BF16),
    "SSD bf16, packed": lambda: ssd_case(BF16, z=False, packed=True),
    "SSD bf16, gate, P 256, N 256": lambda: ssd_case(BF16, p=256, n=256),
    "SSD fp32": lambda: ssd_case(FP32, z=False),
    "SSD fp32, P 256, N 256": lambda: ssd_case(FP32, p=256, n=256, z=False),
    "convolution bf16": lambda: conv_case(BF16),
    "convolution bf16, packed": lambda: conv_case(BF16, packed=True),
    "norm bf16": lambda: norm_case(BF16),
    "updates bf16": lambda: update_case(BF16),
}


def compile_case(case: str, target: str) -> list[Compiled]:
    """Every kernel that a case launches."""
    with recorded(target) as launches:
        CASES[case]()
    return [compile_for(case, launch, target) for launch in launches]


def kernel_names() -> set[str]:
    """Every kernel of the backend that a host function launches."""
    folder = ROOT / "kernels/mamba_kernels/backends/triton"
    launched = re.compile(r"^ +(\w+)\[(?:\(|programs\])", re.M)
    return {name for f in folder.glob("*.py") for name in launched.findall(f.read_text())}


def write(rows: list[str]) -> None:
    """Put the rows in place of those of this version of Triton for the same cases."""
    old = PAGE.read_text().split("\n## Triton ")[1:] if PAGE.exists() else []
    parts = {part.split("\n", 1)[0]: part.splitlines()[4:] for part in old}

    def case(row: str) -> str:
        return row.split("|")[1].strip()

    cases = {case(row) for row in rows}
    kept = [row for row in parts.get(triton.__version__, []) if case(row) not in cases]
    known = list(CASES)
    parts[triton.__version__] = sorted(kept + rows, key=lambda row: known.index(case(row)))
    text = [f"\n## Triton {v}\n\n{HEADER}" + "\n".join(parts[v]) + "\n" for v in sorted(parts)]
    PAGE.write_text(INTRODUCTION + "".join(text))


def main(chosen: list[str]) -> None:
    """Compile the chosen cases (all), print their rows, and put them into the page."""
    for name in chosen or CASES:
        compiled = [c for target in TARGETS for c in compile_case(name, target)]
        rows = [
            f"| {name} | {c.name} | {c.target} | {c.warps} | {c.registers} | {c.spills} | "
            f"{c.shared} |"
            for c in compiled
        ]
        print("\n".join(rows), flush=True)
        write(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
