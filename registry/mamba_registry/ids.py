"""The grammar of task ids: ``[namespace/]domain-task[@version]``."""

from __future__ import annotations

import re
from typing import NamedTuple

from mamba_registry.errors import TaskSpecError

_ID = re.compile(
    r"(?:(?P<namespace>[a-z0-9][a-z0-9-]*)/)?"
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)"
    r"(?:@(?P<version>[1-9][0-9]{0,8}))?"
)


class TaskId(NamedTuple):
    """A parsed id; ``version`` is None when the text has none."""

    namespace: str | None
    name: str
    version: int | None

    @property
    def bare(self) -> str:
        """The id without its version."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def parse_id(text: str) -> TaskId:
    """Read an id.

    :raises TaskSpecError: if ``text`` is none.

    >>> parse_id("acme/audio-birds@2")
    TaskId(namespace='acme', name='audio-birds', version=2)
    """
    match = _ID.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise TaskSpecError(
            f"{text!r} is not a task id: expected 'domain-task', 'namespace/domain-task' or "
            "'...@version', in lower case"
        )
    version = match["version"]
    return TaskId(match["namespace"], match["name"], int(version) if version else None)


def format_id(task: TaskId) -> str:
    """Write an id; the inverse of :func:`parse_id`."""
    return task.bare if task.version is None else f"{task.bare}@{task.version}"
