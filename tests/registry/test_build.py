"""From an id to a model: fresh, trained, on a device, ready to use."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import mamba_core
from mamba_core import registry
from mamba_registry import TaskRecord
from mamba_registry.errors import (
    ConfigError,
    DependencyMissingError,
    PluginLoadError,
    TaskNotFoundError,
    TaskSpecError,
    WeightsError,
)

WEIGHTS = (
    "weights=[__import__('mamba_registry').WeightsSpec(name={name!r}, preset='tiny', "
    "resource='acme_data:w.safetensors', sha256={sha!r}, licence='none')],"
)


@pytest.fixture
def trained(task, tmp_path):
    """A task with the weights 'best' of the preset tiny in a package; returns its id."""
    name = task()
    state = registry.build(name, preset="tiny").state_dict()
    folder = tmp_path / "site" / "acme_data"
    folder.mkdir()
    (folder / "__init__.py").touch()
    save_file({key: value.fill_(0.5) for key, value in state.items()}, folder / "w.safetensors")
    sha = hashlib.sha256((folder / "w.safetensors").read_bytes()).hexdigest()
    (tmp_path / "site" / "acme_toy.py").unlink()
    sys.modules.pop("acme_toy")
    return task("acme/trained-cls", "trained", more=WEIGHTS.format(name="best", sha=sha))


def test_a_fresh_model(task):
    name = task()
    model = registry.build(name, sources=3)
    assert model.training
    assert model.layer.weight.shape == (3, 8)
    assert model.task == TaskRecord(
        id=name,
        version=1,
        plugin="toy",
        distribution="acme-toy",
        plugin_version="1.0",
        config=registry.config(name, sources=3),
        preset="base",
    )
    assert model.task.full_id == "acme/toy-cls@1"


def test_a_whole_config_stands_alone(task):
    name = task()
    config = registry.config(name, preset="tiny")
    model = registry.build(f"{name}@1", config=config)
    assert model.task.config is config
    assert model.task.preset is None
    for more in ({"preset": "tiny"}, {"sources": 3}):
        with pytest.raises(ConfigError, match="config is complete: give it alone"):
            registry.build(name, config=config, **more)
    with pytest.raises(ConfigError, match="config is a dict; task 'acme/toy-cls@1' takes Config"):
        registry.build(name, config={"sources": 3})


def test_examples_are_equal_for_equal_seeds(task):
    name = task()
    first, again = registry.example(name), registry.example(name)
    assert first["x"].shape == (2, 4)
    assert torch.equal(first["x"], again["x"])
    other = registry.example(name, preset="base", batch_size=3, seed=1, encoder={"dim": 5})
    assert other["x"].shape == (3, 5)


def test_named_weights(trained):
    for words in ({"pretrained": True}, {"weights": "default"}, {"weights": "best"}):
        model = registry.build(trained, **words)
        assert not model.training
        assert model.layer.weight.unique().tolist() == [0.5]
        assert model.layer.weight.shape == (2, 4)  # the preset follows the weights
        assert (model.task.preset, model.task.weights) == ("tiny", "best")
    assert registry.build(trained, weights="best", sources=2)  # says nothing new


def test_weights_and_what_contradicts_them(trained):
    with pytest.raises(ConfigError, match="pretrained=True is weights='default'"):
        registry.build(trained, pretrained=True, weights="best")
    with pytest.raises(ConfigError, match="are for the preset 'tiny', not 'base'"):
        registry.build(trained, pretrained=True, preset="base")
    with pytest.raises(ConfigError, match="were trained with other values of sources"):
        registry.build(trained, pretrained=True, sources=3)
    with pytest.raises(WeightsError, match=r"no weights 'bst'\. Did you mean 'best'\?"):
        registry.build(trained, weights="bst")


def test_a_file_of_the_weights_name_is_not_taken_for_them(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best").mkdir()
    (tmp_path / "default").mkdir()
    assert registry.build(trained, weights="best").task.weights == "best"
    assert registry.build(trained, pretrained=True).task.weights == "best"


def test_a_task_without_weights(task):
    name = task()
    with pytest.raises(WeightsError) as caught:
        registry.build(name, pretrained=True)
    assert "ships no trained weights: train it (`mamba-core train acme/toy-cls --out DIR`)" in str(
        caught.value
    )
    with pytest.raises(
        WeightsError, match=r"There is no folder or file 'runs/a'\. Task .* ships no"
    ):
        registry.build(name, weights="runs/a")


def test_a_folder_brings_its_config(task, tmp_path):
    name = task()
    folder = mamba_core.save_pretrained(registry.build(name, sources=3), tmp_path / "m")
    for weights in (folder, str(folder)):
        model = registry.build(name, weights=weights)
        assert model.layer.weight.shape == (3, 8)
        assert model.task.weights == str(folder)
    with pytest.raises(ConfigError, match="brings its own config: leave preset, config and fields"):
        registry.build(name, weights=folder, sources=3)
    other = task("acme/toy-seg", "seg")
    with pytest.raises(ConfigError, match="holds a model of 'acme/toy-cls@1', not 'acme/toy-seg@1"):
        registry.build(other, weights=folder)
    newer = task(name, "newer", version=2)
    assert registry.build(newer, weights=folder).task.version == 1
    with pytest.raises(ConfigError, match="holds a model of 'acme/toy-cls@1', not 'acme/toy-cls@2"):
        registry.build(f"{newer}@2", weights=folder)
    with pytest.raises(WeightsError, match=r"nowhere is no saved model"):
        registry.build(name, weights=tmp_path / "nowhere")


def test_a_file_holds_tensors_only(task, tmp_path):
    name = task()
    folder = mamba_core.save_pretrained(registry.build(name, sources=3), tmp_path / "m")
    model = registry.build(name, weights=folder / "model.safetensors", sources=3)
    assert not model.training
    assert model.task.weights == str(folder / "model.safetensors")
    with pytest.raises(WeightsError, match="does not fit Model") as caught:
        registry.build(name, weights=folder / "model.safetensors")
    assert "\n" not in str(caught.value)


def test_predictor(trained):
    ready = registry.predictor(trained, chunk=2.5, device="cpu")
    assert ready.config.chunk == 2.5
    assert ready.device == torch.device("cpu")
    assert ready.spec.id == trained
    assert not ready.model.training
    assert ready.model.task.weights == "best"
    with pytest.raises(ConfigError, match=r"Predict has no field 'chnk'\. Did you mean 'chunk'"):
        registry.predictor(trained, chnk=2.5)


def test_predictor_without_training_is_asked_for(task):
    name = task()
    with pytest.raises(WeightsError, match=r"output is noise: .* pass allow_untrained=True"):
        registry.predictor(name, weights=None)
    ready = registry.predictor(name, weights=None, allow_untrained=True, preset="tiny")
    assert ready.model.task.config.encoder.dim == 4
    assert not ready.model.training


def test_a_task_that_predicts_nothing(spec, task):
    task()
    registry.register(spec(id="acme/toy-mute"))
    with pytest.raises(ConfigError, match="has no predictor"):
        registry.predictor("acme/toy-mute", weights=None, allow_untrained=True)
    with pytest.raises(ConfigError, match="has no predict_config, but fields were given"):
        registry.predictor("acme/toy-mute", weights=None, allow_untrained=True, chunk=3)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is here")
def test_a_device_that_is_not_here(trained, tmp_path):
    folder = mamba_core.save_pretrained(registry.build(trained, pretrained=True), tmp_path / "m")
    for call in (
        lambda: registry.predictor(trained, device="cuda"),
        lambda: registry.example(trained, device="cuda"),
        lambda: mamba_core.from_pretrained(folder, device="cuda"),
    ):
        with pytest.raises(ConfigError, match=r"device 'cuda': .* finds no such device; here: cpu"):
            call()


def test_a_missing_library(task):
    name = task(more="requires=('torch', 'does_not_exist.deeper')")
    assert registry.spec(name)  # listing needs nothing
    for call in (registry.build, registry.config):
        with pytest.raises(DependencyMissingError) as caught:
            call(name)
    assert str(caught.value) == (
        "Task 'acme/toy-cls@1' needs does_not_exist, which is not installed: "
        f"{sys.executable} -m pip install does_not_exist"
    )


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("RuntimeError('operator torchvision::nms does not exist')", "does not match this torch"),
        ("OSError('libcudart.so.13: cannot open shared object file')", "was built for CUDA"),
        ("ImportError('')", "cannot import acme_library: ImportError"),
    ],
)
def test_a_broken_library(task, add_module, text, meaning):
    add_module("acme_library", f"raise {text}\n")
    name = task(more="requires=('acme_library',)")
    with pytest.raises(DependencyMissingError, match="'acme/toy-cls@1' cannot import acme_library"):
        registry.build(name)
    with pytest.raises(DependencyMissingError, match=meaning) as caught:
        registry.build(name)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("source", "error", "cause"),
    [
        ("def f(:\n", PluginLoadError, "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(2)\n", PluginLoadError, "SystemExit: 2"),
        ("1 / 0\n", PluginLoadError, "ZeroDivisionError: division by zero"),
        ("import does_not_exist\n", DependencyMissingError, "No module named 'does_not_exist'"),
        ("Config = 1\n", PluginLoadError, "acme_parts has no attribute 'PRESETS'"),
    ],
)
def test_a_broken_heavy_part(task, add_module, source, error, cause):
    name = task()
    add_module("acme_parts", source)
    with pytest.raises(error) as caught:
        registry.build(name)
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("source", "error", "cause"),
    [
        ("import does_not_exist\n", DependencyMissingError, "No module named 'does_not_exist'"),
        ("import sys; sys.exit(2)\n", PluginLoadError, "SystemExit: 2"),
    ],
)
def test_a_broken_mixer_and_order(add_module, source, error, cause):
    from mamba_core import mixers, scan_orders
    from mamba_registry import MixerSpec, ScanOrderSpec

    add_module("acme_torn", source)
    registry.register(MixerSpec(name="torn", build="acme_torn:Mixer"))
    registry.register(ScanOrderSpec(name="torn", dims=1, order="acme_torn:order"))
    for call in (lambda: mixers.build_mixer("torn", 4), lambda: scan_orders.get("torn")):
        with pytest.raises(error) as caught:
            call()
        assert "mamba-core cannot import acme_torn:" in str(caught.value)
        assert cause in str(caught.value)


def test_a_builder_that_builds_nothing(spec, task):
    task()
    registry.register(spec(id="acme/toy-none", builder=lambda config: None))
    with pytest.raises(TaskSpecError, match=r"returned None: expected a torch\.nn\.Module"):
        registry.build("acme/toy-none")


def test_listing(task):
    task("acme/toy-b", "b")
    task("acme/toy-a", "a")
    found = registry.list("toy")
    assert isinstance(found, tuple)
    assert [spec.id for spec in found] == ["acme/toy-a", "acme/toy-b"]
    lines = repr(found).splitlines()
    assert lines[0].split() == ["task", "domain", "summary", "presets"]
    assert lines[1].split() == ["acme/toy-a@1", "toy", "a", "toy", "2"]
    assert "tiny, base" in repr(registry.list("toy", verbose=True))
    assert len(registry.list("nothing")) == 0
    assert repr(registry.list("nothing")).startswith("No task of domain 'nothing' is installed.")


def test_no_such_task(task):
    task()
    for call in (registry.build, registry.config, registry.spec, registry.example):
        with pytest.raises(TaskNotFoundError, match="Did you mean 'acme/toy-cls'"):
            call("acme/toy-cl")


LOOK = """
import sys
from mamba_core import registry
print([spec.summary for spec in registry.list()], registry.plugins(), registry.mixers())
print(registry.scan_order_spec("raster"))
heavy = {"torch", "numpy", "pydantic", "lightning", "triton", "mamba_kernels"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_looking_up_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
