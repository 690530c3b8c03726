"""Trainings as folders: which network each trained, from which seed, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mamba_core import registry
from mamba_core.pretrained import WEIGHTS, model_folder
from mamba_core.training import records

_FREE = ("train.seed", "data.root", *(f"train.{name}" for name in sorted(records.FREE)))
"""Settings in which trainings may differ and still be alike."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training."""

    folder: Path
    system: str
    """The preset, and what of its config was changed."""
    seed: int
    steps: int
    """Optimiser steps done."""
    settings: Mapping[str, Any]
    """How it was trained and on what, by dotted name, without the seed."""

    @property
    def planned(self) -> int | None:
        """Steps that it was to do; None where epochs were given."""
        return self.settings["train.max_steps"]

    @property
    def sha256(self) -> str:
        """Hash of the weights that were kept."""
        return hashlib.sha256((model_folder(self.folder) / WEIGHTS).read_bytes()).hexdigest()


def read_run(folder: Path) -> Run:
    """Read the results folder of a training of ``audio-sep``.

    :raises ValueError: for any other folder, and before the first validation has kept a model.
    """
    described = records.read_run(folder)
    if described is None or not str(described["task"]).startswith("audio-sep"):
        raise ValueError(
            f"{folder} is no results folder of audio-sep: give those that `mamba-core train "
            "audio-sep` wrote"
        )
    if not (model_folder(folder) / WEIGHTS).is_file():
        raise ValueError(f"{folder} holds no model yet: train on until its first validation")
    rows = records.read_metrics(folder / records.METRICS)
    found = dict(_flat({"train": described["train"], "data": described["data"]}))
    return Run(
        folder=folder,
        system=_name(described["preset"], described["model"]),
        seed=described["train"]["seed"],
        steps=max((int(float(row["step"])) for row in rows), default=0),
        settings={name: value for name, value in found.items() if name not in _FREE},
    )


def by_system(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs, each group in the order of its seeds.

    :raises ValueError: when two runs of a system have one seed, or were trained differently: a
        spread over them would not be one over seeds.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.system, []).append(run)
    for system, group in groups.items():
        seeds = sorted(run.seed for run in group)
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{system}: seeds {seeds}, each must be there once; give one folder")
        different = differences([run.settings for run in group])
        if different:
            raise ValueError(
                f"{system}: its seeds were trained with different {', '.join(different)}: compare "
                "runs that differ in their seed only"
            )
        group.sort(key=lambda run: run.seed)
    return groups


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names whose values are not the same everywhere."""
    names = sorted({name for each in settings for name in each})
    return [n for n in names if any(each.get(n) != settings[0].get(n) for each in settings)]


def _name(preset: str, model: Mapping[str, Any]) -> str:
    """``single_1m``, or ``single_1m causal=True``."""
    config = registry.config("audio-sep", preset=preset)
    usual = dict(_flat(TypeAdapter(type(config)).dump_python(config, mode="json")))
    changed = [f"{name}={value}" for name, value in _flat(model) if usual.get(name, value) != value]
    return " ".join([preset, *changed])


def _flat(nested: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
