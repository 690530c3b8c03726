"""``mamba-core export`` on a plugin of the tests' own."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from mamba_core import exporting, registry
from mamba_core.cli import main

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(n) is None for n in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra [export] is not installed",
)


def call(capsys, *words):
    with pytest.raises(SystemExit) as leaving:
        main(words)
    return leaving.value.code, capsys.readouterr()


def test_the_file_computes_what_the_model_does(capsys, toy, tmp_path):
    path = tmp_path / "toy.pt2"
    code, shown = call(capsys, "export", toy, "--preset", "tiny", "--out", str(path), "--json")
    assert not code, shown.err
    told = json.loads(shown.out)
    assert told["inputs"] == {"x": ["batch", 3]}
    assert told["outputs"] == ["y"]
    assert told["error"] <= exporting.TOLERANCE
    assert told["compared"] == [{"x": [2, 3]}, {"x": [5, 3]}]
    run = torch.export.load(path).module()
    assert run(x=torch.randn(7, 3))["y"].shape == (7, 2)


def test_it_says_what_it_wrote(capsys, toy, tmp_path):
    path = tmp_path / "toy.pt2"
    code, shown = call(capsys, "export", toy, "--preset", "tiny", "-o", str(path))
    assert not code, shown.err
    assert "input   x: batch, 3" in shown.out
    assert f"Wrote {path}" in shown.out


@needs_onnx
def test_onnx(capsys, toy, tmp_path):
    path = tmp_path / "toy.onnx"
    code, shown = call(capsys, "export", toy, "--preset", "tiny", "--out", str(path), "--json")
    assert not code, shown.err
    assert json.loads(shown.out)["error"] <= exporting.TOLERANCE


@needs_onnx
def test_a_graph_that_the_runtime_refuses_is_not_written(capsys, toy, tmp_path, monkeypatch):
    def refuses(path, providers):
        raise RuntimeError("INVALID_GRAPH")

    monkeypatch.setattr("onnxruntime.InferenceSession", refuses)
    path = tmp_path / "toy.onnx"
    code, shown = call(capsys, "export", toy, "--preset", "tiny", "--out", str(path))
    assert code == 1
    assert "does not take the graph (RuntimeError: INVALID_GRAPH): write .pt2" in shown.err
    assert not list(tmp_path.glob("*.onnx*"))


def test_a_saved_model(capsys, toy, tmp_path):
    torch.manual_seed(1)
    model = registry.build(toy, preset="tiny")
    from mamba_core import save_pretrained

    save_pretrained(model, tmp_path / "saved")
    code, shown = call(capsys, "export", str(tmp_path / "saved"), "-o", str(tmp_path / "m.pt2"))
    assert not code, shown.err
    x = torch.randn(4, 3)
    run = torch.export.load(tmp_path / "m.pt2").module()
    torch.testing.assert_close(run(x=x)["y"], model(x)["y"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "tiny", "-o", "m.pth"), "must end in .pt2 or .onnx"),
        (("-o", "m.pt2"), "no trained weights"),
        (("--preset", "tny", "-o", "m.pt2"), "tiny"),
    ],
)
def test_refusals(capsys, toy, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, shown = call(capsys, "export", toy, *words)
    assert code == 1
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not list(tmp_path.glob("m.*"))


def test_a_file_that_is_there_is_kept(capsys, toy, tmp_path):
    path = tmp_path / "m.pt2"
    path.write_text("mine")
    code, shown = call(capsys, "export", toy, "--preset", "tiny", "-o", str(path))
    assert code == 1
    assert "exists already" in shown.err
    assert path.read_text() == "mine"


def test_a_graph_that_says_something_else_is_not_written(toy, tmp_path):
    model = registry.build(toy, preset="tiny")
    seen = []

    def forward(x):  # what no graph can know: how often it was called
        seen.append(1)
        return {"y": x[:, :2] + 10 * len(seen)}

    model.forward = forward
    path = tmp_path / "m.pt2"
    with pytest.raises(exporting.ExportError, match=r"differs|cannot be drawn"):
        exporting.export_model(model, registry.spec(toy), path)
    assert not path.exists()


def test_a_graph_that_cannot_be_drawn_names_the_reason(toy, tmp_path):
    model = registry.build(toy, preset="tiny")

    def forward(x):
        if bool((x > 0).any()):
            return {"y": x[:, :2]}
        return {"y": x[:, 1:]}

    model.forward = forward
    with pytest.raises(exporting.ExportError, match=r"cannot be drawn: .*data-dependent"):
        exporting.export_model(model, registry.spec(toy), tmp_path / "m.pt2")
