"""Refusals: why Claude is not asked, in a sentence that says until when, and which setting decides it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from healspan.remediation.claude.breaker import BreakerView
from healspan.remediation.errors import StoreError
from healspan.remediation.record import Record

__all__ = ["Refusal", "RefusalState", "breaker_open", "busy", "cooldown", "diagnosing", "lost", "store_away"]

RefusalState = Literal["diagnosing", "budget", "breaker_open", "cooldown", "busy", "store_away"]


class Refusal(Record):
    """Claude is not asked."""

    state: RefusalState
    reason: str


def diagnosing(until: datetime | None) -> Refusal:
    """Another call has the right to diagnose the pattern; `until` is None for one of this process."""
    if until is None:
        return Refusal(state="diagnosing", reason="another call of this process is diagnosing this kind of failure")
    return Refusal(
        state="diagnosing",
        reason="another process, or one that was killed, has the right to diagnose this kind of failure; it ends at "
        f"{until:%H:%M:%S} UTC at the latest, unless it asks again (HEALSPAN_CLAUDE_LEASE_SECONDS)",
    )


def lost() -> Refusal:
    """A diagnosis under way has lost its right."""
    return Refusal(
        state="diagnosing",
        reason="this diagnosis was left, or another one has had the right since, as it went on for longer than its "
        "lease without a request; if that happens often, raise HEALSPAN_CLAUDE_LEASE_SECONDS",
    )


def busy(under_way: int) -> Refusal:
    """The process is diagnosing as much as it may."""
    what = "diagnosis" if under_way == 1 else "diagnoses"
    return Refusal(
        state="busy",
        reason=f"this process has {under_way} {what} with Claude under way, and HEALSPAN_CLAUDE_CONCURRENT allows no "
        "more; a later failure of this kind is diagnosed",
    )


def cooldown(state: str, until: datetime) -> Refusal:
    """The pattern rests, since its last diagnosis ended so."""
    if state == "healed":
        why = f"a fix of this kind of failure was found a moment ago and is on its way here, until {until:%H:%M:%S} UTC"
        return Refusal(state="cooldown", reason=why)
    when = f"{until:%Y-%m-%d %H:%M:%S} UTC (HEALSPAN_CLAUDE_COOLDOWN_MINUTES)"
    if state == "proposed":
        why = f"what Claude proposed waits for a human ('healspan review list'); it is not asked again before {when}"
    else:
        why = f"the last diagnosis of this kind of failure gave no fix ({state}); the next one may begin at {when}"
    return Refusal(state="cooldown", reason=why)


def breaker_open(view: BreakerView, until: datetime) -> Refusal:
    """The server is left alone; `until` counts while the breaker is open."""
    times = "once" if view.failures == 1 else f"{view.failures} times in a row"
    failed = f"the server failed {times} (at last: {view.last})"
    if view.state == "half_open":
        return Refusal(state="breaker_open", reason=f"{failed}; one request is trying whether it is back")
    advice = "check the key in ANTHROPIC_API_KEY; " if view.last == "unauthorized" else ""
    return Refusal(
        state="breaker_open",
        reason=f"{failed}; {advice}it is left alone until {until:%H:%M:%S} UTC (HEALSPAN_CLAUDE_BREAKER_SECONDS)",
    )


def store_away(error: StoreError) -> Refusal:
    """What was spent cannot be known."""
    return Refusal(state="store_away", reason=f"the budgets cannot be known, so nothing is asked: {error}")
