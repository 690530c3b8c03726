"""Everything that a first hour on a GPU should answer, in one call: right, then how fast.

    python3 scripts/gpu_run.py --out OUT [--only tests bench-kernels] [--minutes 9]

Steps run in order, each in a process of its own with a bound on its time, and leave a log (and a
JSON file, where it is a benchmark) in ``--out``. A step that fails or runs out of its time does not
stop the next; the last lines say what became of each. Needs the core, and for ``--only`` names that
train the plugin, as packages (see gpu_bundle.py).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider")
KERNEL_TESTS = "tests/kernels/triton/test_gpu.py"
BENCH = (sys.executable, "-c", "from mamba_core.cli import main; main()", "bench")
ON_GPU = ("--device", "cuda", "--rounds", "50", "--seconds", "20")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One process."""

    name: str
    seconds: int
    """At most."""
    command: tuple[str, ...]
    needs: str | None = None
    """A program without which the step is left out."""


def bench(name: str, seconds: int, *sizes: str, against: tuple[str, ...] = ()) -> Step:
    """A benchmark in bfloat16 with sizes of its config; its numbers go to ``NAME.json``."""
    peers = tuple(word for peer in against for word in ("--against", peer))
    fields = ("dtype", "bfloat16", *sizes)
    flags = tuple(f"--{name}.{w}" if k % 2 == 0 else w for k, w in enumerate(fields))
    out = ("--out", f"OUT/{name}.json", "--plot", f"OUT/{name}.png")
    return Step(
        name=f"bench-{name}", seconds=seconds, command=(*BENCH, name, *ON_GPU, *peers, *flags, *out)
    )


PEERS = ("mamba_ssm", "fla")
STEPS = (
    Step(name="tests", seconds=240, command=(*PYTEST, "--maxfail=20", KERNEL_TESTS)),
    bench(
        *("kernels", 120, "batch", "8", "channels", "2048", "length", "2048"),
        *("ssd_batch", "8", "ssd_length", "4096", "heads", "32", "ssd_state", "128"),
        against=PEERS,
    ),
    bench("orders", 40, "batch", "64", "grid", "56", "channels", "96", "side", "64"),
    bench("layers", 90, "d_model", "2048", "lengths", "[512,2048,8192,32768,65536]"),
    Step(
        name="tests-whole",
        seconds=90,
        command=(*PYTEST, "tests/bench/test_gpu.py", "tests/core/test_mixers_gpu.py"),
    ),
    Step(
        name="races",
        seconds=120,
        command=("compute-sanitizer", "--tool", "racecheck", *PYTEST, KERNEL_TESTS, "-k", "all"),
        needs="compute-sanitizer",
    ),
    Step(
        name="memory",
        seconds=120,
        command=("compute-sanitizer", "--tool", "memcheck", *PYTEST, KERNEL_TESTS, "-k", "packed"),
        needs="compute-sanitizer",
    ),
)


def run(step: Step, out: Path, left: float) -> str:
    """Run a step within its time and what is left of all; return what became of it."""
    if step.needs is not None and shutil.which(step.needs) is None:
        return f"left out: no {step.needs} here"
    if left < 1:
        return "left out: no time"
    command = [word.replace("OUT/", f"{out}/") for word in step.command]
    with (out / f"{step.name}.log").open("w", encoding="utf-8") as log:
        print("+", *command, file=log, flush=True)
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                timeout=min(step.seconds, left), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "ran out of its time"
    return "ok" if done.returncode == 0 else f"exit code {done.returncode}"


def main() -> None:
    """Run the steps; exit with 1 unless all that ran were ok."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS])
    parser.add_argument("--minutes", type=float, default=9.0, help="for all steps together")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no GPU here")
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    end, became = time.monotonic() + 60 * given.minutes, {}
    for step in STEPS:
        if given.only is None or step.name in given.only:
            began = time.monotonic()
            became[step.name] = run(step, out, end - began)
            print(f"{step.name}: {became[step.name]}, {time.monotonic() - began:.0f} s", flush=True)
    if any(word != "ok" and not word.startswith("left out") for word in became.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
