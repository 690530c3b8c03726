"""Prompts in, texts out: strings, files, pieces; what is not overwritten."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry
from mamba_core.pretrained import save_pretrained
from mamba_language.lm.config import Sampling, TextPredict
from mamba_language.lm.predict import TextGenerator


def _generator(model, **fields):
    return TextGenerator(model, TextPredict(**{"max_tokens": 12} | fields))


PROMPTS = ["Grüße", "", "a much longer prompt than the first", "b"]


@pytest.mark.parametrize("greedy", [True, False])
def test_a_text_does_not_depend_on_its_batch(tiny, greedy):
    alone = [_generator(tiny, greedy=greedy).generate([prompt])[0] for prompt in PROMPTS]
    for size in (1, 3, 8):
        assert _generator(tiny, greedy=greedy, batch_size=size).generate(PROMPTS) == alone


def test_seeds_make_other_texts(tiny):
    texts = {_generator(tiny, seed=seed).generate(["x"])[0] for seed in range(4)}
    assert len(texts) > 1


@pytest.mark.parametrize("prompt", PROMPTS)
def test_pieces_join_to_the_text(tiny, prompt):
    generator = _generator(tiny, max_tokens=40, sampling=Sampling(temperature=2.0))
    (text,) = generator.generate([prompt])
    assert "".join(generator.stream(prompt)) == text


def test_the_mark_ends_a_text_and_is_not_shown(tiny):
    ending = registry.build("language-lm", preset="tiny").eval()
    ending.lm_head.register_forward_hook(_only_the_mark)
    assert _generator(ending, greedy=True).generate(["x", "y"]) == ["", ""]
    assert "".join(_generator(ending, greedy=True).stream("x")) == ""


def _only_the_mark(head, args, logits):
    return torch.nn.functional.one_hot(torch.tensor(256)).float().expand_as(logits)


def test_files(tiny, tmp_path):
    for name, prompt in zip("abc", ("one\n", "", "Größe"), strict=True):
        (tmp_path / f"{name}.md").write_text(prompt, encoding="utf-8", newline="")
    inputs = [tmp_path / f"{name}.md" for name in "abc"]
    generator = _generator(tiny)
    seen = []
    rows = generator.run(inputs, tmp_path / "out", progress=lambda *args: seen.append(args))
    texts = generator.generate(["one\n", "", "Größe"])
    for row, text in zip(rows, texts, strict=True):
        with open(row["output"], encoding="utf-8", newline="") as file:
            assert file.read() == text
        assert row["characters"] == len(text)
    assert seen[-1] == ("text", 36, 36)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_nothing_is_overwritten_unasked(tiny, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    generator = _generator(tiny)
    with pytest.raises(ValueError, match=r"a\.txt is an input"):
        generator.run([tmp_path / "a.txt"], tmp_path)
    generator.run([tmp_path / "a.txt"], tmp_path / "out")
    with pytest.raises(FileExistsError, match="--overwrite"):
        generator.run([tmp_path / "a.txt"], tmp_path / "out")
    generator.run([tmp_path / "a.txt"], tmp_path / "out", overwrite=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="two inputs"):
        generator.run([tmp_path / "a.txt", tmp_path / "sub" / "a.txt"], tmp_path / "other")


def test_bad_inputs_are_named(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist"):
        _generator(tiny).run([tmp_path / "none.txt"], tmp_path / "out")
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(ValueError, match="is no UTF-8"):
        _generator(tiny).run([tmp_path / "latin.txt"], tmp_path / "out")


def test_the_registry_makes_one_from_a_folder(tiny, tmp_path):
    save_pretrained(tiny, tmp_path / "model")
    generator = registry.predictor("language-lm", weights=tmp_path / "model", max_tokens=12)
    assert generator.generate(["x"]) == _generator(tiny).generate(["x"])


def test_the_command_writes_as_it_goes(tiny, tmp_path, capsys):
    from mamba_core.cli import main

    save_pretrained(tiny, tmp_path / "model")
    arguments = ["generate", str(tmp_path / "model"), "x", "--max-tokens", "12", "--greedy"]
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 0
    expected = _generator(tiny, greedy=True).generate(["x"])[0]
    assert capsys.readouterr().out == f"x{expected}\n"
