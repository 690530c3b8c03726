"""What a forecast costs as series get longer and channels more, beside attention.

``python -m mamba_timeseries.forecast.speed --out speed.json --plot speed.png``

Random weights; the networks differ in their mixer only. The contenders of a size take turns, and
what a contender returns is checked to be finite and of the right shape before it is timed.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_core import registry
from mamba_core.atomic import new_file
from mamba_core.bench.measure import Case, Contender, Row, Settings, Verdict, measure
from mamba_core.cli.output import terminal_track

LENGTHS = (96, 384, 1536, 4096, 16384)
CHANNELS = (7, 32, 128, 512, 2048)
H = 24
_WINDOWS = 2

ATTENTION = {"name": "attention", "num_heads": 4}
PATCHES = {"kind": "patch_encoder", "d_model": 64, "d_ff": 128, "depth": 2}
MAMBA2 = {"name": "mamba2", "d_state": 32, "headdim": 32}


def by_length(length: int) -> dict[str, Any]:
    """Return models that read the patches of one channel: mamba2, and PatchTST's attention."""
    fields = {"input_size": length, "h": H, "channels": 1}
    return {
        "mamba2": _model(**fields, mixer=MAMBA2, network=PATCHES),
        "attention": _model(**fields, mixer={**ATTENTION, "causal": False}, network=PATCHES),
    }


def by_channels(channels: int) -> dict[str, Any]:
    """Return models with a token per channel: S-Mamba, and attention (iTransformer's frame)."""
    fields = {"input_size": 96, "h": H, "channels": channels}
    whole = {**ATTENTION, "causal": False}
    network = {"kind": "s_mamba", "scan_order": "raster"}  # attention needs one path only
    return {
        "s_mamba": _model(**fields),
        "attention": _model(**fields, mixer=whole, network=network),
    }


def _model(**fields: Any) -> Any:
    torch.manual_seed(0)
    return registry.build("ts-forecast", preset="s_mamba", **fields)


def cases() -> Iterator[Case]:
    """Forecast and training step, over lengths and over channels."""
    for name, sizes, make in (("length", LENGTHS, by_length), ("channels", CHANNELS, by_channels)):
        for size in sizes:
            models = make(size)
            for training in (False, True):
                what = "training step" if training else "forecast"
                contenders = [_contender(n, m, training) for n, m in models.items()]
                yield Case(f"{what} by {name}", {name: size}, contenders, _judge)


def _contender(name: str, model: Any, training: bool) -> Contender:
    config = model.config
    past = torch.randn(_WINDOWS, config.input_size, config.channels)
    seen, known = torch.ones_like(past, dtype=torch.bool), torch.zeros(_WINDOWS, 1, 0)

    def call() -> Tensor:
        with torch.set_grad_enabled(training):
            forecast = model(past, seen, known)["forecast"]
        if training:
            model.zero_grad()
            forecast.square().mean().backward()
        return forecast.detach()

    return Contender(name, call)


def _judge(forecast: Tensor) -> Verdict:
    good = forecast.shape[:2] == (_WINDOWS, H) and bool(forecast.isfinite().all())
    return Verdict(complaint=None if good else "not a finite forecast")


def streaming() -> Iterator[Case]:
    """An observation and a forecast after it, behind histories of several lengths."""
    model: Any = registry.build("ts-forecast", preset="patch_decoder", h=H).eval()
    for length in LENGTHS:
        values = torch.randn(1, length)
        with torch.no_grad():
            read = model.read(values, torch.ones(1, length, dtype=torch.bool), model.start(1))
        contender = Contender("patch_decoder", partial(_update, model, read))
        yield Case("update by length", {"length": length}, [contender], _judge)


@torch.no_grad()
def _update(model: Any, stream: Any) -> Tensor:
    after = model.read(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), stream)
    return model.tell(after)["forecast"].expand(_WINDOWS, -1, -1)


def draw(rows: Iterable[Row], path: Path) -> None:
    """Draw time against size, a panel per question, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        if row.ms is not None:
            curve = found.setdefault(row.case, {}).setdefault(row.contender, [])
            curve.append((next(iter(row.size.values())), row.ms))
    figure, axes = pyplot.subplots(1, len(found), figsize=(3.2 * len(found), 3), squeeze=False)
    for axis, (case, curves) in zip(axes[0], found.items(), strict=True):
        for name, points in curves.items():
            axis.loglog(*zip(*points, strict=True), marker="o", label=name)
        axis.set(title=case, xlabel=case.split()[-1], ylabel="ms")
        axis.legend(fontsize=7)
    figure.tight_layout()
    with new_file(path) as unfinished:
        figure.savefig(unfinished, format=path.suffix.lstrip(".") or "png", dpi=120)
    pyplot.close(figure)


def main(words: Iterable[str] | None = None) -> None:
    """Time everything; write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path, help="picture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, per case")
    given = parser.parse_args(None if words is None else list(words))
    settings = Settings(rounds=given.rounds, seconds=given.seconds, threads=1)
    rows: list[Row] = []
    every = [*cases(), *streaming()]
    for case in terminal_track(every, lambda case: f"{case.name} {dict(case.size)}"):
        rows += measure([case], settings)
    for row in rows:
        size = next(iter(row.size.values()))
        cost = row.note if row.ms is None else f"{row.ms:10.2f} ms, processor {row.cpu_ms:10.2f} ms"
        print(f"{row.case:28} {size:6} {row.contender:14} {cost}")
    if given.plot:
        draw(rows, given.plot)
    if given.out:
        told = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "date": datetime.now(UTC).date().isoformat(),
            "rows": [asdict(row) for row in rows],
        }
        with new_file(given.out) as unfinished:
            unfinished.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
