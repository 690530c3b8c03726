"""One line of the doctor's report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something looked at, and how it is."""

    area: str
    """``Python``, ``Devices``, ``Plugins``, ..."""
    status: Literal["ok", "note", "problem"]
    """``note``: worth knowing, nothing is broken."""
    text: str
    fix: str | None = None
    """A command or a change that solves it; every problem has one."""


def pip_install(what: str) -> str:
    """Return the pip line for the interpreter that runs; tools may have one of their own."""
    return f"{sys.executable} -m pip install {what}"
