"""The service under load: a process of its own, asked over the loopback, by length of history.

    python -m mamba_recsys.service.load --items 100000 --presets mamba4rec sasrec

Weights are untrained: costs do not depend on them. Every request is one new event and then the ten
best items of its user; latencies are of the clock, so other programs on the machine count, the
service's own seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamba_recsys import interactions as I
from mamba_recsys.benchmark import LENGTHS, build
from mamba_recsys.catalogue import Catalogue
from mamba_recsys.encoder import ColumnEncoder
from mamba_recsys.estimator import Fitted
from mamba_recsys.recommender import Recommender

USERS = 16
"""Users that are asked about in turn."""


def untrained(preset: str, items: int, length: int) -> Recommender:
    """Return a recommender with ``length`` events of each of :data:`USERS` users."""
    model = build(preset, items, length)
    rng = np.random.default_rng(0)
    data = I.Interactions(
        users=np.arange(USERS),
        catalogue=np.arange(items),
        items=rng.integers(items, size=USERS * length),
        times=np.tile(np.arange(length, dtype=np.float64), USERS),
        offsets=np.arange(USERS + 1) * length,
    )
    nothing = np.zeros(0, dtype=np.int64)
    parts = I.Parts(data.offsets[1:], nothing, nothing)
    columns = ColumnEncoder({}, {}, {})
    rec = Recommender(preset, hold_out=None, data={"max_length": max(length, 2)})
    catalogue = Catalogue(data.catalogue)
    offered = np.ones(items, dtype=bool)
    rec._fitted = Fitted(model.eval(), length, catalogue, data, parts, offered, columns, columns)
    return rec


@contextmanager
def served(rec: Recommender, folder: Path) -> Iterator[tuple[int, int]]:
    """Serve a recommender in another process; gives its port and process id."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    words = ["serve", rec.task, str(rec.save(folder / "rec")), "--take-over"]
    words += ["--store", str(folder / "states.db"), "--port", str(port)]
    command = [sys.executable, "-c", "from mamba_core.cli import main; main()", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + 300
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service of {rec.name} did not start")
            time.sleep(0.2)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


def load(preset: str, length: int, *, items: int, requests: int = 200) -> dict[str, Any]:
    """Ask a service of users with ``length`` events each.

    :returns: median and 99th percentile of an event (until it is on the disk) and of an answer,
        pairs ``per_second``, all by the clock; ``server_ms`` of the processor per pair (None off
        Linux).
    """
    import httpx

    rng = np.random.default_rng(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(untrained(preset, items, length), Path(folder)) as (port, pid),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        times = []
        for number in range(-10, requests):  # the first ones warm it up
            if number == 0:
                spent, begin = _seconds_of(pid), time.perf_counter()
            user = number % USERS
            event = {"event_id": f"n{number}", "user_id": user, "timestamp": length + number + 10.0}
            event["item_id"] = int(rng.integers(items))
            start = time.perf_counter()
            client.post("/events", json={"events": [event]}).raise_for_status()
            middle = time.perf_counter()
            path = f"/users/{user}/recommendations?k=10&filter_seen=false"
            client.get(path).raise_for_status()
            times.append((middle - start, time.perf_counter() - middle))
        wall, used = time.perf_counter() - begin, _seconds_of(pid)
    events, answers = zip(*times[10:], strict=True)
    return {
        "what": "service",
        "preset": preset,
        "length": length,
        "event_p50_ms": 1e3 * float(np.quantile(events, 0.5)),
        "event_p99_ms": 1e3 * float(np.quantile(events, 0.99)),
        "top10_p50_ms": 1e3 * float(np.quantile(answers, 0.5)),
        "top10_p99_ms": 1e3 * float(np.quantile(answers, 0.99)),
        "per_second": requests / wall,
        "server_ms": None if used is None or spent is None else 1e3 * (used - spent) / requests,
    }


def _seconds_of(pid: int) -> float | None:
    """Processor time of a process; None where there is no Linux to ask."""
    path = Path(f"/proc/{pid}/stat")
    if not path.is_file():
        return None
    fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(words: Sequence[str] | None = None) -> None:
    """Print a JSON line per measurement.

    :param words: the command's; None takes them from ``sys.argv``.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="catalogue")
    parser.add_argument("--presets", nargs="+", default=["mamba4rec", "sasrec"])
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--requests", type=int, default=200, help="events, each with an answer")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    for length in given.lengths:
        for preset in given.presets:
            row = load(preset, length, items=given.items, requests=given.requests)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
