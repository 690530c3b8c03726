"""Progress: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mamba_core.cli.output import terminal_track

PROGRAM = """
from mamba_core.cli.output import terminal_progress
with terminal_progress() as show:
    if show is None:
        print("nobody looks")
    else:
        for name in ("a[1].wav", "b.wav"):
            for done in range(5):
                show(name, done, 4)
        raise SystemExit("stopped")
"""


def test_nothing_is_shown_in_a_pipe():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("nobody looks\n", "")


def test_a_bar_on_a_terminal():
    pty = pytest.importorskip("pty")  # not on Windows
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while read := os.read(ours, 4096):
            shown += read
    except OSError:  # how Linux ends a terminal whose other side is closed
        pass
    os.close(ours)
    text = shown.decode()
    assert done.stdout == b""
    assert "b.wav" in text
    assert "100%" in text
    assert "━" in text
    assert "\x1b[?25h" in text.split("b.wav")[-1]  # the cursor is back, whatever happened
    assert text.rstrip().endswith("stopped")


def test_a_plan_goes_on_whether_somebody_looks_or_not():
    assert list(terminal_track([3, 1, 2], str)) == [3, 1, 2]
    assert list(terminal_track([], str)) == []


def test_a_reader_that_has_gone_is_nobodys_fault():
    """``mamba-core ... | head``: whoever reads has closed the pipe before anything is written."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-c", "from mamba_core.cli import main; main(['bench', '--help'])"]
    try:
        done = subprocess.run(
            command, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=120
        )
    finally:
        os.close(writes)
    assert "plugin" not in done.stderr
