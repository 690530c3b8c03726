"""What a separator costs: parameters, multiply-accumulates, time on one thread, memory.

    python -m mamba_audio.separation.cost libri8k_small conv_tasnet_1m --seconds 60 3600

A system is a preset (with random weights: the cost is the same) or a saved model's folder. Every
length is a file of seeded noise that goes through the predictor in a process of its own, so that
its peak of memory is that of this file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch

from mamba_audio.macs import macs_per_second
from mamba_audio.separation.predict import FileSeparator
from mamba_core import registry
from mamba_core.cli.output import terminal_progress


@dataclass(frozen=True)
class FileCost:
    """What one file took."""

    seconds: float
    """Length of the file."""
    wall_s: float
    """Time from the start to the finished outputs, on one thread."""
    cpu_s: float
    """Of it, time on the processor: what it would take if nothing else ran."""
    peak_mib: float
    """Largest resident memory of the process, Python and torch included."""
    base_mib: float
    """The same before the file was opened, with the model loaded."""

    @property
    def real_time_factor(self) -> float:
        """Seconds of processor per second of audio; below 1 is faster than real time."""
        return self.cpu_s / self.seconds


def build(system: str) -> Any:
    """Return the model of a preset, or of a folder, in eval mode."""
    if Path(system).is_dir():
        return registry.build("audio-sep", weights=system).eval()
    torch.manual_seed(0)
    return registry.build("audio-sep", preset=system).eval()


def file_cost(system: str, seconds: float) -> FileCost:
    """Measure one file in this process, which must be fresh: peaks do not come down again.

    :raises AssertionError: when the outputs do not have the length of the file.
    """
    import resource

    torch.set_num_threads(1)
    separator = FileSeparator(build(system))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.wav"
        _write_noise(path, seconds, separator.sample_rate)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        row = separator.separate_file(path, Path(folder) / "out")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for output in row["outputs"]:
            assert sf.info(output).frames == sf.info(path).frames
    scale = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return FileCost(seconds, wall, cpu, peak / scale, base / scale)


def _write_noise(path: Path, seconds: float, rate: int) -> None:
    rng = np.random.default_rng(0)
    left = round(seconds * rate)
    with sf.SoundFile(path, "w", rate, 1) as file:
        while left:
            size = min(left, rate)
            file.write(0.1 * rng.standard_normal(size))
            left -= size


def in_new_process(system: str, seconds: float) -> FileCost:
    """Run :func:`file_cost` where nothing ran before."""
    command = [sys.executable, "-m", __spec__.name, system, "--one", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{system}, {seconds} s: {done.stderr[-1000:]}")
    return FileCost(**json.loads(done.stdout))


def cost_row(system: str, seconds: Sequence[float]) -> dict[str, Any]:
    """Return all costs of a system: ``parameters``, ``macs_per_second``, and ``"60 s"``, ...,
    the fields of :class:`FileCost` with ``real_time_factor``, by length of the file.

    On a terminal it shows the length that is measured.
    """
    model = build(system)
    row: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs_per_second": macs_per_second(model, "mixture", model.config.sample_rate),
    }
    with terminal_progress() as show:
        for done, length in enumerate(seconds):
            if show is not None:
                show(f"{system}, a file of {length:g} s", done, len(seconds))
            cost = in_new_process(system, length)
            row[f"{length:g} s"] = {**asdict(cost), "real_time_factor": cost.real_time_factor}
    return row


def main() -> None:
    """Print a line of JSON per system."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.separation.cost")
    parser.add_argument("systems", nargs="+", help="presets, or folders of saved models")
    parser.add_argument("--seconds", type=float, nargs="*", default=[60], help="lengths of files")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(asdict(file_cost(given.systems[0], given.one))))
        return
    for system in given.systems:
        row = {"system": system, **cost_row(system, given.seconds)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
