"""Text to ids and back, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamba_core import registry
from mamba_language.lm.config import TextData
from mamba_language.lm.data import TextDataset
from mamba_language.lm.predict import TextGenerator
from mamba_language.lm.tokenizers import ByteTokenizer, load_tokenizer

TEXT = "Naïve café — 東京 🙂, naïve café"


@given(st.text())
def test_bytes_there_and_back(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert bytes(ids) == text.encode()
    assert tokenizer.decode(ids) == text
    emit = tokenizer.stream()
    assert "".join(map(emit, [*ids, None])) == text


def test_a_character_appears_with_its_last_byte():
    emit = ByteTokenizer().stream()
    assert [emit(i) for i in "é".encode()] == ["", "é"]
    assert [emit(0xC3), emit(ord("a"))] == ["", "�a"]


def test_marks_have_no_text():
    assert ByteTokenizer().decode([256, *b"ab", 300]) == "ab"
    emit = ByteTokenizer().stream()
    assert [emit(0xC3), emit(256), emit(0xA9), emit(0xC3), emit(None)] == ["", "", "é", "", "�"]


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    """A byte-level BPE trained on one sentence, as a tokenizer.json."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_a_library_tokenizer_there_and_back(bpe):
    for name in (bpe, bpe.parent):
        tokenizer = load_tokenizer(str(name))
        ids = tokenizer.encode(TEXT)
        assert len(ids) < len(TEXT.encode())
        assert tokenizer.decode(ids) == TEXT
        for count in range(len(ids) + 1):  # ends inside characters too
            pieces = map(tokenizer.stream(), [*ids[:count], None])
            assert "".join(pieces) == tokenizer.decode(ids[:count])
        assert tokenizer.decode([0, *ids]) == TEXT


def test_models_of_other_tokens_learn_and_write(bpe, tmp_path):
    fields = {"vocab_size": 300, "eos": 0, "tokenizer": str(bpe)}
    model = registry.build("language-lm", preset="tiny", **fields).eval()
    assert isinstance(TextGenerator(model).generate(["Naïve"])[0], str)
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    data = TextData(path=tmp_path, window=4, test=tmp_path)
    split = TextDataset(data, model.config).test(seed=0)
    ids = [0, *load_tokenizer(str(bpe)).encode(TEXT)]
    assert split.sample(0, 0)["tokens"].tolist() == ids[:4]
    covered = sum(float(split.sample(0, i)["bytes"]) for i in range(len(split)))
    assert covered == pytest.approx(len(TEXT.encode()) * (len(ids) - 1) / len(ids), rel=1e-5)


def test_what_cannot_be_is_named(bpe, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(registry.ConfigError, match=r"give the path of the model's tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "a.txt").write_bytes(b"\xff\xff")
    config = registry.config("language-lm", preset="tiny", tokenizer=str(bpe))
    with pytest.raises(ValueError, match="no UTF-8"):
        TextDataset(TextData(path=tmp_path), config)
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    small = registry.config("language-lm", preset="tiny", tokenizer=str(bpe), vocab_size=258, eos=0)
    with pytest.raises(ValueError, match="the model's vocab_size is 258"):
        TextDataset(TextData(path=tmp_path), small)
