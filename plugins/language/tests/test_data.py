"""Text as windows: splits, marks, epochs, and bits per byte over them."""

from __future__ import annotations

import pickle

import pytest
import torch

from mamba_core import registry
from mamba_language.lm.config import TextData
from mamba_language.lm.data import TextDataset
from mamba_language.lm.metrics import BitsPerByte, metrics
from mamba_language.lm.objective import IGNORE, loss

MARK = 256


def _dataset(path, **fields):
    data = TextData(path=path, **{"window": 8, "val_share": 0, "test_share": 0} | fields)
    return TextDataset(data, registry.config("language-lm", preset="tiny"))


@pytest.fixture
def text(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefghij" * 10)
    return tmp_path / "a.txt"


def _documents(split):
    """Tokens of a split that is cut without moving, end to end."""
    pieces = [split.sample(0, i) for i in range(len(split))]
    first = [pieces[0]["tokens"][:1]]
    targets = [p["targets"][p["targets"] != IGNORE] for p in pieces]
    return torch.cat(first + targets).tolist()


def test_the_mark_stands_before_every_document(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\n")
    (tmp_path / "sub" / "b.txt").write_text("drei")
    (tmp_path / "c.md").write_text("not read")
    split = _dataset(tmp_path, separator="\n\n", test=tmp_path).test(seed=0)
    assert _documents(split) == [MARK, *b"one", MARK, *b"two", MARK, *b"drei"]


def test_bytes_that_are_no_text_are_learned_too(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(range(256)))
    split = _dataset(tmp_path / "a.txt", test=tmp_path / "a.txt").test(seed=0)
    assert _documents(split) == [MARK, *range(256)]


def test_parts_follow_each_other_and_share_nothing(text):
    data = _dataset(text, val_share=0.1, test_share=0.2)
    parts = [len(data._train), len(data._val), len(data._test)]
    assert parts == [71, 10, 20]  # 100 bytes and a mark
    assert _documents(data.val(seed=0)) == list((b"abcdefghij" * 10)[70:80])
    assert _documents(data.test(seed=0)) == list((b"abcdefghij" * 10)[80:])


def test_an_epoch_has_every_token_as_a_target(text):
    split = _dataset(text).train(seed=3)
    for epoch in range(3):
        targets = [split.sample(epoch, i)["targets"] for i in range(len(split))]
        counts = torch.bincount(torch.cat(targets), minlength=257)
        assert (counts[list(b"abcdefghij")] >= 10).all()
        assert counts.sum() == len(split) * 8
    one, other = split.sample(0, 0)["tokens"], split.sample(1, 0)["tokens"]
    assert not torch.equal(one, other)


def test_a_sample_is_a_function_of_seed_epoch_and_index(text):
    first = _dataset(text).train(seed=3).sample(2, 5)
    again = pickle.loads(pickle.dumps(_dataset(text).train(seed=3))).sample(2, 5)
    for name, value in first.items():
        assert torch.equal(value, again[name])
    assert any(
        not torch.equal(_dataset(text).train(seed=seed).sample(2, 5)["tokens"], first["tokens"])
        for seed in range(4, 10)
    )


def test_documents_reset_the_state_only_when_asked(tmp_path):
    (tmp_path / "a.txt").write_text("ab\ncd\nef")
    for reset in (True, False):
        split = _dataset(tmp_path, separator="\n", reset=reset, test=tmp_path).test(seed=0)
        sample = split.sample(0, 0)
        assert sample["tokens"].tolist() == [MARK, *b"ab", MARK, *b"cd", MARK, *b"e"]
        assert sample["starts"].nonzero()[:, 0].tolist() == ([0, 3, 6] if reset else [])


def test_bits_per_byte_of_guessing(text):
    """Even odds cost log2(257) bits per token; the mark in front of the text is no target."""
    split = _dataset(text, test=text).test(seed=0)
    metric = BitsPerByte()
    for index in range(len(split)):
        batch = {name: value[None] for name, value in split.sample(0, index).items()}
        metric.update({"logits": torch.zeros(1, 8, 257)}, batch)
    expected = torch.tensor(257.0).log2() * 100 / (100 * 100 / 101)
    torch.testing.assert_close(metric.compute(), expected)


def test_metrics_and_loss_are_of_one_probability():
    torch.manual_seed(0)
    outputs = {"logits": torch.randn(2, 5, 257)}
    targets = torch.randint(257, (2, 5))
    targets[1, 3:] = IGNORE
    batch = {"targets": targets, "bytes": torch.tensor([5.0, 3.0])}
    found = metrics()
    for metric in found.values():
        metric.update(outputs, batch)
    nats = loss(outputs, batch)
    torch.testing.assert_close(found["perplexity"].compute(), nats.exp())
    bits = nats / torch.tensor(2.0).log()
    torch.testing.assert_close(found["bits_per_byte"].compute(), bits)  # 8 targets, 8 bytes


def test_errors_name_value_and_way_out(tmp_path, text):
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist"):
        _dataset(tmp_path / "none.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"holds no text in files that match '\*\*/\*\.txt'"
    ):
        _dataset(tmp_path / "empty")
    with pytest.raises(ValueError, match="leaves no text to learn from"):
        TextData(path=text, val_share=0.5, test_share=0.5)
