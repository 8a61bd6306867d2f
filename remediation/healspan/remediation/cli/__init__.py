"""The command line ``healspan``. Imported by nothing else; other parts add commands by entry points."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 the answer is no or it failed, 2 not used as meant.

    Args:
        arguments: without the program's name; default: those of the process.
    """
    # Imported here, so that `healspan.remediation.cli` costs nothing until a command is run.
    from healspan.remediation.cli.app import run

    return run(arguments)
