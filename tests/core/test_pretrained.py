"""Saved models: what comes back, what is refused, what a failure leaves behind."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import mamba_core
from mamba_core import pretrained, registry
from mamba_core.config import STRICT
from mamba_core.pretrained import SavePretrained, from_pretrained, load_weights, save_pretrained
from mamba_registry import TaskSpec
from mamba_registry.errors import ConfigError, TaskNotFoundError, WeightsError


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    width: int = 3
    scan_order: str = "raster"


class Model(SavePretrained, nn.Module):
    """Two tied layers, a saved buffer, dropout."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first = nn.Linear(config.width, config.width)
        self.second = nn.Linear(config.width, config.width)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout()
        self.register_buffer("count", torch.tensor(7))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.dropout(self.second(self.first(x)))}


def example(config: Config, *, batch_size: int, generator: Any, device: Any) -> dict[str, Tensor]:
    return {"x": torch.zeros(batch_size, config.width)}


def spec(**changes: Any) -> TaskSpec:
    fields: dict[str, Any] = {
        "id": "acme/toy-tied",
        "domain": "toy",
        "summary": "tied",
        "config": Config,
        "builder": Model,
        "example": example,
        "preset_fields": "acme_tied_presets:PRESETS",
    }
    return TaskSpec(**(fields | changes))


@pytest.fixture(autouse=True)
def _task(tmp_path, monkeypatch):
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "acme_tied_presets.py").write_text("PRESETS = {'tiny': {}}\n")
    monkeypatch.syspath_prepend(folder)
    with registry.isolated(spec()):
        yield


@pytest.fixture
def model():
    return registry.build("acme/toy-tied", width=4)


@pytest.fixture
def saved(model, tmp_path) -> Path:
    return save_pretrained(model, tmp_path / "models" / "m", metrics={"score": 1.5})


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_comes_back_bit_for_bit_in_eval_mode(model, saved):
    again = from_pretrained(saved)
    assert not any(module.training for module in again.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert again.first.weight is again.second.weight
    assert again.task.config == model.task.config
    assert registry.build("acme/toy-tied", weights=saved).task.weights == str(saved)


def test_config_json_names_a_task_and_no_code(saved):
    described = json.loads((saved / "config.json").read_text())
    assert described["format"] == 1
    assert described["task"] == "acme/toy-tied@1"
    assert described["config"] == {"width": 4, "scan_order": "raster"}
    assert described["scan_orders"] == ["raster"]
    assert described["metrics"] == {"score": 1.5}
    assert set(described["plugin"]) == {"name", "distribution", "version"}
    assert __name__ not in json.dumps(described)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["m"]


def test_dtype_is_the_file_s_or_the_one_asked_for(model, tmp_path):
    folder = model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    again = from_pretrained(folder)
    assert again.first.weight.dtype == torch.bfloat16
    assert torch.equal(again.first.weight, model.first.weight)
    assert again.first.weight is again.second.weight
    assert from_pretrained(folder, dtype=torch.float64).first.weight.dtype == torch.float64


def test_an_earlier_model_is_replaced(model, saved):
    model.first.bias.data.fill_(9)
    save_pretrained(model, saved)
    assert from_pretrained(saved).first.bias.tolist() == [9] * 4


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_a_foreign_folder_is_not_replaced(model, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("{}")
    with pytest.raises(FileExistsError, match="not a saved model"):
        save_pretrained(model, folder)
    assert (folder / name).read_text() == "{}"


def test_a_model_with_the_user_s_files_beside_it_is_not_replaced(model, saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"also holds notes\.txt"):
        save_pretrained(model, saved)


def test_a_file_is_not_replaced(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not a saved model"):
        save_pretrained(model, tmp_path / "file")


def test_a_model_without_a_task(tmp_path):
    with pytest.raises(WeightsError, match=r"registry\.build"):
        save_pretrained(nn.Linear(1, 1), tmp_path / "m")


def test_full_disk_leaves_the_old_model_and_nothing_else(model, saved, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}

    def full(model, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretrained, "save_model", full)
    for target in (saved, saved.with_name("other")):
        with pytest.raises(OSError, match="No space left"):
            save_pretrained(model, target)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert [p.name for p in saved.parent.iterdir()] == ["m"]


FULL = """
import resource, signal, sys
import torch
from mamba_core import registry, save_pretrained
model = registry.build("audio-sep", preset="tiny")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_pretrained(model, sys.argv[1])
except OSError as error:
    print("OSError", error)
"""


def test_a_limit_of_the_system_is_met_the_same_way(tmp_path):
    pytest.importorskip("mamba_audio", reason="needs a model of more than 4 kB")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a" / "m")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("OSError"), done.stderr
    assert list((tmp_path / "a").iterdir()) == []


def test_no_saved_model(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        from_pretrained(tmp_path / "nowhere")


def test_newer_format(saved):
    edit(saved, format=2)
    with pytest.raises(WeightsError, match=r"format 2.*--upgrade mamba-core"):
        from_pretrained(saved)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": true}', '{"format": 1}'])
def test_broken_config(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        from_pretrained(saved)


@pytest.mark.parametrize("name", ["../m/model.safetensors", "/etc/passwd", "..", "a\\b", ""])
def test_weights_outside_the_folder(saved, name):
    edit(saved, weights=name)
    with pytest.raises(WeightsError, match="plain name"):
        from_pretrained(saved)


def test_no_pickle(saved):
    torch.save({}, saved / "model.bin")
    edit(saved, weights="model.bin")
    with pytest.raises(WeightsError, match="only safetensors"):
        from_pretrained(saved)


@pytest.mark.parametrize("keep", [0, 5, 100, -10])
def test_damaged_weights(saved, keep):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="damaged or no safetensors"):
        from_pretrained(saved)


def test_unknown_config_field(saved):
    edit(saved, config={"widht": 4})
    with pytest.raises(ConfigError, match=r"config\.json: Config has no field 'widht'.*width"):
        from_pretrained(saved)


def test_missing_plugin_is_named_with_its_version(saved):
    edit(saved, plugin={"name": "toy", "distribution": "acme-toy", "version": "1.2"})
    with (
        registry.isolated(),
        pytest.raises(TaskNotFoundError, match=r"saved with acme-toy 1\.2.*'acme-toy==1\.2'"),
    ):
        from_pretrained(saved)


def test_another_version_of_the_task(saved):
    edit(saved, plugin={"name": "toy", "distribution": "acme-toy", "version": "1.2"})
    with (
        registry.isolated(spec(version=2)),
        pytest.raises(WeightsError, match=r"toy-tied@2' is installed.*'acme-toy==1\.2'"),
    ):
        from_pretrained(saved)


def test_another_version_of_the_plugin_is_fine(saved):
    edit(saved, plugin={"name": "toy", "distribution": "acme-toy", "version": "0.0.1"})
    from_pretrained(saved)


def test_tensors_that_do_not_fit(saved, model, tmp_path):
    edit(saved, config={"width": 5})
    with pytest.raises(WeightsError, match="size mismatch"):
        from_pretrained(saved)
    model.first.bias = None
    other = save_pretrained(model, tmp_path / "other")
    with pytest.raises(WeightsError, match=r"1 missing \(first\.bias\)"):
        from_pretrained(other)
    with pytest.warns(UserWarning, match=r"first\.bias"):
        from_pretrained(other, strict=False)


def test_foreign_pickle_only_through_a_converter(model, tmp_path):
    other = registry.build("acme/toy-tied", width=4)
    path = tmp_path / "foreign.pth"
    torch.save({f"net.{n}": v for n, v in other.state_dict().items()}, path)
    load_weights(model, path, convert=lambda s: {n.removeprefix("net."): v for n, v in s.items()})
    assert torch.equal(model.first.bias, other.first.bias)


def test_the_record_is_not_shared_between_loads(saved):
    first, second = from_pretrained(saved), from_pretrained(saved)
    first.task = dataclasses.replace(first.task, weights="x")
    assert second.task.weights == str(saved)


@pytest.mark.parametrize("asked", ["evaluate", "predict", "export"])
def test_weights_named_beside_a_folder_are_refused(asked, saved):
    call = getattr(mamba_core, asked)
    more = {"evaluate": (), "predict": ([], saved / "out"), "export": (saved / "m.pt2",)}[asked]
    with pytest.raises(WeightsError, match=r"weights = 'other', but .* brings its own: leave"):
        call(saved, *more, weights="other")
