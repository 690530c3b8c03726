"""Image models as graphs for other runtimes, at another size than the traced one."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from mamba_core import registry
from mamba_core.exporting import TOLERANCE, export_model

HIERARCHY = {"kind": "vmamba", "depths": (1, 1), "width": 8, "mlp_ratio": 2.0, "stem": "small"}
has_onnx = all(importlib.util.find_spec(n) for n in ("onnx", "onnxscript", "onnxruntime"))
onnx = pytest.param(
    ".onnx", marks=pytest.mark.skipif(not has_onnx, reason="the extra [export] is not installed")
)


def exported(tmp_path, suffix=".pt2", **fields):
    model = registry.build("vision-cls", preset="tiny", **fields)
    path = tmp_path / f"model{suffix}"
    return model, path, export_model(model, registry.spec("vision-cls"), path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", onnx])
def test_the_cross_scan_takes_other_sizes_than_the_traced_one(tmp_path, suffix):
    _, _, result = exported(tmp_path, suffix, architecture=HIERARCHY)
    assert result.inputs == {"images": ["batch", 3, "height", "width"]}
    assert result.error <= TOLERANCE
    assert result.compared[1]["images"] == [5, 3, 21, 23]


@pytest.mark.slow
def test_a_column_resamples_its_positions_in_the_graph(tmp_path):
    model, path, result = exported(tmp_path)
    assert result.inputs == {"images": ["batch", 3, "height", "width"]}
    x = torch.randn(3, 3, 30, 17)
    run = torch.export.load(path).module()
    with torch.no_grad():
        torch.testing.assert_close(run(images=x)["logits"], model(x)["logits"])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", onnx])
def test_an_order_from_a_table_fixes_the_size_and_says_so(tmp_path, suffix):
    _, _, result = exported(tmp_path, suffix, scan_order="hilbert")
    assert result.inputs == {"images": ["batch", 3, 16, 16]}
    assert result.fixed
    assert result.error <= TOLERANCE


@pytest.mark.slow
def test_masks(tmp_path):
    model = registry.build("vision-seg", preset="tiny")
    result = export_model(model, registry.spec("vision-seg"), tmp_path / "m.pt2")
    assert result.inputs == {"images": ["batch", 3, "height", "width"]}, result.fixed
    assert result.outputs == ("logits",)
