"""Run the programs behind the tables of a task's card.

``make reproduce TASK=ts-forecast DATA=folder`` (``OUT=folder`` keeps the results; what is there is
not run again). Without ``TASK`` it says which tasks there are and how long each takes.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """One program and what to expect of it."""

    module: str
    words: tuple[str, ...]
    """Its arguments; ``{data}`` and ``{out}`` stand for the folders."""
    takes: str
    """An estimate, for one thread: most tables were made in parts, on a busy machine."""
    data: str
    """What the folder must hold."""


_FOLDERS = ("--root", "{data}", "--out", "{out}")
_RECSYS = "mamba_recsys.reproduce"
_ML100K = "ml-100k/ml-100k.inter"
_ML1M = "ml-1m/ml1m_sequences.npz"
_FORECAST = "mamba_timeseries.forecast.reproduce"
_GRAPH = "mamba_graph.benchmarks."
_GRAPHS = "pyg/NAME/raw and folds/NAME.txt, see the card"
_FOLDS = ("gin", "gps", "graph_mamba_small", "--root", "{data}", "--record", "{out}/folds.jsonl")
_ORDERS = ("--orders", "degree", "rcm", "bfs", "hops", "node-shuffle", "--seeds", "0", "1", "2")
_ORDERS += ("--batch", "32", "--lr", "2e-3", "--d-model", "32", "--depth", "3", "--dropout", "0.1")
_ORDERS += ("--layer-dropout", "0.1")
_PEERS = ("gcn_tuned", "polynormer", "graph_mamba_small")
_NODES = ("--root", "{data}/pyg", "--record", "{out}/nodes.jsonl")
_CITATIONS = ("gcn_16", "gcn_tuned", "polynormer", "graph_mamba_node")
_FAR = ("graph_mamba_small", "gps", "gred", "gcn", "--record", "{out}/distance.jsonl")
_TREES = ("--graphs", "800", "--epochs", "12", "--batch", "50")
_LINKS = ("--root", "{data}/pyg", "--seeds", "1", "--record", "{out}/links.jsonl")
_MOLECULES = ("--root", "{data}/pyg", "--seeds", "3", "--epochs", "25")
_MOLECULES += ("--batch", "64", "--lr", "2e-3", "--record", "{out}/esol.jsonl")
TABLES: dict[str, tuple[Table, ...]] = {
    "ts-forecast": (Table(_FORECAST, ("ETTh1", *_FOLDERS), "1 h", "ETTh1.csv"),),
    "ts-forecast-336": (
        Table(
            _FORECAST,
            ("ETTh1", *_FOLDERS, "--input-size", "336", "--presets", "s_mamba_residual", "dlinear"),
            "10 min",
            "ETTh1.csv",
        ),
    ),
    "ts-exchange": (
        Table(
            _FORECAST,
            ("Exchange", *_FOLDERS, "--presets", "s_mamba_residual", "dlinear"),
            "10 min",
            "exchange_rate.txt",
        ),
    ),
    "ts-ili": (
        Table(
            _FORECAST,
            ("ILI", *_FOLDERS, "--presets", "s_mamba_residual", "s_mamba"),
            "5 min",
            "national_illness.csv",
        ),
    ),
    "ts-quantiles": (
        Table("mamba_timeseries.forecast.reproduce_quantiles", _FOLDERS, "15 min", "ETTh1.csv"),
    ),
    "ts-classify": (
        Table(
            "mamba_timeseries.classify.reproduce",
            _FOLDERS,
            "1 h",
            "a folder per set of the UCR and UEA archives, with its _TRAIN.ts and _TEST.ts",
        ),
    ),
    "ts-impute": (Table("mamba_timeseries.impute.reproduce", _FOLDERS, "6 min", "ETTh1.csv"),),
    "ts-anomaly": (
        Table(
            "mamba_timeseries.anomaly.reproduce",
            _FOLDERS,
            "15 min",
            "135_UCR_Anomaly_InternalBleeding16_TEST.csv, as aeon has it",
        ),
    ),
    "ts-speed": (
        Table(
            "mamba_timeseries.forecast.speed",
            ("--out", "{out}.json", "--plot", "{out}.png"),
            "5 min",
            "nothing",
        ),
    ),
    "graph-cls": (
        Table(
            _GRAPH + "wl_svm",
            ("MUTAG", "PROTEINS", "ENZYMES", "IMDB-BINARY", "NCI1", "--root", "{data}"),
            "15 min",
            _GRAPHS,
        ),
        Table(_GRAPH + "tu_folds", ("MUTAG", *_FOLDS), "2 min", _GRAPHS),
        Table(_GRAPH + "tu_folds", ("ENZYMES", *_FOLDS), "20 min", _GRAPHS),
        Table(_GRAPH + "tu_folds", ("PROTEINS", *_FOLDS), "7 min", _GRAPHS),
        Table(_GRAPH + "tu_folds", ("IMDB-BINARY", *_FOLDS), "5 min", _GRAPHS),
        Table(_GRAPH + "tu_folds", ("NCI1", *_FOLDS), "30 min", _GRAPHS),
        Table(_GRAPH + "report", ("{out}", "--plots", "{out}"), "1 min", "nothing"),
    ),
    "graph-orders": (
        Table(
            _GRAPH + "tu_folds",
            ("ENZYMES", *_FOLDS[2:], *_ORDERS, "--folds", "1", "2", "3", "--epochs", "15"),
            "5 min",
            _GRAPHS,
        ),
        Table(
            _GRAPH + "tu_folds",
            ("NCI1", *_FOLDS[2:], *_ORDERS, "--folds", "1", "--epochs", "5"),
            "5 min",
            _GRAPHS,
        ),
        Table(_GRAPH + "report", ("{out}", "--plots", "{out}"), "1 min", "nothing"),
    ),
    "graph-node": (
        Table(_GRAPH + "node_sets", ("Cora", *_CITATIONS, *_NODES), "2 min", _GRAPHS),
        Table(_GRAPH + "node_sets", ("CiteSeer", *_CITATIONS, *_NODES), "4 min", _GRAPHS),
        Table(_GRAPH + "node_sets", ("Minesweeper", "linear", *_NODES), "1 min", _GRAPHS),
        Table(
            _GRAPH + "node_sets",
            ("Minesweeper", *_PEERS, *_NODES, "--splits", "3"),
            "8 min",
            _GRAPHS,
        ),
        Table(_GRAPH + "node_sets", ("Tolokers", "linear", *_NODES), "1 min", _GRAPHS),
        Table(
            _GRAPH + "node_sets",
            ("Tolokers", *_PEERS, *_NODES, "--splits", "3"),
            "20 min",
            _GRAPHS,
        ),
        Table(_GRAPH + "report", ("{out}", "--plots", "{out}"), "1 min", "nothing"),
    ),
    "graph-distance": (
        Table(
            _GRAPH + "distance",
            ("ring", *_FAR, "--distances", "4", "16", "64", "--graphs", "200"),
            "5 min",
            "nothing",
        ),
        Table(
            _GRAPH + "distance",
            ("tree", *_FAR, "--distances", "2", "3", "4", *_TREES),
            "3 min",
            "nothing",
        ),
        Table(_GRAPH + "report", ("{out}", "--plots", "{out}"), "1 min", "nothing"),
    ),
    "graph-scaling": (
        Table(
            _GRAPH + "scaling",
            ("--gib", "8", "--record", "{out}/scaling.jsonl"),
            "10 min",
            "nothing",
        ),
        Table(_GRAPH + "report", ("{out}", "--plots", "{out}"), "1 min", "nothing"),
    ),
    "graph-link": (
        Table(
            _GRAPH + "link_sets",
            ("Cora", "common", "adamic_adar", "features", "gcn", "graph_mamba_small", *_LINKS),
            "2 min",
            _GRAPHS,
        ),
    ),
    "graph-reg": (
        Table(
            _GRAPH + "esol",
            ("mean", "ridge", "formula", "--root", "{data}/pyg"),
            "1 min",
            "pyg/esol/raw; needs rdkit",
        ),
        Table(
            _GRAPH + "esol",
            ("gin", "graph_mamba_small", *_MOLECULES),
            "2 min",
            "pyg/esol/raw; needs rdkit",
        ),
    ),
    "rec-next": (
        Table(_RECSYS, ("ml-100k", "--root", "{data}", "--out", "{out}"), "30 min", _ML100K),
        Table(_RECSYS, ("ml-1m", "--root", "{data}", "--out", "{out}"), "1 h", _ML1M),
        Table(
            _RECSYS, ("beauty", "--root", "{data}", "--out", "{out}"), "20 min", "beauty/Beauty.txt"
        ),
    ),
    "rec-session": (
        Table(
            "mamba_recsys.session.reproduce",
            ("--root", "{data}", "--out", "{out}"),
            "6 min",
            _ML100K,
        ),
    ),
    "rec-speed": (
        Table(
            "mamba_recsys.benchmark",
            ("--items", "100000", "--plot", "{out}.svg"),
            "3 min",
            "nothing",
        ),
        Table("mamba_recsys.service.load", ("--items", "100000"), "2 min", "nothing"),
    ),
    "audio-sep": (
        Table(
            "mamba_audio.separation.benchmark",
            ("--root", "{data}", "mixture", "irm", "ibm", "psm", "default"),
            "15 min",
            "libri8k, see the card",
        ),
    ),
    "audio-enhance": (
        Table(
            "mamba_audio.enhancement.benchmark",
            ("--root", "{data}", "noisy", "subtraction"),
            "3 min",
            "libri8k, see the card",
        ),
    ),
    "vision-cls": (
        Table(
            "mamba_vision.classification.reproduce",
            ("mnist", "--data", "{data}/mnist_28x28.npz", "--out", "{out}/mnist"),
            "25 min",
            "mnist_28x28.npz",
        ),
        Table(
            "mamba_vision.classification.reproduce",
            ("cifar", "--data", "{data}/cifar10_jpeg.tar.xz", "--out", "{out}/cifar"),
            "45 min",
            "cifar10_jpeg.tar.xz",
        ),
    ),
    "vision-seg": (
        Table(
            "mamba_vision.segmentation.reproduce",
            ("--data", "{data}/camvid_240x180", "--out", "{out}"),
            "35 min",
            "camvid_240x180, unpacked",
        ),
    ),
    "vision-speed": (Table("mamba_vision.speed", ("--out", "{out}.jsonl"), "7 min", "nothing"),),
    "video-cls": (
        Table(
            "mamba_vision.video.reproduce",
            ("--data", "{data}/mnist_28x28.npz", "--out", "{out}"),
            "5 min",
            "mnist_28x28.npz",
        ),
    ),
    "points-cls": (
        Table(
            "mamba_vision.points.reproduce",
            ("--data", "{data}/dales_objects500_1024pts.npz", "--out", "{out}"),
            "10 min",
            "dales_objects500_1024pts.npz",
        ),
    ),
}


def listed() -> str:
    """Return the tasks, what their data is and how long they take."""
    lines = ["make reproduce TASK=... DATA=folder [OUT=folder]", ""]
    for task, tables in TABLES.items():
        for table in tables:
            shown = " ".join(word for word in table.words[:1] if word[0] not in "-{")
            lines.append(f"  {task:16} {shown:10} estimate {table.takes:7} data: {table.data}")
    return "\n".join(lines)


def main() -> None:
    """Run the tables of one task after each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("task", nargs="?", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--out", default="reproduced")
    given = parser.parse_args()
    if given.task not in TABLES:
        sys.exit(f"no table of {given.task!r}\n{listed()}" if given.task else listed())
    tables = TABLES[given.task]
    if not given.data and any("{data}" in table.words for table in tables):
        needed = "; ".join(table.data for table in tables)
        sys.exit(f"DATA=folder is needed; it must hold: {needed}")
    for table in tables:
        words = [word.format(data=given.data, out=given.out) for word in table.words]
        print(f"python -m {table.module} {' '.join(words)}   (estimate: {table.takes})", flush=True)
        sys.argv = [table.module, *words]
        runpy.run_module(table.module, run_name="__main__")


if __name__ == "__main__":
    main()
