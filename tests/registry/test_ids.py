"""The grammar of task ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamba_registry.errors import TaskSpecError
from mamba_registry.ids import TaskId, format_id, parse_id

WORD = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)
IDS = st.builds(
    TaskId,
    st.none() | st.from_regex(r"[a-z0-9][a-z0-9-]*", fullmatch=True),
    WORD,
    st.none() | st.integers(1, 10**9 - 1),
)


@given(IDS)
def test_written_and_read_again(task):
    assert parse_id(format_id(task)) == task


@given(st.text(alphabet="ab1-/@_ A٣", max_size=12) | st.text(max_size=8))
def test_whatever_is_read_is_written_the_same(text):
    try:
        task = parse_id(text)
    except TaskSpecError:
        return
    assert format_id(task) == text


def test_parts():
    assert parse_id("acme/audio-birds@12") == ("acme", "audio-birds", 12)
    assert parse_id("audio-sep") == (None, "audio-sep", None)
    assert parse_id("acme/audio-birds@12").bare == "acme/audio-birds"


@pytest.mark.parametrize(
    "text",
    [
        *("", "Audio-sep", "audio_sep", "audio-sep@0", "audio-sep@01", "audio-sep@", "a--b", "-a"),
        *("a-", "/a-b", "a/b/c", "a-b\n", " a-b", "a-b@٣", f"a-b@{10**9}", None, 3),
    ],
)
def test_no_ids(text):
    with pytest.raises(TaskSpecError, match="is not a task id: expected 'domain-task'"):
        parse_id(text)
