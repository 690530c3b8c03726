"""Checkpoints in mamba_ssm's names: every tensor has its place, and nothing is dropped."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from mamba_core import registry
from mamba_language import convert_checkpoint, convert_config, load_checkpoint
from mamba_language.lm.convert import from_mamba_ssm, from_transformers

CONFIG = {
    "d_model": 32,
    "n_layer": 2,
    "vocab_size": 50,
    "ssm_cfg": {"layer": "Mamba2", "d_state": 8, "headdim": 16},
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
    "pad_vocab_size_multiple": 16,
    "tie_embeddings": True,
}


def _foreign(model, mlp=False):
    """A model's tensors under mamba_ssm's names, written down by hand."""
    state = model.state_dict()
    found = {
        "backbone.embedding.weight": state["embedding.weight"],
        "backbone.norm_f.weight": state["backbone.norm.weight"],
        "lm_head.weight": state["lm_head.weight"],
    }
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[:2] != ["backbone", "blocks"]:
            continue
        block, rest = int(parts[2]), ".".join(parts[3:])
        layer, second = divmod(block, 2) if mlp else (block, 0)
        rest = rest.replace("layers.0", "mlp" if second else "mixer")
        rest = rest.replace("norm.weight", "norm2.weight") if second else rest
        found[f"backbone.layers.{layer}.{rest}"] = tensor
    return found


def _built(**changes):
    config = convert_config({**CONFIG, **changes}, "mamba_ssm")
    torch.manual_seed(1)
    return registry.build("language-lm", config=config).eval()


@pytest.mark.parametrize("changes", [{}, {"ssm_cfg": {}}, {"d_intermediate": 24}], ids=str)
def test_reference_names_find_their_places(changes):
    model, other = _built(**changes), _built(**changes)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    foreign = _foreign(other, mlp="d_intermediate" in changes)
    model.load_state_dict(from_mamba_ssm(foreign))
    for name, value in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_config_becomes_ours():
    config = convert_config(CONFIG, "mamba_ssm")
    assert (config.vocab_size, config.eos) == (64, 0)  # 50 padded to a multiple of 16
    assert config.mixer.plain() == {"name": "mamba2", "d_state": 8, "headdim": 16}
    published = {"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {}}
    for preset, extra in (
        ("mamba_130m", {"pad_vocab_size_multiple": 8}),
        ("mamba2_130m", {"pad_vocab_size_multiple": 16, "ssm_cfg": {"layer": "Mamba2"}}),
    ):
        theirs = convert_config({**published, **extra}, "mamba_ssm")
        ours = registry.config("language-lm", preset=preset)
        if preset == "mamba_130m":
            assert theirs == ours
        else:
            assert theirs == ours


def test_a_tied_head_may_be_left_out():
    model = _built()
    foreign = _foreign(model)
    del foreign["lm_head.weight"]
    model.load_state_dict(convert_checkpoint(foreign, "mamba_ssm"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("backbone.embedding.weight"),
            "missing (embedding.weight, lm_head.weight)",
        ),
        (lambda s: s.pop("backbone.norm_f.weight"), "missing (backbone.norm.weight)"),
        (lambda s: s.pop("backbone.layers.0.norm.weight"), "blocks.0.norm.weight"),
        (lambda s: s.update({"backbone.layers.0.attn.weight": torch.ones(1)}), "1 not known"),
        (lambda s: s.update({"extra": torch.ones(1)}), "not known (extra)"),
    ],
)
def test_nothing_is_dropped_or_made_up(change, message):
    foreign = _foreign(_built())
    if message.startswith("missing (embedding"):
        foreign.pop("lm_head.weight")
    change(foreign)
    with pytest.raises(registry.WeightsError) as error:
        convert_checkpoint(foreign, "mamba_ssm")
    assert message in str(error.value)


def test_one_source_is_not_the_other():
    foreign = _foreign(_built())
    with pytest.raises(registry.WeightsError, match=r"not known \(backbone\.embedding\.weight\)"):
        from_transformers(foreign)
    with pytest.raises(registry.WeightsError, match="source = 'mamba'"):
        convert_checkpoint(foreign, "mamba")


@pytest.mark.parametrize("kind", ["safetensors", "bin", "shards"])
def test_folders_load(kind, tmp_path):
    model = _built()
    foreign = {name: tensor.clone() for name, tensor in _foreign(model).items()}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    if kind == "safetensors":
        save_file(foreign, tmp_path / "model.safetensors")
    elif kind == "bin":
        torch.save(foreign, tmp_path / "pytorch_model.bin")
    else:
        names = sorted(foreign)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, some in halves.items():
            save_file({name: foreign[name] for name in some}, tmp_path / file)
        index = {"weight_map": {name: file for file, some in halves.items() for name in some}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = load_checkpoint(tmp_path)
    assert not loaded.training
    assert loaded.task.id == "language-lm"
    tokens = torch.randint(64, (1, 9))
    with torch.no_grad():
        assert torch.equal(loaded(tokens)["logits"], model(tokens)["logits"])


def test_folders_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(registry.WeightsError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(registry.WeightsError, match=r"holds none of .*pytorch_model\.bin"):
        load_checkpoint(tmp_path)
    wide = {name: tensor.clone() for name, tensor in _foreign(_built(d_model=48)).items()}
    save_file(wide, tmp_path / "model.safetensors")
    with pytest.raises(registry.WeightsError, match=r"does not fit its config\.json"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("config", "source", "message"),
    [
        ({**CONFIG, "attn_layer_idx": [1]}, "mamba_ssm", "attn_layer_idx"),
        ({"model_type": "llama"}, "transformers", "model_type = 'llama'"),
        ({"model_type": "mamba", "hidden_act": "gelu"}, "transformers", "hidden_act = 'gelu'"),
        ({"model_type": "mamba"}, "transformers", "lacks 'vocab_size'"),
        (
            {
                "model_type": "mamba2",
                "vocab_size": 9,
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "layer_norm_epsilon": 1e-6,
            },
            "transformers",
            "layer_norm_epsilon = 1e-06",
        ),
    ],
)
def test_what_is_not_built_is_named(config, source, message):
    with pytest.raises(registry.ConfigError, match=message):
        convert_config(config, source)
