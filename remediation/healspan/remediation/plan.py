"""A plan: fixes of several boundaries of one pipeline that heal only together, verified and rewarded as one.

Fix A lets the run reach failure B, whose fix may let it reach failure C. A plan is that chain, found when a run
closes; each later run that goes its way gives it one outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid5

from pydantic import Field

from healspan.remediation.fix import SignedRecord
from healspan.remediation.record import Record, content_address

__all__ = ["DEEPEST", "SHRINK", "Link", "Plan", "PlanOutcome", "PlanReward", "plan_reward"]

DEEPEST = 3
"""Fixes in a chain; a failure behind them is not healed any more."""

SHRINK = 6.0
"""Outcomes that the prior of a plan weighs as much as."""


class Link(Record):
    """One fix of a plan, where it acts."""

    boundary: str
    fix_id: str


class Plan(Record):
    """An ordered chain of fixes; equal chains found by two processes are one plan."""

    plan_id: str
    """Content address of all but the time."""
    pipeline: str
    context_keys: dict[str, str] = Field(default_factory=dict)
    links: tuple[Link, ...] = Field(min_length=2)
    """In the order in which they act; every one but the first is needed only because one before it acted."""
    found_at: datetime

    @classmethod
    def of(cls, pipeline: str, context_keys: dict[str, str], links: Sequence[Link], *, found_at: datetime) -> Plan:
        """Give a chain its content address."""
        content = {
            "pipeline": pipeline,
            "context_keys": context_keys,
            "links": [link.model_dump() for link in links],
        }
        return cls(
            plan_id=content_address(content),
            pipeline=pipeline,
            context_keys=context_keys,
            links=tuple(links),
            found_at=found_at,
        )

    @property
    def in_words(self) -> str:
        """The boundaries in order, with the beginning of each fix's id."""
        return " -> ".join(f"{link.boundary} ({link.fix_id[:12]})" for link in self.links)


class PlanOutcome(SignedRecord):
    """How a plan did in one run."""

    outcome_id: UUID
    plan_id: str
    run_id: UUID
    timestamp: datetime
    reward: int | None = Field(ge=0, le=1)
    """1 if every member resolved its call with a valid output and nothing went wrong afterwards, 0 if one of these
    is false, None if one is unknown."""
    reason: str

    @classmethod
    def of(cls, plan: Plan, run_id: UUID, reward: int | None, reason: str, *, at: datetime) -> PlanOutcome:
        """Make the one outcome of a plan in a run; made twice, it is the same."""
        return cls(
            outcome_id=uuid5(run_id, plan.plan_id),
            plan_id=plan.plan_id,
            run_id=run_id,
            timestamp=at,
            reward=reward,
            reason=reason,
        )


class PlanReward(Record):
    """A plan as one arm: what is expected of it, and how that compares with its fixes taken alone."""

    expected: float = Field(ge=0, le=1)
    prior: float = Field(ge=0, le=1)
    """What its fixes would give if they had nothing to do with each other: the product of their means."""
    lift: float = Field(ge=0)
    """`expected` over `prior`: above 1 where they do better together."""


def plan_reward(members: Sequence[float], successes: int, failures: int) -> PlanReward:
    """Return the reward of a plan with a Beta posterior around the product of its members' means.

    Args:
        members: expected reward of each fix alone, in (0, 1].
        successes: outcomes with reward 1.
        failures: outcomes with reward 0; the unknown ones are censored.
    """
    prior = math.prod(members)
    expected = (SHRINK * prior + successes) / (SHRINK + successes + failures)
    return PlanReward(expected=expected, prior=prior, lift=expected / prior if prior else 0.0)
