"""Generation: greedy and drawn, ragged prompts, early ends, long prompts."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry
from mamba_language.lm.config import Sampling
from mamba_language.lm.generate import generate, prefill, sample, stream

PROMPTS = [[256, 7], [256, 1, 2, 3, 4, 5, 6, 7, 8], [9]]


@pytest.fixture(scope="module", params=["mamba1", "mamba2", "attention"])
def model(request):
    """Loud mixers, so that texts do not fall into repeating one token; float64 against ties."""
    torch.manual_seed(0)
    found = registry.build("language-lm", preset="tiny", mixer=request.param).double().eval()
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "out_proj" in name:
                parameter.mul_(30)
    return found


def _whole(model, prompt, tokens):
    """Greedy text without any state: the whole sequence is read again for every token."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(model(torch.tensor([ids]))["logits"][0, -1].argmax()))
    return ids[len(prompt) :]


def test_greedy_texts_are_those_of_whole_reads(model):
    texts = generate(model, PROMPTS, max_tokens=12)
    assert len({tuple(text.tolist()) for text in texts}) > 1
    for prompt, text in zip(PROMPTS, texts, strict=True):
        assert text.tolist() == _whole(model, prompt, 12)


def test_a_text_leaves_the_batch_where_it_ends(model):
    free = generate(model, PROMPTS, max_tokens=12)
    stop = int(free[1][4])
    texts = generate(model, PROMPTS, max_tokens=12, stop={stop})
    for text, whole in zip(texts, free, strict=True):
        ids = whole.tolist()
        assert text.tolist() == (ids[: ids.index(stop) + 1] if stop in ids else ids)
    assert len(texts[1]) < 12


def test_nothing_is_computed_after_the_last_token(model, monkeypatch):
    calls = []
    step = model.step
    monkeypatch.setattr(model, "step", lambda tokens, state: calls.append(1) or step(tokens, state))
    generate(model, PROMPTS, max_tokens=3)
    assert len(calls) == 2  # the first of three tokens follows from the prompts alone


def test_streaming_gives_tokens_as_they_come(model):
    steps = list(stream(model, PROMPTS, max_tokens=5))
    texts = generate(model, PROMPTS, max_tokens=5)
    for row, text in enumerate(texts):
        assert [step[row] for step in steps] == text.tolist()


def test_drawn_texts_follow_the_seed_and_not_the_neighbours(model):
    sampling = Sampling(temperature=1.5, top_p=0.9)

    def draw(prompts, seeds):
        texts = generate(model, prompts, max_tokens=10, sampling=sampling, seeds=seeds)
        return [text.tolist() for text in texts]

    together = draw(PROMPTS, [5, 6, 7])
    assert draw(PROMPTS, [5, 6, 7]) == together
    assert draw(PROMPTS[1:2], [6]) == together[1:2]
    assert draw(PROMPTS, [5, 8, 7])[1] != together[1]


def test_a_generator_decides_the_draws(model):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        texts = generate(model, PROMPTS, max_tokens=10, sampling=Sampling(), generator=generator)
        return [text.tolist() for text in texts]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("at_once", [1, 4, 10, 1000])
@torch.no_grad()
def test_prompts_are_read_in_pieces_of_any_size(model, at_once):
    logits, state = prefill(model, PROMPTS, at_once=at_once)
    follow = torch.tensor([3, 4, 5])
    after, _ = model.step(follow, state)
    for row, prompt in enumerate(PROMPTS):
        whole = model(torch.tensor([[*prompt, int(follow[row])]]))["logits"][0]
        torch.testing.assert_close(logits[row], whole[-2], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(after[row], whole[-1], rtol=1e-9, atol=1e-9)


def test_no_prompt_is_no_text_and_an_empty_one_is_named(tiny):
    assert generate(tiny, [], max_tokens=4) == []
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        generate(tiny, [[1], []], max_tokens=4)
    with pytest.raises(ValueError, match="1 seeds for 2 prompts"):
        generate(tiny, [[1], [2]], max_tokens=4, sampling=Sampling(), seeds=[0])


def _drawn(logits, sampling, draws=20_000):
    """Shares of the ids, over evenly spread uniform numbers."""
    uniform = (torch.arange(draws) + 0.5) / draws
    ids = sample(logits.expand(draws, -1), sampling, uniform)
    return torch.bincount(ids, minlength=logits.shape[-1]) / draws


LOGITS = torch.tensor([0.4, -1.0, 2.0, 0.1, 1.2])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_by_their_probability(temperature):
    shares = _drawn(LOGITS, Sampling(temperature=temperature))
    torch.testing.assert_close(shares, (LOGITS / temperature).softmax(0), atol=1e-4, rtol=0)


def test_top_k_keeps_the_k_most_probable():
    kept = torch.tensor([0.4, -torch.inf, 2.0, -torch.inf, 1.2])
    torch.testing.assert_close(
        _drawn(LOGITS, Sampling(top_k=3)), kept.softmax(0), atol=1e-4, rtol=0
    )
    assert _drawn(LOGITS, Sampling(top_k=1)).tolist() == [0, 0, 1, 0, 0]
    assert _drawn(LOGITS, Sampling(top_k=99)).count_nonzero() == 5


def test_top_p_keeps_the_smallest_set_that_holds_it():
    order = LOGITS.softmax(0).sort(descending=True).values.cumsum(0)
    for size in range(1, 5):
        inside = _drawn(LOGITS, Sampling(top_p=float(order[size - 1]) - 1e-4))
        beyond = _drawn(LOGITS, Sampling(top_p=float(order[size - 1]) + 1e-4))
        assert (inside.count_nonzero(), beyond.count_nonzero()) == (size, size + 1)


def test_extreme_draws_stay_inside():
    uniform = torch.tensor([0.0, 1 - 2**-24])
    ids = sample(LOGITS.expand(2, -1), Sampling(top_p=0.7), uniform)
    assert ids.tolist() == [2, 4]
