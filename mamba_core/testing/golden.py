"""Committed reference outputs: a change of meaning cannot pass unseen."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_core.testing.subject import Skip, TaskUnderTest

FORMAT = 1
VALUES = 16
"""Values kept per output, evenly spread over it."""
RTOL, ATOL = 1e-3, 1e-4
"""Wide enough for another CPU's float32 rounding, far too narrow for another model."""


def write_golden_output(task: str, path: Path, *, preset: str = "tiny") -> Path:
    """Write a task's outputs for fixed weights and a fixed batch, in float32 on the CPU.

    Commit the file beside the task's card as ``<card without .md>.golden.json``.

    :raises FileExistsError: when ``path`` exists: a golden output is replaced by hand, together
        with the task's version.
    :returns: ``path``.
    """
    if path.exists():
        raise FileExistsError(
            f"{path} exists. If the outputs must change, bump the task's version, then remove it."
        )
    content = _describe(TaskUnderTest(task, preset))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def compare_golden(subject: TaskUnderTest) -> None:
    """Hold a task's outputs against its committed file.

    :raises Skip: when there is no such file.
    :raises AssertionError: naming the output that differs and by how much.
    """
    golden = _read(subject)
    now = _describe(TaskUnderTest(subject.full_id, golden["preset"]))["outputs"]
    for name, kept in golden["outputs"].items():
        assert name in now, f"output '{name}' of the golden file is gone"
        assert now[name]["shape"] == kept["shape"], (
            f"output '{name}' has shape {now[name]['shape']}, golden {kept['shape']}"
        )
        new, old = torch.tensor(now[name]["values"]), torch.tensor(kept["values"])
        assert torch.allclose(new, old, rtol=RTOL, atol=ATOL), (
            f"output '{name}' moved by up to {(new - old).abs().max():.3g}. Saved models would "
            f"answer differently: bump the version of '{subject.spec.id}' (now "
            f"{subject.spec.version}) or undo the change."
        )


def _read(subject: TaskUnderTest) -> dict[str, Any]:
    card = subject.spec.card
    if card is None:
        raise Skip("the task has no card, so no place for a golden file")
    package, _, resource = card.partition(":")
    name = resource.removesuffix(".md") + ".golden.json"
    file = files(package).joinpath(name)
    if not file.is_file():
        raise Skip(
            f"{package}:{name} is missing; `mamba-core check {subject.full_id} --write-golden "
            "FILE` writes one"
        )
    golden = json.loads(file.read_text(encoding="utf-8"))
    if golden["task"] != subject.full_id:
        raise Skip(f"{package}:{name} is of {golden['task']}; write one for {subject.full_id}")
    return golden


def _describe(subject: TaskUnderTest) -> dict[str, Any]:
    with torch.no_grad():
        outputs = subject.forward(subject.model(), subject.batch())
    return {
        "format": FORMAT,
        "task": subject.full_id,
        "preset": subject.preset,
        "outputs": {name: _slice(value) for name, value in outputs.items()},
    }


def _slice(value: Tensor) -> dict[str, Any]:
    flat = value.detach().double().flatten()
    places = torch.linspace(0, len(flat) - 1, min(VALUES, len(flat))).long()
    return {"shape": list(value.shape), "values": [float(f"{x:.6g}") for x in flat[places]]}
