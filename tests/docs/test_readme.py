"""The README is true: its program runs, its messages are those that are printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mamba_core import registry

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MESSAGES = re.findall(
    r"^>>> (.+)\n((?:.+\n)+)", TEXT[TEXT.index("## What mistakes") :], re.MULTILINE
)

pytest.importorskip("mamba_audio")


@pytest.fixture
def talk(tmp_path, monkeypatch):
    """An empty folder with the file that README's program reads."""
    import soundfile as sf

    waves = [sf.read(ROOT / f"examples/audio/voice_{k}.flac", dtype="float32") for k in (1, 2)]
    samples = min(len(wave) for wave, _ in waves)
    mixture = np.sum([wave[:samples] for wave, _ in waves], axis=0)
    sf.write(tmp_path / "talk.wav", mixture, waves[0][1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_lines_say_what_this_is_not():
    assert "not" in TEXT[:80]
    assert "conda" in TEXT[:80]


def test_program_runs(talk, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    names: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), names)
    assert "audio-sep@1" in capsys.readouterr().out
    assert sorted(path.name for path in talk.iterdir()) == ["s1.wav", "s2.wav", "talk.wav"]
    assert names["model"].task.config.sources == 3


def test_command_does_the_same(talk, capsys):
    from mamba_core.cli import main

    (words,) = re.findall(r"`mamba-core (predict [^`]+)`", TEXT)
    with pytest.raises(SystemExit) as leaving:
        main(words.split())
    assert not leaving.value.code
    assert sorted(path.name for path in (talk / "voices").iterdir()) == [
        "talk_s1.wav",
        "talk_s2.wav",
    ]


@pytest.mark.parametrize(("call", "shown"), MESSAGES, ids=[call for call, _ in MESSAGES])
def test_messages(call, shown):
    with pytest.raises(Exception) as raised:  # noqa: PT011 (which one is what is compared)
        eval(call, {"registry": registry})
    printed = f"{type(raised.value).__name__}: {raised.value}"
    assert printed == shown.rstrip("`\n")


def test_messages_are_there():
    assert len(MESSAGES) >= 5


def test_measured_values_are_those_of_the_record():
    ours, peer = registry.spec("audio-sep").weights
    for weights, name in ((ours, "shipped weights"), (peer, "Conv-TasNet[^|]*")):
        pattern = rf"^\| {name} \| ([\d.]+) .* ([\d.]+) % \|$"
        (row,) = re.findall(pattern, TEXT, re.MULTILINE)
        assert float(row[0]) == round(weights.metrics["si_snri"], 2)
        assert float(row[1]) == round(100 * weights.metrics["share_below_0db"], 1)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]
