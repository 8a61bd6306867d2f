"""Checks of the fixes in the store: whether they act here, and who vouches for them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from healspan.remediation.adoption import DAY
from healspan.remediation.boundary import Boundary
from healspan.remediation.cli.checks.check import Check
from healspan.remediation.errors import SignatureRefused
from healspan.remediation.fix import SERVING_STATES, SignedRecord
from healspan.remediation.modules import NAMELESS, live_module
from healspan.remediation.repairers import catalogue
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.staleness import why_stale
from healspan.remediation.step import RepairStep, used_repairers
from healspan.remediation.store.repository import Store

__all__ = ["check_fixes"]


def check_fixes(store: Store, settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    """Check the fixes that serve: what they need, what they still fit, who vouches for them."""
    counts = store.fixes.count_by_state()
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none yet"
    yield Check(name="fixes", status="ok", detail=told)
    yield from _stopped(store, settings)
    refused = dict(_refused(store, settings))
    for fix_id, reason in refused.items():
        yield Check(name="refused fix", status="problem", detail=f"{fix_id[:12]} is not served: {reason}")
    yield from _unsigned(store, settings)
    for view in store.fixes.list(states=SERVING_STATES, limit=10_000):
        boundary = boundaries.get(view.fix.scope.module)
        modules = {step.module for step in view.fix.steps if isinstance(step, RepairStep)}
        if modules & NAMELESS:
            yield Check(
                name="fix of a script",
                status="note",
                detail=f"{view.fix.fix_id[:12]} was made in a program that nobody can import, so it helps nobody else; "
                "move the boundary into a module, or start it by its name ('python -m')",
            )
            continue
        short = view.fix.fix_id[:12]
        gone = sorted({name for step in view.fix.steps for name in used_repairers(step)} - catalogue().keys())
        if gone:
            yield Check(
                name="missing repairer",
                status="warning",
                detail=f"{short} reads by {', '.join(gone)}, which is not installed here, so it does not act; install "
                "the package that brings it",
            )
        imported = all(live_module(module) is not None for module in modules)
        stale = why_stale(view.fix, boundary) if boundary is not None and imported else None
        if stale is not None:
            yield Check(
                name="stale fix",
                status="problem",
                detail=f"{short}: {stale}; 'healspan review reject {short}' retires this one",
            )


def _stopped(store: Store, settings: Settings) -> Iterator[Check]:
    """Yield the boundaries that have put as many new fixes into trial today as they may."""
    since = datetime.now(UTC) - DAY
    adopted = Counter(
        view.fix.scope.module
        for view in store.fixes.list(limit=10_000)
        if view.fix.created_at > since
        and any(change.state in SERVING_STATES and not change.by_human for change in view.changes)
    )
    for boundary, number in sorted(adopted.items()):
        if number >= settings.adoptions_per_day:
            yield Check(
                name="stopped at limit",
                status="warning",
                detail=f"{boundary} has put {number} new fixes into trial within a day; those that follow wait for a "
                "human ('healspan review'), or set HEALSPAN_ADOPTIONS_PER_DAY",
            )


def _refused(store: Store, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the fixes that should serve and are not believed: by processes that said so, and here."""
    for refusal in store.fixes.refusals():
        latest = store.fixes.latest(refusal.fix_id)
        if latest is not None and latest.sequence == refusal.sequence and latest.state in SERVING_STATES:
            yield refusal.fix_id, refusal.reason
    ring = KeyRing.open(settings.keys_dir)
    for view in store.fixes.list(states=SERVING_STATES, limit=10_000):
        try:
            ring.trust(view.fix, view.changes[-1])
        except SignatureRefused as error:
            yield view.fix.fix_id, str(error)


def _unsigned(store: Store, settings: Settings) -> Iterator[Check]:
    """Yield what somebody has written or altered who can write to the store, and has no key of this host."""
    ring = KeyRing.open(settings.keys_dir)
    serving = store.fixes.list(states=SERVING_STATES, limit=10_000)
    mine = [view.fix.fix_id for view in serving if not view.changes[-1].by_human]
    kinds: dict[str, Iterable[SignedRecord]] = {
        "fix evidence": store.fixes.evidence(mine).values(),
        "outcomes of plans": store.plans.outcomes(),
        "validations": itertools.chain.from_iterable(store.fixes.validations(view.fix.fix_id) for view in serving),
        "golden samples": itertools.chain.from_iterable(map(store.goldens.latest, store.goldens.counts())),
    }
    for name, records in kinds.items():
        unsigned = altered = 0
        for one in records:
            try:
                ring.verify(one.signed_bytes(), one.signature)
            except SignatureRefused:
                unsigned += one.signature is None
                altered += one.signature is not None and ring.knows(one.signature)
        if altered:
            yield Check(
                name=name,
                status="problem",
                detail=f"{altered} were altered after they were signed, and speak for no fix any more; look who can "
                "write to the store",
            )
        if unsigned:
            yield Check(
                name=name,
                status="warning",
                detail=f"{unsigned} are signed by nobody, and speak for no fix: written by an older healspan, left by "
                "an erasure, or forged; look who can write to the store",
            )
