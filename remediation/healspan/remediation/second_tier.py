"""The second tier of one process: who is asked about a failure that no known fix answers, in order.

Fixes of failures like it, then the playbooks, then what is stored and does not serve, then Claude, where the settings
name a model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.diagnosis import Diagnoser, Playbooks
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.record import Record
from healspan.remediation.retrieval import Embedder, embedder
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import Settings
from healspan.remediation.shelved import Resting, Shelved, given_up
from healspan.remediation.similar import Similar
from healspan.remediation.solved import Solved
from healspan.remediation.store import Candidate

if TYPE_CHECKING:
    from healspan.remediation.claude.service import Claude

__all__ = ["SecondTier"]

logger = logging.getLogger("healspan")


class SecondTier:
    """Holds the diagnosers of one process; what cannot be had is said in the log and left out.

    Args:
        settings: read once.
        serving: the fixes that serve now, by id.
        resting: the fixes of a pattern at a boundary that are stored and do not serve.
        scrubber: removes secrets from what leaves the process.
        sandbox: of this process.
        append: makes a fact durable.
        consulted: told of each diagnosis by Claude.
        on_store_error: called after every look at what solved failures looked like that failed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        serving: Callable[[], Mapping[str, Candidate]],
        resting: Resting,
        scrubber: Scrubber,
        sandbox: Sandbox,
        append: Callable[[str, Record], object],
        consulted: Callable[[Consultation], object],
        on_store_error: Callable[[], None] = lambda: None,
    ) -> None:
        self.solved = Solved(settings, serving=serving, embedder=_embedder(settings.embedder), on_error=on_store_error)
        self.claude = self._with_claude(settings, scrubber, sandbox, append, consulted, resting)
        self.diagnosers: tuple[Diagnoser, ...] = (Similar(self.solved), Playbooks(), Shelved(resting))
        if self.claude is not None:
            self.diagnosers += (self.claude.diagnoser,)

    def catch_up(self) -> None:
        """Take in what has come to serve since; called every second or so."""
        self.solved.catch_up()

    def close(self) -> None:
        """Close what is open, within a bound."""
        self.solved.close()
        if self.claude is not None:
            self.claude.close()

    def _with_claude(
        self,
        settings: Settings,
        scrubber: Scrubber,
        sandbox: Sandbox,
        append: Callable[[str, Record], object],
        consulted: Callable[[Consultation], object],
        resting: Resting,
    ) -> Claude | None:
        if not settings.claude_model:
            return None
        # Imported here: a process that asks nobody needs none of it.
        from healspan.remediation.claude.service import Claude

        def keep(one: Consultation) -> None:
            consulted(one)
            append("consultation", one)

        try:
            return Claude(
                settings,
                scrubber=scrubber,
                solved=self.solved.like,
                given_up=lambda incident: given_up(resting(incident.pattern, incident.module)),
                sandbox=sandbox,
                keep=keep,
            )
        except ConfigurationError as error:
            logger.warning("%s", error)
            return None


def _embedder(name: str) -> Embedder | None:
    """Return the embedder that is named; one that cannot be had is no reason not to heal."""
    try:
        return embedder(name)
    except ConfigurationError as error:
        logger.warning("failures are compared without an embedder: %s", error)
        return None
