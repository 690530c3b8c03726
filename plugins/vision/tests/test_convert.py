"""Published checkpoints: complete by their key lists, and the official forward pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import mamba_vision
from mamba_core import registry
from mamba_core.registry import WeightsError
from mamba_vision.classification.config import ClassifierConfig
from mamba_vision.classification.model import ImageClassifier

VIM = ("vim_tiny", "vim_small", "vim_tiny_stride8", "vim_base")
VMAMBA = {
    "vanilla_vmamba_tiny": "vmamba_vanilla_tiny",
    "vanilla_vmamba_small": "vmamba_vanilla_small",
    "vanilla_vmamba_base": "vmamba_vanilla_base",
    "vmamba_tiny_s2l5": "vmamba_tiny_s2l5",
    "vmamba_small_s2l15": "vmamba_small",
    "vmamba_base_s2l15": "vmamba_base",
    "vmamba_tiny_s1l8": "vmamba_tiny",
    "vmamba_small_s1l20": "vmamba_small_s1l20",
    "vmamba_base_s1l20": "vmamba_base_s1l20",
}
VARIANTS = [("vim", v, v) for v in VIM] + [("vmamba", v, p) for v, p in VMAMBA.items()]


def official(shared, family, variant):
    """An empty checkpoint with the keys and shapes of the official constructor."""
    keys = json.loads((shared / "golden" / f"{family}_keys.json").read_text())[variant]
    return {name: torch.empty(shape, device="meta") for name, shape in keys.items()}


@pytest.mark.parametrize(("family", "variant", "preset"), VARIANTS)
def test_every_key_of_the_official_model_is_taken(shared, family, variant, preset):
    """convert_checkpoint itself refuses what is missing, not known or of another shape."""
    converted = mamba_vision.convert_checkpoint(official(shared, family, variant), preset)
    with torch.device("meta"):
        model = registry.build("vision-cls", preset=preset)
    assert converted.keys() == model.state_dict().keys()


def test_golden_forward_of_vim(shared):
    golden = np.load(shared / "golden" / "golden_vim_small.npz")
    config = ClassifierConfig(
        image_size=(32, 32),
        num_classes=10,
        architecture={
            "kind": "vim",
            "patch_size": 4,
            "d_model": 32,
            "depth": 3,
            "mixing": {"mixer": {"name": "mamba1", "d_state": 8}},
        },
    )
    state = {
        name.removeprefix("w/"): torch.from_numpy(golden[name])
        for name in golden.files
        if name.startswith("w/")
    }
    model = ImageClassifier(config).eval()
    model.load_state_dict(mamba_vision.convert_checkpoint(state, config))
    images = torch.from_numpy(golden["x"])
    with torch.no_grad():
        features = model.backbone(images)
        logits = model(images)["logits"]
    np.testing.assert_allclose(features.numpy(), golden["cls_features"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(logits.numpy(), golden["logits"], atol=1e-5, rtol=1e-5)


def test_old_names_and_whole_files_are_read(shared):
    """VMamba's first checkpoints: other names, 1x1 convolutions, two sets of weights."""
    new = official(shared, "vmamba", "vanilla_vmamba_tiny")
    old = {}
    for name, tensor in new.items():
        name = name.replace("patch_embed.0.", "patch_embed.proj.")
        name = name.replace("patch_embed.2.", "patch_embed.norm.")
        name = name.replace("op.", "self_attention.").replace("classifier.", "")
        if "blocks" in name and ".norm." in name:
            name = name.replace(".norm.", ".ln_1.")
        shaped = tensor[..., None, None] if name.endswith("_proj.weight") else tensor
        old[name] = shaped
    file = {"model": {}, "model_ema": old, "epoch": 3}
    converted = mamba_vision.convert_checkpoint(file, "vmamba_vanilla_tiny", ema=True)
    expected = mamba_vision.convert_checkpoint(new, "vmamba_vanilla_tiny")
    assert converted.keys() == expected.keys()


def test_a_checkpoint_of_another_model_is_refused_with_keys(shared):
    state = official(shared, "vim", "vim_tiny")
    with pytest.raises(WeightsError, match=r"another shape \(backbone.class_token"):
        mamba_vision.convert_checkpoint(state, "vim_small")
    with pytest.raises(WeightsError, match=r"missing .*not known"):
        mamba_vision.convert_checkpoint(state, "vmamba_tiny")
    with pytest.raises(WeightsError, match="vim and vmamba are known"):
        mamba_vision.convert_checkpoint(state, "resnet20")
    state["surplus"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"1 not known \(surplus\)"):
        mamba_vision.convert_checkpoint(state, "vim_tiny")


def test_another_number_of_classes_is_refused(shared):
    state = official(shared, "vim", "vim_tiny")
    config = registry.config("vision-cls", preset="vim_tiny", num_classes=10)
    with pytest.raises(WeightsError, match="1000 classes"):
        mamba_vision.convert_checkpoint(state, config)


def test_keys_are_named_even_where_the_classes_differ_too():
    """Another model of ten classes is not a Vim of ten classes."""
    state = registry.build("vision-cls", preset="cifar_250k").state_dict()
    with pytest.raises(WeightsError, match=r"missing \(backbone.*not known \(backbone"):
        mamba_vision.convert_checkpoint(state, "vim_tiny")


def test_a_file_without_averaged_weights_says_what_it_has():
    with pytest.raises(WeightsError, match="no 'model_ema': it holds model"):
        mamba_vision.convert_checkpoint({"model": {}}, "vim_tiny", ema=True)


def test_records_of_official_weights():
    """Six addresses, each with a converter; no hash is known, and none is made up."""
    weights = registry.spec("vision-cls").weights
    official = [w for w in weights if w.name.endswith("-imagenet")]
    assert len(official) == 6
    for record in official:
        assert record.sha256 is None
        assert record.url.startswith("https://")
        assert callable(registry.resolve(record.converter))


def test_offline_the_address_and_the_way_out_are_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MAMBA_OFFLINE", "1")
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"unset MAMBA_OFFLINE, or put the file of https://git"):
        registry.build("vision-cls", weights="vmamba_tiny-imagenet")


@pytest.mark.parametrize(("name", "family", "variant"), [("vim_tiny", "vim", "vim_tiny")])
def test_one_line_builds_what_the_file_holds(shared, monkeypatch, tmp_path, name, family, variant):
    """A file with the official keys, put into the cache by hand: converted and loaded."""
    from mamba_registry.weights import cached_path

    monkeypatch.setenv("MAMBA_OFFLINE", "1")
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path))
    state = {k: torch.randn(t.shape) for k, t in official(shared, family, variant).items()}
    averaged = {k: t + 1 for k, t in state.items()}
    (record,) = (w for w in registry.spec("vision-cls").weights if w.name == f"{name}-imagenet")
    path = cached_path(record)
    path.parent.mkdir(parents=True)
    torch.save({"model": state, "model_ema": averaged, "epoch": 3}, path)
    model = registry.build("vision-cls", weights=record.name)
    assert torch.equal(model.head.weight, averaged["head.weight"])
    assert not model.training
    assert model.task.preset == name


def test_a_file_that_could_run_code_is_not_read(monkeypatch, tmp_path):
    """Checkpoints of trainings often hold their arguments too."""
    import argparse

    from mamba_core.pretrained import load_weights

    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="could run code"):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "a.pth", convert=lambda state: state)
