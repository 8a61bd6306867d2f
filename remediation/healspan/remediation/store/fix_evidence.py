"""The evidence on fixes as the store keeps it: one row a fix, folded from verdicts as they arrive.

A projection: whatever is in it follows from applications, judgements and changes of state. It is written in the
transaction that takes those facts in, under the lock of the revision, so every verdict is folded exactly once,
however often it is brought and by whomever. What comes out of a spool of this host is signed here; a row that nobody
here has signed is folded on, for people and for what speaks against the fix, and stays unsigned.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from pydantic import ValidationError
from sqlalchemy import Column, Connection, Select, bindparam, delete, select

from healspan.remediation.errors import SignatureRefused
from healspan.remediation.evidence import GRAIN, Evidence, outcome_of
from healspan.remediation.fix import Match, Signature, StateChange
from healspan.remediation.outcome import Application, Judgement, Verdict
from healspan.remediation.store.facts import context_text, encode
from healspan.remediation.store.tables import (
    ApplicationRow,
    FixEvidenceRow,
    FixRow,
    JudgementRow,
    OverruleRow,
    StateChangeRow,
    table_of,
)
from healspan.remediation.store.upsert import Upsert, insert_into

__all__ = ["OVERRULED", "Folding", "Seal", "begin", "read_evidence", "readable", "rebuild"]

logger = logging.getLogger("healspan.store")

_EVIDENCE, _CHANGE, _FIX = table_of(FixEvidenceRow), table_of(StateChangeRow), table_of(FixRow)
_APPLICATION, _JUDGEMENT, _OVERRULE = table_of(ApplicationRow), table_of(JudgementRow), table_of(OverruleRow)
_CHUNK = 500

# Statements that every fact comes by, each made once: making one takes as long as running it.
_BODIES = select(_EVIDENCE.c.fix_id, _EVIDENCE.c.body).where(_EVIDENCE.c.fix_id.in_(bindparam("among", expanding=True)))
_MATCH = select(_FIX.c.match).where(_FIX.c.fix_id == bindparam("of"))
_APPLICATION_OF = select(_APPLICATION.c.body).where(_APPLICATION.c.application_id == bindparam("of"))

OVERRULED = Verdict(resolved=True, no_regression=False, valid_output=None)
"""What a verdict that was unknown has turned out to be."""


class Seal(Protocol):
    """Vouches for evidence, as a key ring of this host does."""

    def sign_record(self, record: Evidence) -> Evidence:
        """Return it signed."""

    def verify(self, data: bytes, signature: Signature | None) -> None:
        """Raise `SignatureRefused` where nobody here has signed these bytes."""


class Folding:
    """Folds the judgements of one transaction.

    Args:
        connection: in a writing transaction that holds the lock of the revision.
        judgements: of the transaction, before they are inserted.
        applications: of the transaction, by id; others are read from the store.
        seal: vouches for the result; None: nobody does.
    """

    def __init__(
        self,
        connection: Connection,
        judgements: Sequence[Judgement],
        applications: Mapping[str, Application],
        seal: Seal | None = None,
    ) -> None:
        self._connection = connection
        self._seal = seal
        self._applications = dict(applications)
        own = {str(one.application_id) for one in judgements}
        overruled = {str(one) for judgement in judgements for one in judgement.overrules}
        self._fresh = own - set(_present(connection, _JUDGEMENT.c.application_id, own))
        self._judged = set(_present(connection, _JUDGEMENT.c.application_id, overruled))
        self._overruled = set(_present(connection, _OVERRULE.c.application_id, own | overruled))
        self._evidence: dict[str, tuple[Evidence, bool]] = {}
        """With whether what it was folded onto is vouched for."""
        self._matches: dict[str, Match] = {}

    def take(self, judgement: Judgement) -> None:
        """Fold a judgement that has been inserted; one that was there before says nothing new."""
        application_id = str(judgement.application_id)
        if application_id in self._fresh:
            self._fresh.discard(application_id)
            self._judged.add(application_id)
            verdict = OVERRULED if application_id in self._overruled else judgement.verdict
            self._fold(application_id, verdict, judgement.fix_id)
        for one in map(str, judgement.overrules):
            if one not in self._overruled:
                self._overruled.add(one)
                if one in self._judged:
                    self._fold(one, OVERRULED)

    def flush(self, revision: int) -> None:
        """Write what was folded."""
        for evidence, vouched in self._evidence.values():
            _write(self._connection, evidence, revision, self._seal if vouched else None)
        self._evidence.clear()

    def _fold(self, application_id: str, verdict: Verdict, fix_id: str | None = None) -> None:
        application = self._applications.get(application_id)
        if application is None:
            application = _application(self._connection, application_id)
            if application is not None and application.error_id is not None:
                # Who can write to the store may have altered it since; one failing call is one outcome.
                application = application.model_copy(update={"count": 1})
        if application is None or fix_id not in {None, application.fix_id}:
            # Dropped from a spool that was full, or altered; a verdict on nothing.
            return
        fix_id = application.fix_id
        if fix_id not in self._matches:
            self._matches[fix_id] = _match(self._connection, fix_id)
        outcome = outcome_of(application, verdict, self._matches[fix_id], context_text(application.context_keys))
        if outcome is None:
            return
        before, vouched = self._evidence.get(fix_id) or _one(self._connection, fix_id, self._seal)
        self._evidence[fix_id] = before.after(outcome), vouched


def begin(connection: Connection, change: StateChange, revision: int, seal: Seal | None = None) -> None:
    """Start the test of a fix afresh where a change gives it another standing."""
    before, vouched = _one(connection, change.fix_id, seal)
    if seal is not None and not vouched:
        before = Evidence(fix_id=change.fix_id)  # a fresh start, of which nothing unsigned is left
    after = before.begin(change)
    if after is not before:
        _write(connection, after, revision, seal)


def read_evidence(connection: Connection, fix_ids: Collection[str]) -> dict[str, Evidence]:
    """Return the evidence on those of these fixes that have any."""
    found: dict[str, Evidence] = {}
    for chunk in _chunks(fix_ids):
        for fix_id, body in connection.execute(_BODIES, {"among": chunk}):
            evidence = readable(fix_id, body)
            if evidence is not None:
                found[fix_id] = evidence
    return found


def readable(fix_id: str, body: str) -> Evidence | None:
    """Read a row; None, and a line in the log, for one that a newer version wrote."""
    try:
        return Evidence.model_validate_json(body)
    except ValidationError:
        logger.warning("the evidence on fix %s cannot be read and is left out; upgrade healspan", fix_id[:12])
        return None


def rebuild(connection: Connection, fix_ids: Collection[str], revision: int) -> None:
    """Fold the facts about some fixes again: verdicts as they arrived, changes of state where their time is."""
    for fix_id in sorted(fix_ids):
        evidence, changes = Evidence(fix_id=fix_id), deque(_changes(connection, fix_id))
        match = _match(connection, fix_id)
        for application, judgement, verdict in _judged(connection, fix_id):
            outcome = outcome_of(application, verdict, match, context_text(application.context_keys))
            if outcome is None:
                continue
            moment = judgement.timestamp + (GRAIN if outcome.tallied else timedelta())
            while changes and changes[0].at <= moment:
                evidence = evidence.begin(changes.popleft())
            evidence = evidence.after(outcome)
        for change in changes:
            evidence = evidence.begin(change)
        connection.execute(delete(_EVIDENCE).where(_EVIDENCE.c.fix_id == fix_id))
        # From facts that nobody has signed.
        _write(connection, evidence, revision, None)


def _changes(connection: Connection, fix_id: str) -> Iterator[StateChange]:
    query = select(_CHANGE.c.body).where(_CHANGE.c.fix_id == fix_id).order_by(_CHANGE.c.sequence)
    for body in connection.execute(query).scalars().all():
        yield StateChange.model_validate_json(body)


def _judged(connection: Connection, fix_id: str) -> Iterator[tuple[Application, Judgement, Verdict]]:
    query = (
        select(_APPLICATION.c.body, _JUDGEMENT.c.body, _OVERRULE.c.application_id.is_not(None))
        .join(_JUDGEMENT, _JUDGEMENT.c.application_id == _APPLICATION.c.application_id)
        .outerjoin(_OVERRULE, _OVERRULE.c.application_id == _APPLICATION.c.application_id)
        .where(_APPLICATION.c.fix_id == fix_id)
        .order_by(_JUDGEMENT.c.position)
    )
    for application, body, overruled in connection.execute(query).all():
        judgement = Judgement.model_validate_json(body)
        yield Application.model_validate_json(application), judgement, OVERRULED if overruled else judgement.verdict


def _match(connection: Connection, fix_id: str) -> Match:
    """Return what a fix claims; one that was tried and never kept claims the pattern it was made for."""
    found = connection.execute(_MATCH, {"of": fix_id}).scalar()
    return Match.EXACT if found is None else Match(found)


def _application(connection: Connection, application_id: str) -> Application | None:
    body = connection.execute(_APPLICATION_OF, {"of": application_id}).scalar()
    return None if body is None else Application.model_validate_json(body)


def _one(connection: Connection, fix_id: str, seal: Seal | None) -> tuple[Evidence, bool]:
    """Return the evidence on a fix, and whether it is vouched for; that there is none needs nobody's word."""
    found = read_evidence(connection, [fix_id]).get(fix_id)
    if found is None:
        return Evidence(fix_id=fix_id), True
    try:
        if found.fix_id != fix_id:
            return found.model_copy(update={"fix_id": fix_id}), False
        if seal is not None:
            seal.verify(found.signed_bytes(), found.signature)
    except SignatureRefused:
        return found, False
    return found, True


def _write(connection: Connection, evidence: Evidence, revision: int, seal: Seal | None) -> None:
    bare = evidence.model_copy(update={"signature": None})
    body = encode(bare if seal is None else seal.sign_record(bare))
    row = {"fix_id": evidence.fix_id, "revision": revision, "body": body}
    connection.execute(_upsert(connection.dialect.name), [row])


@functools.cache
def _upsert(dialect: str) -> Upsert:
    insert = insert_into(_EVIDENCE, dialect)
    fresh = {"revision": insert.excluded.revision, "body": insert.excluded.body}
    return insert.on_conflict_do_update(index_elements=[_EVIDENCE.c.fix_id], set_=fresh)


def _present(connection: Connection, column: Column[str], ids: Collection[str]) -> Iterator[str]:
    for chunk in _chunks(ids):
        yield from connection.execute(_among(column), {"among": chunk}).scalars()


@functools.cache
def _among(column: Column[str]) -> Select[str]:
    return select(column).where(column.in_(bindparam("among", expanding=True)))


def _chunks(ids: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
