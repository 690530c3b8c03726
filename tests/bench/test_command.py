"""``mamba-core bench`` as a user types it."""

from __future__ import annotations

import json

import pytest

from mamba_core.bench import BENCHMARKS
from mamba_core.cli import main

TINY = [
    *("--scan.batch", "1", "--scan.channels", "4", "--scan.length", "6"),
    *("--scan.curve_lengths", "[]", "--rounds", "1"),
]


def call(capsys, *words):
    """Return (exit code, stdout, stderr)."""
    with pytest.raises(SystemExit) as leaving:
        main(words)
    captured = capsys.readouterr()
    return leaving.value.code or 0, captured.out, captured.err


def test_help_names_the_benchmarks(capsys):
    code, out, _ = call(capsys, "bench", "--help")
    assert code == 0
    assert all(name in out for name in BENCHMARKS)


def test_help_of_one_shows_its_sizes(capsys):
    code, out, _ = call(capsys, "bench", "ssd", "--help")
    assert code == 0
    assert "--ssd.heads" in out


def test_unknown_name_and_peer(capsys):
    code, _, err = call(capsys, "bench", "scann")
    assert code == 1
    assert "'scann'. Did you mean 'scan'? Available: " + ", ".join(BENCHMARKS) in err
    code, _, err = call(capsys, "bench", "scan", "--against", "transfomers")
    assert code == 1
    assert "Did you mean 'transformers'" in err


def test_a_size_out_of_range(capsys):
    code, _, err = call(capsys, "bench", "scan", "--scan.length", "0")
    assert code == 1
    assert "scan.length = 0" in err


def test_device_is_the_cpu_or_an_error(capsys):
    code, out, _ = call(capsys, "bench", "scan", *TINY, "--device", "cpu")
    assert code == 0
    assert out.startswith("scan: cpu ")
    code, _, err = call(capsys, "bench", "scan", *TINY, "--device", "gpu")
    assert code == 1
    assert "device 'gpu': no such device; here: cpu" in err
    code, _, err = call(capsys, "bench", "scan", *TINY, "--device", "meta")
    assert code == 1
    assert "device 'meta': scan is measured on cpu, cuda only" in err


def test_table(capsys):
    code, out, _ = call(capsys, "bench", "scan", *TINY)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("scan: cpu ")
    assert "threads 1" in lines[0]
    columns = ["case", "size", "contender", "ms", "quartiles", "cpu", "ms", "ratio", "error"]
    assert lines[1].split() == columns
    assert any(line.startswith("forward+backward") and " eager " in line for line in lines)


def test_json_and_file_are_the_same(capsys, tmp_path):
    file = tmp_path / "scan.json"
    code, out, _ = call(capsys, "bench", "scan", *TINY, "--json", "--out", str(file))
    assert code == 0
    shown = json.loads(out)
    assert shown == json.loads(file.read_text())
    assert shown["config"]["channels"] == 4
    assert shown["machine"]["torch"]
    assert {"case", "size", "contender", "status", "ms", "ratio", "error"} <= set(shown["rows"][0])


def test_a_wrong_result_ends_with_1(capsys, monkeypatch):
    import torch

    from mamba_core.bench import scan
    from mamba_core.bench.problem import peer

    monkeypatch.setattr(
        scan,
        "PEERS",
        {"zeros": lambda problem: [peer(problem, "zeros", lambda u, **rest: torch.zeros_like(u))]},
    )
    code, out, _ = call(capsys, "bench", "scan", *TINY)
    assert code == 1
    assert "wrong: out is off by" in out


def test_file_without_a_name(capsys, tmp_path):
    code, _, err = call(capsys, "bench", "--out", str(tmp_path / "x.json"))
    assert code == 1
    assert "give its name too" in err


def test_without_a_name_all_are_run(capsys, monkeypatch):
    from mamba_core import bench

    monkeypatch.setattr(bench, "BENCHMARKS", {"startup": "the cheap one"})
    code, out, _ = call(capsys, "bench", "--rounds", "1", "--json")
    assert code == 0
    assert [report["benchmark"] for report in json.loads(out)] == ["startup"]
