"""What the trial decides about fixes of known quality, and what choosing costs; simulated with the code that decides.

    python benchmarks/trial.py [--out FILE] [--quick]

`trial.<rate>`: a new fix whose values are right at that rate, until it is accepted or suspended: `accepted`,
`suspended` (shares) and `uses` (mean until then). `active.<rate>`: an accepted one: mean uses until it is demoted
(`until_demoted`) and, by a human's approval, suspended (`until_suspended`); `null` where none came in the time given.
`regret`: calls lost of 2,000 among five fixes whose best one breaks halfway, against the raw success ratio, which
never forgets.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from figures import command_line, tell

from healspan.remediation.evidence import Evidence, Outcome, Result
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.selection import SELECTION, Arm
from healspan.remediation.trial import Decision, rule

START = datetime(2026, 1, 1, tzinfo=UTC)
BETWEEN = timedelta(minutes=10)
RATES = (0.9, 0.7, 0.6, 0.5, 0.4)
PULLS, BREAKS, BROKEN = 2_000, 1_000, 0.2


def evidence(state: FixState) -> Evidence:
    """Evidence at the beginning of a standing."""
    change = StateChange(
        fix_id="f", sequence=2, state=state, previous=FixState.PROPOSED, policy="", actor="", reason="", at=START
    )
    return Evidence(fix_id="f").begin(change)


def ended(state: FixState, rate: float, chance: Random, *, most: int, by_human: bool = False) -> tuple[Any, int]:
    """Use a fix until something is decided; return the decision, None if none was made, and the uses."""
    known, at = evidence(state), START
    for uses in range(1, most + 1):
        at += BETWEEN
        known = known.after(Outcome(Result.SUCCESS if chance.random() < rate else Result.FAILURE, "", at))
        ruling = rule(state, known, by_human=by_human)
        if ruling is not None:
            return ruling.decision, uses
    return None, most


def of_trial(rate: float, rounds: int, chance: Random) -> dict[str, float]:
    results = [ended(FixState.TRIAL, rate, chance, most=2_000) for _ in range(rounds)]
    return {
        "accepted": round(sum(one is Decision.ACTIVATE for one, _ in results) / rounds, 3),
        "suspended": round(sum(one is Decision.SUSPEND for one, _ in results) / rounds, 3),
        "uses": round(statistics.mean(uses for _, uses in results), 1),
    }


def of_active(rate: float, rounds: int, chance: Random) -> dict[str, float | None]:
    most = 4_000
    by_machine = [ended(FixState.ACTIVE, rate, chance, most=most) for _ in range(rounds)]
    by_human = [ended(FixState.ACTIVE, rate, chance, most=most, by_human=True) for _ in range(rounds)]
    return {"until_demoted": mean_time(by_machine), "until_suspended": mean_time(by_human)}


def mean_time(results: list[tuple[Any, int]]) -> float | None:
    """Estimate the mean time to an event from times some of which ended without it: exposure over events."""
    events = sum(decision is not None for decision, _ in results)
    return round(sum(uses for _, uses in results) / events, 1) if events else None


def regret(choose: Callable[[int, list[list[bool]]], int], chance: Random) -> float:
    """Return how many calls fewer were healed than the best fix would have healed."""
    seen: list[list[bool]] = [[] for _ in RATES]
    lost = 0.0
    for pull in range(PULLS):
        rates = (BROKEN, *RATES[1:]) if pull >= BREAKS else RATES
        arm = choose(pull, seen)
        seen[arm].append(chance.random() < rates[arm])
        lost += max(rates) - rates[arm]
    return lost


def ours(chance: Random) -> Callable[[int, list[list[bool]]], int]:
    """Choose as the engine does."""
    known = [Evidence(fix_id=str(number)) for number in range(len(RATES))]
    folded = [0] * len(RATES)

    def choose(pull: int, seen: list[list[bool]]) -> int:
        now = START + timedelta(minutes=pull)
        for number, results in enumerate(seen):
            for good in results[folded[number] :]:
                known[number] = known[number].after(Outcome(Result.SUCCESS if good else Result.FAILURE, "", now))
            folded[number] = len(results)
        return int(SELECTION.choose([Arm(one.fix_id, one.posterior(now, "")) for one in known], chance).fix_id)

    return choose


def raw_ratio(_pull: int, seen: list[list[bool]]) -> int:
    """Choose the best record so far; who has none comes first."""
    return max(range(len(seen)), key=lambda arm: sum(seen[arm]) / len(seen[arm]) if seen[arm] else 1.0)


def main() -> None:
    """Simulate and print."""
    parser = command_line(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    chance = Random(20261126)
    rounds = 50 if options.quick else 1_000
    games = 2 if options.quick else 10
    figures: dict[str, Any] = {
        "trial": {str(rate): of_trial(rate, rounds, chance) for rate in (1.0, 0.99, 0.95, 0.9, 0.8, 0.5)},
        "active": {str(rate): of_active(rate, max(rounds // 20, 5), chance) for rate in (0.99, 0.95, 0.8, 0.5)},
        "regret": {
            "ours": round(statistics.mean(regret(ours(Random(seed)), Random(seed)) for seed in range(games)), 1),
            "raw_ratio": round(statistics.mean(regret(raw_ratio, Random(seed)) for seed in range(games)), 1),
        },
    }
    tell(figures, options.out)


if __name__ == "__main__":
    main()
