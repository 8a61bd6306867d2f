"""Masking: fixes that fire so often that they hide a fault, each with the draft of a ticket. All pure.

What counts is the share of a boundary's calls that one fix has healed within a window, and of that a lower bound:
calls that fail together, as those of one bad delivery do, are no independent draws. So the bound is the lower one of
two, Clopper and Pearson's, which takes them for independent, and one whose variance comes from how much the share
hangs on single hours of the window (the jackknife).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field
from scipy.stats import beta, t

from healspan.remediation.record import Record
from healspan.remediation.settings import Settings
from healspan.remediation.store.analysis import CallFact, HealFact
from healspan.remediation.store.masking import MaskingAlarm

__all__ = ["MaskingLimits", "Share", "at_least", "draft", "is_alarm", "shares", "window"]

_ERROR = 0.05
"""How often a lower bound may be too high."""

_FEWEST_HOURS = 3
"""From fewer nobody knows how hours differ."""


class MaskingLimits(Record):
    """From when on a fix that fires is a symptom."""

    share: float = Field(default=0.05, gt=0, lt=1)
    heals: int = Field(default=50, ge=1)
    hours: int = Field(default=24, ge=4)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what an operator has decided."""
        return cls(share=settings.masking_share, heals=settings.masking_heals, hours=settings.masking_hours)


class Share(NamedTuple):
    """How much of a boundary's calls one fix has healed."""

    fix_id: str
    boundary: str
    healed: int
    calls: int
    at_least: float
    """Lower bound of the share."""

    @property
    def share(self) -> float:
        """Of those calls, as they were."""
        return self.healed / self.calls


def window(now: datetime, limits: MaskingLimits) -> datetime:
    """Return the beginning of the window: a full hour, as calls are counted by the hour."""
    return (now - timedelta(hours=limits.hours)).replace(minute=0, second=0, microsecond=0)


def shares(heals: Iterable[HealFact], calls: Iterable[CallFact]) -> tuple[Share, ...]:
    """Return the share of every fix that has healed anything, in order of `fix_id`."""
    called: defaultdict[str, defaultdict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    healed: defaultdict[tuple[str, str], defaultdict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    for call in calls:
        called[call.boundary][call.hour] += call.calls
    for heal in heals:
        healed[heal.fix_id, heal.boundary][heal.hour] += heal.times
    found = []
    for (fix_id, boundary), by_hour in sorted(healed.items()):
        # A spool that ran full, or a process that was killed, leaves heals without calls. Such an hour says nothing.
        hours = [hour for hour, number in sorted(called[boundary].items()) if 2 * number >= by_hour.get(hour, 0)]
        saved = [by_hour.get(hour, 0) for hour in hours]
        # Around a full hour a call may be told of on the other side of it; a healed call is a call.
        made = [max(called[boundary][hour], number) for hour, number in zip(hours, saved, strict=True)]
        if any(saved):
            found.append(Share(fix_id, boundary, sum(saved), sum(made), at_least(saved, made)))
    return tuple(found)


def at_least(healed: Sequence[int], calls: Sequence[int]) -> float:
    """Return the lower bound of a share: in 19 of 20 cases it is greater.

    Args:
        healed: calls that were healed, by hour.
        calls: all calls of the same hours, each at least as many; hours without any say nothing.
    """
    saved, made = (np.array(values, dtype=float) for values in (healed, calls))
    saved, made = saved[made > 0], made[made > 0]
    hours = len(made)
    if hours < _FEWEST_HOURS or not saved.any():
        return 0.0
    total, number = float(made.sum()), float(saved.sum())
    independent = float(beta.ppf(_ERROR, number, total - number + 1.0))
    share = number / total
    # The jackknife: what the share would be without each hour. So one hour that outweighs all others is no proof.
    without = (number - saved) / (total - made)
    variance = (hours - 1) / hours * float(((without - without.mean()) ** 2).sum())
    by_hour = share - float(t.ppf(1.0 - _ERROR, hours - 1)) * variance**0.5
    return float(max(min(independent, by_hour), 0.0))


def is_alarm(one: Share, limits: MaskingLimits, *, was: bool) -> bool:
    """Tell whether a fix fires too often; one that did (`was`) does until its share itself is small enough."""
    if was:
        return one.share > limits.share
    return one.healed >= limits.heals and one.at_least > limits.share


def draft(
    one: Share,
    *,
    instruction: str,
    serves_since: datetime,
    limits: MaskingLimits,
    earlier: Mapping[str, MaskingAlarm],
    now: datetime,
) -> MaskingAlarm:
    """Return the alarm for a fix, with the draft of its ticket.

    Args:
        one: how much it heals.
        instruction: what it does, in its own words.
        serves_since: when it came to serve.
        limits: the window is theirs.
        earlier: alarms that are known already, by fix.
        now: the moment up to which was counted.
    """
    since = earlier[one.fix_id].since if one.fix_id in earlier else now
    name = one.fix_id[:12]
    title = f"{one.boundary}: one fix heals {one.share:.0%} of all calls"
    ticket = "\n".join(
        (
            f"What fires: fix {name}. {instruction}",
            f"How often: {one.healed:,} of the {one.calls:,} calls of {one.boundary} in {limits.hours} hours "
            f"({one.share:.1%}; with 95 % confidence more than {one.at_least:.1%}).",
            f"Since when: noticed on {_minute(since)}; the fix serves since {_minute(serves_since)}.",
            "What it means: probably an architectural deficiency. What fails so often is no exception but a kind of "
            "input, or a dependency, that the code does not know; as long as the fix heals it nobody sees that, and "
            "whatever else goes wrong on that way is hidden too.",
            f"What to do: read 'healspan fixes explain {name}'; then have the source send what the code expects, or "
            "teach the code what the fix does and let the fix retire. If it may stay as it is, say so with "
            f"'healspan review answer {name} --reason TEXT': it is asked again when the share grows.",
        )
    )
    return MaskingAlarm(
        fix_id=one.fix_id,
        boundary=one.boundary,
        healed=one.healed,
        calls=one.calls,
        hours=limits.hours,
        share=round(one.share, 4),
        at_least=round(one.at_least, 4),
        since=since,
        updated_at=now,
        title=title,
        ticket=ticket,
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
