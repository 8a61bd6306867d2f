"""A diagnoser that proposes what an earlier diagnosis has found for this very failure, to the letter as it is stored.

A trial lapses if nothing needs it for a while, and under the policy `autonomous` a proposal may act each time that it
is proven. Playbooks find the same fix again by themselves. A model would be asked again, be paid again, and say
something else; so it is asked after this one, which reads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Waiting
from healspan.remediation.fix import GIVEN_UP_STATES, FixDraft
from healspan.remediation.incident import Pattern
from healspan.remediation.progress import Progress
from healspan.remediation.store import Candidate

__all__ = ["Resting", "Shelved", "given_up"]

Resting = Callable[[Pattern, str], Sequence[Candidate]]
"""Given a pattern and a boundary, the fixes for exactly this failure that do not serve, the newest first."""


def given_up(resting: Sequence[Candidate]) -> list[Candidate]:
    """Return the fixes that somebody has said no to."""
    return [one for one in resting if one.change.state in GIVEN_UP_STATES]


class Shelved:
    """Proposes what diagnoses have found and what does not serve; whether it may be tried is decided as for any other.

    Args:
        resting: finds them.
    """

    name = "shelved"
    composes = False
    waits = False

    def __init__(self, resting: Resting) -> None:
        self._resting = resting

    def candidates(
        self,
        call: FailedCall,
        progress: Progress,  # noqa: ARG002 - what is stored is stored, whatever was tried
    ) -> Generator[FixDraft | Waiting, None, None]:
        """Yield them; a draft of the same content has the same address."""
        for one in self._resting(call.incident.pattern, call.incident.module):
            fix, change = one.fix, one.change
            # What a human has decided, or given an end, is for a human to decide again.
            if change.state in GIVEN_UP_STATES or change.actor != "engine" or change.by_human or fix.expires_at:
                continue
            yield FixDraft(**{name: getattr(fix, name) for name in FixDraft.model_fields})
