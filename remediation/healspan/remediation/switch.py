"""The stored kill switch: each process that obeys says so, and this is where it is read back.

A switch that nobody can see working is no switch: after `healspan uninstall`, every process writes down which of
its functions, if any, do not have their original code object.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from healspan.remediation.ids import uuid7
from healspan.remediation.record import Record
from healspan.remediation.settings import Settings
from healspan.remediation.store.facts import AuditEntry

if TYPE_CHECKING:
    from healspan.remediation.store.repository import Store

__all__ = ["ProcessAnswer", "SwitchState", "obeyed", "switch_state"]

_OFF, _ON = "switched off", "switched on"
_PROCESS = "process:"


class ProcessAnswer(Record):
    """What one process said when it saw the switch."""

    instance: str
    """``host:pid``."""
    at: datetime
    not_original: tuple[str, ...]
    """Functions, as ``module:qualname``, that still carry a repair."""


class SwitchState(Record):
    """Whether the switch is on, and who has obeyed."""

    disabled: bool
    since: datetime | None = None
    actor: str | None = None
    answers: tuple[ProcessAnswer, ...] = ()
    """Of the processes that have seen it, living or not."""
    waiting: tuple[str, ...] = ()
    """Living processes of this host, known by their spools, that have not answered yet."""

    @property
    def is_proven(self) -> bool:
        """Whether it is on, every known process answered, and all functions are original."""
        return self.disabled and not self.waiting and not any(one.not_original for one in self.answers)


def obeyed(instance: str, *, off: bool, not_original: list[str], at: datetime) -> AuditEntry:
    """Return what a process writes down when it has obeyed.

    Args:
        instance: ``host:pid``.
        off: what the switch says.
        not_original: as `Repairs.verify_uninstalled` gives it.
        at: now, in UTC.
    """
    return AuditEntry(
        audit_id=uuid7(),
        at=at,
        actor=f"{_PROCESS}{instance}",
        action=_OFF if off else _ON,
        subject=instance,
        detail={"not_original": [*not_original]},
    )


def switch_state(store: Store, settings: Settings) -> SwitchState:
    """Return whether the switch is on, and which processes have obeyed.

    Raises:
        StoreUnavailable, StoreCorrupt: it cannot be read.
    """
    from healspan.remediation.store.spools import owner_name, spool_views

    if not store.controls.is_disabled():
        return SwitchState(disabled=False)
    last = next(iter(store.controls.audits(action="disable", limit=1)), None)
    answers: dict[str, ProcessAnswer] = {}
    for entry in store.controls.audits(action=_OFF, limit=10_000):
        if last is not None and entry.at < last.at:
            break
        listed = entry.detail.get("not_original")
        names = tuple(str(name) for name in listed) if isinstance(listed, list) else ()
        answers.setdefault(entry.subject, ProcessAnswer(instance=entry.subject, at=entry.at, not_original=names))
    answered = {owner_name(instance) for instance in answers}
    living = {view.owner for view in spool_views(settings.spool_dir) if view.alive}
    return SwitchState(
        disabled=True,
        since=None if last is None else last.at,
        actor=None if last is None else last.actor,
        answers=tuple(answers.values()),
        waiting=tuple(sorted(living - answered)),
    )
