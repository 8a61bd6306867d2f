"""Testing without Claude: a fake server, and cassettes of real calls. For your tests as well as for ours.

`fake_claude` is a server on loopback, `script` what it can be told to do, `cassette` records an `Asker` and plays it
back. `server` runs the fake server by hand: ``python -m healspan.remediation.testing.server --help``.
"""

from healspan.remediation.testing.cassette import CassetteMismatch, Player, Recorder
from healspan.remediation.testing.fake_claude import FakeClaude
from healspan.remediation.testing.received import Received
from healspan.remediation.testing.script import (
    Answers,
    BreaksOff,
    Drips,
    Fails,
    Floods,
    Hangs,
    Move,
    Refuses,
    Says,
    Script,
    Truncates,
    an_answer,
    read_script,
)

__all__ = [
    "Answers",
    "BreaksOff",
    "CassetteMismatch",
    "Drips",
    "Fails",
    "FakeClaude",
    "Floods",
    "Hangs",
    "Move",
    "Player",
    "Received",
    "Recorder",
    "Refuses",
    "Says",
    "Script",
    "Truncates",
    "an_answer",
    "read_script",
]
