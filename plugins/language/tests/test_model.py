"""The language model: published sizes, documents in one row, streaming, what it refuses."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry
from mamba_core.mixers import Attention
from mamba_core.testing import parametrize_task_checks

EXACT = {"rtol": 1e-9, "atol": 1e-10}
"""For float64: another cut of a sequence is another order of sums, no more."""

MIXERS = {
    "mamba1": {"mixer": "mamba1"},
    "mamba2": {"mixer": {"name": "mamba2", "d_state": 16, "headdim": 16, "ngroups": 2}},
    "hybrid": {"pattern": "M-*", "mixer": "mamba2", "attention": {"name": "attention"}},
}


@parametrize_task_checks("language-lm")
def test_conformance(check):
    check()


def _model(**fields):
    return registry.build("language-lm", preset="tiny", **fields).double().eval()


@pytest.fixture(params=MIXERS, scope="module")
def model(request):
    torch.manual_seed(0)
    return _model(**MIXERS[request.param])


def _mamba1(d, layers):
    """Parameters of mamba_ssm's Mamba-1 model, counted from its table of tensors."""
    e, n, rank = 2 * d, 16, d // 16
    projections = 2 * e * d + e * (rank + 2 * n) + rank * e + e * d
    return layers * (projections + 5 * e + e + e * n + e + d) + 50280 * d + d


def _mamba2(d, layers):
    """The same for Mamba-2: one group, state 128, heads of 64."""
    e, n, heads = 2 * d, 128, 2 * d // 64
    projections = d * (2 * e + 2 * n + heads) + e * d
    return layers * (projections + 5 * (e + 2 * n) + 3 * heads + e + d) + 50288 * d + d


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("mamba_130m", 129_135_360),
        ("mamba_370m", 371_516_416),
        ("mamba_790m", 793_204_224),
        ("mamba_1_4b", 1_372_178_432),
        ("mamba_2_8b", 2_768_345_600),
        ("mamba2_130m", 128_989_632),
        ("mamba2_370m", 368_346_624),
        ("mamba2_780m", 780_161_280),
        ("mamba2_1_3b", 1_343_757_312),
        ("mamba2_2_7b", 2_702_599_680),
    ],
)
def test_parameter_counts(preset, parameters):
    config = registry.config("language-lm", preset=preset)
    formula = _mamba1 if preset.startswith("mamba_") else _mamba2
    assert formula(config.d_model, config.n_layer) == parameters
    with torch.device("meta"):
        model = registry.build("language-lm", preset=preset)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_head_and_embedding_are_one_until_told_otherwise():
    tied, free = _model(), _model(tie_embeddings=False)
    assert tied.lm_head.weight is tied.embedding.weight
    more = sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters())
    assert more == tied.embedding.weight.numel()


def test_initial_weights_follow_the_reference_package():
    model = registry.build("language-lm", preset="tiny", n_layer=9)
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    out = model.backbone.blocks[0].layers[0].out_proj.weight
    bound = (1 / out.shape[1]) ** 0.5 / 3  # kaiming_uniform(a=sqrt 5), over sqrt(9 layers)
    assert out.abs().max().item() == pytest.approx(bound, rel=0.02)


@torch.no_grad()
def test_documents_in_a_row_do_not_see_each_other(model):
    tokens = torch.randint(257, (2, 31))
    starts = torch.zeros(2, 31, dtype=torch.bool)
    starts[0, [7, 8, 20]] = True
    together = model(tokens, starts)["logits"]
    for row, cuts in ((0, [0, 7, 8, 20, 31]), (1, [0, 31])):
        for a, b in pairwise(cuts):
            alone = model(tokens[row : row + 1, a:b])["logits"][0]
            torch.testing.assert_close(together[row, a:b], alone, **EXACT)


def test_documents_in_a_row_learn_as_if_alone():
    model = _model()
    tokens = torch.randint(257, (1, 20))
    starts = torch.zeros(1, 20, dtype=torch.bool)
    starts[0, 9] = True

    def gradient(*pieces):
        model.zero_grad()
        sum(logits.square().sum() for logits in pieces).backward()
        return [p.grad.clone() for p in model.parameters()]

    packed = gradient(model(tokens, starts)["logits"])
    alone = gradient(model(tokens[:, :9])["logits"], model(tokens[:, 9:])["logits"])
    for one, other in zip(packed, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@torch.no_grad()
def test_cu_seqlens_says_the_same_as_starts(model):
    tokens = torch.randint(257, (1, 17))
    starts = torch.zeros(1, 17, dtype=torch.bool)
    starts[0, 5] = True
    packed = model(tokens, cu_seqlens=torch.tensor([0, 5, 17]))["logits"]
    torch.testing.assert_close(packed, model(tokens, starts)["logits"], **EXACT)


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, 23), min_size=1, max_size=4), steps=st.integers(0, 5))
@torch.no_grad()
def test_any_cut_of_a_text_gives_the_same(model, cuts, steps):
    tokens = torch.randint(257, (2, 24), generator=torch.Generator().manual_seed(1))
    whole = model(tokens)["logits"]
    edges = [0, *sorted(cuts), 24 - steps]
    state, rows = model.init_state(2), []
    for a, b in pairwise(edges):
        if b > a:
            logits, state = model.prefill(tokens[:, a:b], state)
            rows.append(logits)
    done = sum(piece.shape[1] for piece in rows)
    for t in range(done, 24):
        logits, state = model.step(tokens[:, t], state)
        rows.append(logits[:, None])
    torch.testing.assert_close(torch.cat(rows, 1), whole, **EXACT)


@torch.no_grad()
def test_packed_prefill_gives_a_state_per_text(model):
    lengths = (3, 0, 11)
    texts = [torch.randint(257, (n,)) for n in lengths]
    edges = torch.tensor([0, 3, 3, 14])
    logits, state = model.read(torch.cat(texts)[None], model.init_state(3), cu_seqlens=edges)
    follow = torch.tensor([1, 2, 3])
    after, _ = model.step(follow, state)
    for row, text in enumerate(texts):
        whole = model(torch.cat([text, follow[row : row + 1]])[None])["logits"][0]
        torch.testing.assert_close(after[row], whole[-1], **EXACT)
        if len(text):
            torch.testing.assert_close(logits[row], whole[-2], **EXACT)


@torch.no_grad()
def test_later_tokens_change_nothing_before_them(model):
    tokens = torch.randint(257, (1, 16))
    changed = tokens.clone()
    changed[0, 9:] = (changed[0, 9:] + 1) % 257
    one, other = model(tokens)["logits"], model(changed)["logits"]
    torch.testing.assert_close(one[:, :9], other[:, :9], **EXACT)
    assert not torch.allclose(one[:, 9:], other[:, 9:])


@torch.no_grad()
def test_the_state_of_scans_does_not_grow():
    model = _model()
    state = model.init_state(2)
    before = state.nbytes
    _, state = model.prefill(torch.randint(257, (2, 200)), state)
    _, state = model.step(torch.randint(257, (2,)), state)
    assert state.nbytes == before


def test_the_residual_stream_stays_fp32_in_bf16():
    model = registry.build("language-lm", preset="tiny").bfloat16()
    seen = []
    model.backbone.blocks[1].register_forward_hook(lambda _, args, out: seen.append(out.dtype))
    logits = model(torch.randint(257, (1, 4)))["logits"]
    assert (seen, logits.dtype) == ([torch.float32], torch.bfloat16)
    assert model.backbone.blocks[0].layers[0].A_log.dtype == torch.float32


@pytest.mark.slow
def test_compiles_without_a_break():
    model = registry.build("language-lm", preset="tiny").eval()
    tokens = torch.randint(257, (1, 9))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(tokens)["logits"], model(tokens)["logits"])


def test_what_cannot_be_is_named(tiny):
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(batch, length\)"):
        tiny(torch.tensor([1, 2, 3]))
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="give one"):
        tiny(tokens, tokens.bool(), cu_seqlens=torch.tensor([0, 4]))
    with pytest.raises(registry.ConfigError, match="eos = 300 must be below vocab_size = 257"):
        registry.config("language-lm", eos=300)
    with pytest.raises(registry.ConfigError, match="eos = 0 is a byte of text"):
        registry.config("language-lm", eos=0)


def test_a_mixer_that_reads_ahead_is_refused():
    spec = registry.spec("language-lm")
    with registry.isolated(spec):
        registry.mixer("peeking", causal=False)(Attention)
        with pytest.raises(registry.ConfigError, match="'peeking' reads later tokens"):
            registry.build("language-lm", preset="tiny", mixer="peeking")
    seeing = {"name": "attention", "causal": False}
    with pytest.raises(registry.ConfigError, match="'Attention' reads later tokens"):
        registry.build("language-lm", preset="tiny", pattern="M*", attention=seeing)
