"""The whole model against transformers' Mamba and Mamba-2: logits, greedy text, config, files."""

from __future__ import annotations

import pytest
import torch

from mamba_core import from_pretrained, registry
from mamba_kernels import ops
from mamba_language import convert_checkpoint, convert_config, load_checkpoint
from mamba_language.lm.generate import generate

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
NEW_TOKENS = 64
BACKENDS = [row["name"] for row in ops.backends() if len(row["ops"]) == 6]
"""Those that compute every op on this CPU."""

MAMBA1 = {
    "plain": {"hidden_size": 40, "num_hidden_layers": 3, "vocab_size": 61},
    "odd": {
        "hidden_size": 37,
        "num_hidden_layers": 2,
        "vocab_size": 53,
        "state_size": 7,
        "conv_kernel": 3,
        "expand": 3,
        "time_step_rank": 5,
        "use_bias": True,
        "use_conv_bias": False,
        "layer_norm_epsilon": 1e-6,
        "tie_word_embeddings": False,
    },
}
MAMBA2 = {
    "plain": {
        "hidden_size": 40,
        "num_hidden_layers": 3,
        "vocab_size": 61,
        "num_heads": 10,
        "head_dim": 8,
        "n_groups": 1,
        "state_size": 16,
        "tie_word_embeddings": True,
    },
    "groups": {
        "hidden_size": 36,
        "num_hidden_layers": 2,
        "vocab_size": 53,
        "num_heads": 12,
        "head_dim": 9,
        "expand": 3,
        "n_groups": 3,
        "state_size": 11,
        "conv_kernel": 3,
        "chunk_size": 8,
        "use_bias": True,
    },
}
CASES = [("mamba", name) for name in MAMBA1] + [("mamba2", name) for name in MAMBA2]


def _theirs(kind, name):
    """A random model of transformers; weights large enough that a wrong one cannot hide."""
    torch.manual_seed(0)
    if kind == "mamba":
        model = transformers.MambaForCausalLM(transformers.MambaConfig(**MAMBA1[name]))
    else:
        model = transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**MAMBA2[name]))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 2 and "A_log" not in key:
                # mixers louder than the residual: a tied model would repeat its input for ever
                gain = 4.0 if "out_proj" in key else 1.0
                parameter.normal_(std=gain * parameter.shape[-1] ** -0.5)
            elif "A_log" not in key and "dt" not in key:  # D, norms and biases, off their start
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def _ours(theirs):
    config = convert_config(theirs.config.to_dict(), "transformers")
    model = registry.build("language-lm", config=config)
    model.load_state_dict(convert_checkpoint(theirs.state_dict(), "transformers"))
    return model.eval()


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case), scope="module")
def pair(request):
    theirs = _theirs(*request.param)
    return theirs, _ours(theirs)


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    monkeypatch.setenv("MAMBA_KERNELS_BACKEND", request.param)
    return request.param


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 7, 65])
def test_logits_agree(pair, backend, length):
    theirs, ours = pair
    tokens = torch.randint(theirs.config.vocab_size, (2, length))
    expected = theirs(tokens).logits
    assert expected.std() > 0.5  # logits near zero would agree whatever the model does
    assert (ours(tokens)["logits"] - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_greedy_text_agrees(pair, backend):
    theirs, ours = pair
    prompt = torch.randint(theirs.config.vocab_size, (1, 5))
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, 5:]
    assert expected.unique().numel() > 3
    (text,) = generate(ours, prompt, max_tokens=NEW_TOKENS)
    assert text.tolist() == expected.tolist()


@torch.no_grad()
def test_state_continues_what_was_read(pair, backend):
    """Prefill and steps of ours against one call of theirs."""
    theirs, ours = pair
    tokens = torch.randint(theirs.config.vocab_size, (2, 13))
    expected = theirs(tokens).logits
    state = ours.init_state(2)
    first, state = ours.prefill(tokens[:, :6], state)
    rows = [first]
    for t in range(6, 13):
        logits, state = ours.step(tokens[:, t], state)
        rows.append(logits[:, None])
    assert (torch.cat(rows, 1) - expected).abs().max() <= TOLERANCE


@torch.no_grad()
def test_folders_of_transformers_load(pair, tmp_path):
    theirs, _ = pair
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_checkpoint(tmp_path / "theirs")
    tokens = torch.randint(theirs.config.vocab_size, (1, 9))
    logits = ours(tokens)["logits"]
    assert (logits - theirs(tokens).logits).abs().max() <= TOLERANCE
    ours.save_pretrained(tmp_path / "ours")
    assert torch.equal(from_pretrained(tmp_path / "ours")(tokens)["logits"], logits)


@torch.no_grad()
def test_bf16_residuals_stay_as_near_as_theirs(pair):
    """In bf16 both differ from fp32 by rounding; ours not by more than theirs, within a third."""
    theirs, ours = pair
    tokens = torch.randint(theirs.config.vocab_size, (2, 33))
    exact = ours(tokens)["logits"]
    half = _ours(theirs).bfloat16()(tokens)["logits"].float()
    kind = type(theirs)(theirs.config)
    kind.load_state_dict(theirs.state_dict())
    peer = kind.bfloat16().eval()(tokens).logits.float()
    assert (half - exact).square().mean().sqrt() < 1.33 * (peer - exact).square().mean().sqrt()


@pytest.mark.parametrize(
    ("preset", "kind", "fields"),
    [
        ("mamba_130m", "Mamba", {"hidden_size": 768, "num_hidden_layers": 24}),
        ("mamba_2_8b", "Mamba", {"hidden_size": 2560, "num_hidden_layers": 64}),
        ("mamba2_130m", "Mamba2", {"hidden_size": 768, "num_hidden_layers": 24}),
        ("mamba2_2_7b", "Mamba2", {"hidden_size": 2560, "num_hidden_layers": 64}),
    ],
)
def test_published_sizes_have_the_same_tensors(preset, kind, fields):
    if kind == "Mamba2":
        heads = fields["hidden_size"] * 2 // 64
        fields |= {"vocab_size": 50288, "n_groups": 1, "num_heads": heads}
        fields |= {"tie_word_embeddings": True}
    config = getattr(transformers, f"{kind}Config")(**fields)
    with torch.device("meta"):
        theirs = getattr(transformers, f"{kind}ForCausalLM")(config)
        ours = registry.build("language-lm", preset=preset)
    shapes = {k: v.shape for k, v in ours.state_dict().items()}
    converted = convert_checkpoint(theirs.state_dict(), "transformers")
    assert {k: v.shape for k, v in converted.items()} == shapes
