"""The command ``mamba-core``: one file per command, imported when it is called.

``--help``, ``--version`` and ``new-plugin`` load no plugin; ``list`` and ``plugins`` load only
the plugins' light modules. Exit codes: 0 done, 1 a problem was found, 2 wrong usage.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

PROGRAM = "mamba-core"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    :param arguments: the words after ``mamba-core``; None takes them from ``sys.argv``.
    :raises SystemExit: always: 0 done, 1 a problem was found, 2 wrong usage.
    """
    from mamba_core.cli.group import make_group

    group = make_group()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # PyG compiles by it; a user can change nothing about that
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
        try:
            group.main(args=arguments, prog_name=PROGRAM)
        except Exception as error:
            if group.debug:
                raise
            from mamba_core.cli.errors import explain

            print(explain(error), file=sys.stderr)
            sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning without the line of code it came from, which says nothing to a user."""
    print(f"Warning: {message}", file=file or sys.stderr)
