"""A diagnoser that proposes what an earlier diagnosis has found for this very failure, to the letter as it is stored.

A trial lapses if nothing needs it for a while, and under the policy `autonomous` a proposal may act each time that it
is proven. Playbooks find the same fix again by themselves. A model would be asked again, be paid again, and say
something else; so it is asked after this one, which reads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Waiting
from healspan.remediation.fix import Fix, FixDraft
from healspan.remediation.incident import Pattern
from healspan.remediation.progress import Progress

__all__ = ["Shelved"]


class Shelved:
    """Proposes what is stored for a failure and does not serve; whether it may be tried is decided as for any other.

    Args:
        find: returns such fixes of a pattern at a boundary, the most promising first.
    """

    name = "shelved"
    composes = False

    def __init__(self, find: Callable[[Pattern, str], Sequence[Fix]]) -> None:
        self._find = find

    def candidates(
        self,
        call: FailedCall,
        progress: Progress,  # noqa: ARG002 - what is stored is stored, whatever was tried
    ) -> Generator[FixDraft | Waiting, None, None]:
        """Yield them; a draft of the same content has the same address."""
        for fix in self._find(call.incident.pattern, call.incident.module):
            yield FixDraft(**{name: getattr(fix, name) for name in FixDraft.model_fields})
