"""The fake server by hand: ``python -m healspan.remediation.testing.server --port 0 --script FILE.json``.

It says where it listens, then one line for every request, until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from healspan.remediation.claude.answer import ProposedAdapter
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.testing.fake_claude import FakeClaude
from healspan.remediation.testing.received import Received
from healspan.remediation.testing.script import Answers, Move, an_answer, read_script

__all__ = ["FakeClaude", "main"]

_UNSURE = Answers(
    answer=an_answer(
        confidence=0.0,
        root_cause="This is a fake server without a script.",
        instruction="Look at the failure yourself.",
    )
)
_ADAPTED = Answers(
    answer=an_answer(
        ProposedAdapter(
            kind="adapter",
            text='def heal(call, arguments, error):\n    return call(text=arguments["text"].replace("_", " "))\n',
            strategies=[],
            repairers=[],
        )
    )
)
_EXAMPLE = """\
a script is a JSON list; each request takes the next of it, e.g.
  [{"do": "fail", "status": 429, "retry_after": 2},
   {"do": "say", "text": "no JSON", "latency": 0.5},
   {"do": "hang"}]
moves: answer, say, refuse, truncate, fail, hang, drip, break_off, flood.
an answer has to be whole: --example prints one, to be changed.
without one, every answer is that a human should look."""


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m healspan.remediation.testing.server",
        description="A Messages API on loopback that answers by a script; nothing is charged.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0, the default: a free port")
    parser.add_argument("--script", type=Path, help="a file with a JSON list of moves")
    parser.add_argument("--repeat", action="store_true", help="begin anew at the end of the script")
    parser.add_argument("--example", action="store_true", help="print a script with an answer, and end")
    parser.add_argument("--no-count", action="store_true", help="have no endpoint that counts tokens")
    return parser.parse_args(arguments)


class _Told:
    """The script, and a line for every request."""

    def __init__(self, moves: Sequence[Move], *, repeat: bool) -> None:
        self._moves = moves
        self._repeat = repeat
        self._lock = threading.Lock()
        self._next = 0

    def __call__(self, request: Received) -> Move | None:
        with self._lock:
            place, self._next = self._next, self._next + 1
        turn = place % len(self._moves) if self._repeat else place
        move = self._moves[turn] if turn < len(self._moves) else None
        does = "the script is over" if move is None else move.do
        _say(f"request {place + 1}: {len(request.body)} bytes, model {request.json.get('model')} -> {does}")
        return move


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    given = _arguments(arguments)
    if given.example:
        _say(json.dumps([_ADAPTED.model_dump(mode="json")], indent=2))
        return 0
    try:
        moves = read_script(given.script.read_bytes()) if given.script is not None else ()
    except (OSError, ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        with FakeClaude(
            _Told(moves or (_UNSURE,), repeat=given.repeat or not moves), counts=not given.no_count, port=given.port
        ) as server:
            _say(f"listening on {server.url}; set this as the base URL, with any key; Ctrl-C ends it")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.stderr.write(f"port {given.port}: {error.strerror}; choose another or 0\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
