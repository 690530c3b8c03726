"""What events cost: in training by length of history, in serving by how long a user has been there.

    python -m mamba_recsys.benchmark --items 100000 --presets mamba4rec sasrec

Weights are untrained: costs do not depend on them. A model whose states differ from reading at once
is not timed. Times are those of the processor (``time.process_time``), so that other programs
on the machine do not count; the 99th percentile still has their traces. Memory is what a step adds
to a fresh process.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mamba_core import registry
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.next_item.objective import loss
from mamba_recsys.ragged import edges
from mamba_recsys.topk import top_k

LENGTHS = (50, 200, 1000, 5000)
TOKENS = 10_000
"""Events per training step, whatever the length of the histories."""
TOLERANCE = 1e-4
_ONE = edges(torch.tensor([1]))


def build(preset: str, items: int, length: int) -> NextItemModel:
    """Return a model; a network with a window gets one of ``length``."""
    fields: dict[str, Any] = {"items": items}
    if preset in ("sasrec", "hstu"):
        fields["network"] = {"kind": preset, "max_length": length}
    model = registry.build("rec-next", preset=preset, **fields)
    assert isinstance(model, NextItemModel)
    return model


def history(items: int, lengths: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return random packed histories, as the model takes them."""
    total = sum(lengths)
    return {
        "items": torch.randint(items, (total,)),
        "times": torch.arange(total, dtype=torch.float64),
        "cu_seqlens": edges(torch.tensor(list(lengths))),
    }


def training(preset: str, length: int, *, items: int = 3416, rounds: int = 3) -> dict[str, Any]:
    """Measure a step forward and backward over :data:`TOKENS` events.

    :returns: ``s_per_10k_events`` of the processor, ``peak_mib`` of memory (None off Linux).
    """
    model = build(preset, items, length).train()
    batch = history(items, [length] * (TOKENS // length))
    batch["targets"] = torch.randint(items, (len(batch["items"]),))

    def step() -> None:
        targets = {"targets": batch["targets"]}
        inputs = {name: batch[name] for name in ("items", "times", "cu_seqlens")}
        loss(model(**inputs), targets).backward()
        model.zero_grad()

    peak = added_memory(step)
    step()
    return {
        "what": "training",
        "preset": preset,
        "length": length,
        "peak_mib": None if peak is None else round(peak / 2**20, 1),
        "s_per_10k_events": min(_seconds(step) for _ in range(rounds)),
    }


def added_memory(run: Callable[[], Any]) -> int | None:
    """Return the most memory that ``run`` adds at once, in bytes, in a process of its own.

    None where there is no Linux with glibc to ask.
    """
    if not (Path("/proc/self/status").is_file() and hasattr(ctypes.CDLL(None), "malloc_trim")):
        return None
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def child() -> None:
        run()  # what is loaded once does not count
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # nor what was freed before
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
        before = _status("VmRSS")
        run()
        theirs.send(_status("VmHWM") - before)

    with warnings.catch_warnings():
        # torch's threads stand still: nothing is shared with the child but memory
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=child)
        process.start()
    theirs.close()
    found: int = ours.recv()
    process.join()
    return found


def _status(name: str) -> int:
    """A line of the kernel's about this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def check(model: NextItemModel, items: int, length: int) -> float:
    """Return how far a state that grew lies from one that was read at once, relative."""
    batch = history(items, [length])
    with torch.no_grad():
        expected = model(**batch)["hidden"][-1]
    state = model.read(
        batch["items"][:-1], batch["times"][:-1], edges(torch.tensor([length - 1])),
        model.init_state(1),
    )  # fmt: skip
    state = model.read(batch["items"][-1:], batch["times"][-1:], _ONE, state)
    grown = state.tensors["hidden"][0]
    return float((grown - expected).abs().max() / expected.abs().max())


def serving(preset: str, length: int, *, items: int, events: int = 60) -> dict[str, Any]:
    """Time one event and the ten best items behind it, for a user who has ``length`` events.

    :raises AssertionError: when states and reading at once differ.
    """
    model = build(preset, items, length).eval()
    wrong = check(model, items, length)
    assert wrong < TOLERANCE, f"{preset}: states differ by {wrong:.2g} from reading at once"
    batch = history(items, [length])
    state = model.read(**batch, state=model.init_state(1))
    vectors = model.item_vectors().detach()
    updates, searches = [], []
    for k in range(events):
        item, moment = torch.randint(items, (1,)), torch.tensor([length + k], dtype=torch.float64)
        begin = time.process_time()
        state = model.read(item, moment, _ONE, state)
        middle = time.process_time()
        top_k(state.tensors["hidden"], vectors, 10)
        updates.append(middle - begin)
        searches.append(time.process_time() - middle)
    both = sorted(u + s for u, s in zip(updates, searches, strict=True))
    return {
        "what": "serving",
        "preset": preset,
        "length": length,
        "update_ms": 1e3 * sorted(updates)[events // 2],
        "top10_ms": 1e3 * sorted(searches)[events // 2],
        "p99_ms": 1e3 * both[int(0.99 * events)],
        "state_kib": state.nbytes / 1024,
    }


def many_users(preset: str, users: int = 10_000, *, items: int = 3416) -> dict[str, Any]:
    """Time one event of each of many users at once."""
    model = build(preset, items, 200).eval()
    state = model.init_state(users)
    batch = history(items, [1] * users)
    state = model.read(**batch, state=state)
    seconds = min(_seconds(lambda: model.read(**batch, state=state)) for _ in range(3))
    return {"what": "many users", "preset": preset, "users": users, "s": seconds}


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw what training and serving cost by length of history; needs matplotlib.

    :param rows: what :func:`training` and :func:`serving` returned.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel, what, name, unit in (
        (panels[0], "training", "s_per_10k_events", "s per 10,000 events of training"),
        (panels[1], "training", "peak_mib", "MiB of a step over 10,000 events"),
        (panels[2], "serving", "update_ms", "ms per event served"),
    ):
        for preset in dict.fromkeys(row["preset"] for row in rows):
            own = [r for r in rows if r["what"] == what and r["preset"] == preset]
            lengths, values = [r["length"] for r in own], [r[name] for r in own]
            panel.plot(lengths, values, marker="o", label=preset)
        panel.set(xscale="log", yscale="log", xlabel="length of the history", ylabel=unit)
        panel.legend()
    # no date, so that an equal picture is an equal file
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mamba_recsys"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _seconds(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def main(words: Sequence[str] | None = None) -> None:
    """Print a JSON line per measurement.

    :param words: the command's; None takes them from ``sys.argv``.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="catalogue for serving")
    parser.add_argument("--presets", nargs="+", default=["mamba4rec", "sasrec"])
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--plot", type=Path, help="picture to draw, .png or .svg")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []

    def show(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    for preset in given.presets:
        for length in given.lengths:
            show(training(preset, length))
            show(serving(preset, length, items=given.items))
        if preset not in ("sasrec", "hstu"):
            show(many_users(preset))
    if given.plot is not None:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
