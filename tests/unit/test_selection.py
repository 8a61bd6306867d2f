"""Which of several fixes is tried: mostly the surest, sometimes chance, and always with a known probability."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.evidence import Evidence, Outcome, Result
from healspan.remediation.posterior import Beta
from healspan.remediation.selection import SELECTION, Arm, Selection

START = datetime(2026, 1, 1, tzinfo=UTC)

arms_of = st.lists(
    st.tuples(st.floats(0.5, 60.0), st.floats(0.5, 60.0), st.booleans()),
    min_size=1,
    max_size=4,
).map(lambda rows: [Arm(f"f{n}", Beta(a, b), explorable=free) for n, (a, b, free) in enumerate(rows)])


class NoChance(Random):
    """A source that must not be asked."""

    def random(self) -> float:
        raise AssertionError("chance was asked although there was nothing to choose")


def test_a_fix_without_rivals_is_certain_and_nothing_is_drawn() -> None:
    choice = SELECTION.choose([Arm("only", Beta(1.0, 9.0))], NoChance())
    assert (choice.fix_id, choice.propensity, choice.explored) == ("only", 1.0, False)


def test_the_surest_is_tried_where_exploring_is_not_allowed() -> None:
    arms = [Arm("new", Beta(3.6, 2.4)), Arm("proven", Beta(40.0, 4.0))]
    choice = SELECTION.choose(arms, NoChance(), explore=False)
    assert (choice.fix_id, choice.propensity) == ("proven", 1.0)


def test_nothing_is_tried_out_that_could_do_lasting_harm() -> None:
    arms = [Arm("risky", Beta(3.6, 2.4), explorable=False), Arm("proven", Beta(40.0, 4.0))]
    choice = SELECTION.choose(arms, NoChance())
    assert (choice.fix_id, choice.propensity) == ("proven", 1.0)


def test_sure_is_better_than_promising() -> None:
    arms = [Arm("promising", Beta(8.0, 0.6)), Arm("sure", Beta(90.0, 10.0))]
    assert arms[0].posterior.mean > arms[1].posterior.mean
    assert Selection(explore=0.0).choose(arms, Random(1)).fix_id == "sure"


def test_harm_and_latency_cost() -> None:
    same = Beta(20.0, 4.0)
    rule = Selection(explore=0.0)
    assert rule.choose([Arm("a", same, harm=2.0), Arm("b", same, harm=0.5)], Random(1)).fix_id == "b"
    assert rule.choose([Arm("a", same, latency_ms=2_000.0), Arm("b", same)], Random(1)).fix_id == "b"


def test_between_equals_preference_decides_then_the_name() -> None:
    same = Beta(3.6, 2.4)
    rule = Selection(explore=0.0)
    assert rule.choose([Arm("a", same, preference=-1.0), Arm("b", same)], Random(1)).fix_id == "b"
    assert rule.choose([Arm("b", same), Arm("a", same)], Random(1)).fix_id == "a"


@settings(max_examples=50)
@given(arms=arms_of, seed=st.integers(0, 2**32))
def test_a_choice_is_one_of_the_arms_with_a_usable_propensity_whatever_their_order(arms: list[Arm], seed: int) -> None:
    choice = SELECTION.choose(arms, Random(seed))
    assert choice.fix_id in {arm.fix_id for arm in arms}
    assert SELECTION.least <= choice.propensity <= 1.0
    assert SELECTION.choose(arms[::-1], Random(seed)) == choice, "equal evidence and chance, equal choice"


def test_propensities_are_how_often_each_is_chosen() -> None:
    arms = [Arm("proven", Beta(12.0, 4.0)), Arm("new", Beta(3.6, 2.4)), Arm("bad", Beta(2.0, 6.0))]
    chance, number = Random(7), 6_000
    choices = [SELECTION.choose(arms, chance) for _ in range(number)]
    often = Counter(choice.fix_id for choice in choices)
    said = {choice.fix_id: choice.propensity for choice in choices}
    for fix_id, propensity in said.items():
        # Two hundred draws of a share, and the noise of this very count.
        assert often[fix_id] / number == pytest.approx(propensity, abs=0.02)
    assert sum(said.values()) == pytest.approx(1.0, abs=0.02)


# What it is worth: the best of five fixes breaks halfway

RATES = (0.9, 0.7, 0.6, 0.5, 0.4)
PULLS, BREAKS = 2_000, 1_000


def regret(choose: Callable[[int, list[list[bool]]], int], seed: int) -> float:
    """Play, and return how much less was healed than the best fix would have."""
    chance = random.Random(seed)
    seen: list[list[bool]] = [[] for _ in RATES]
    lost = 0.0
    for pull in range(PULLS):
        rates = (0.2, *RATES[1:]) if pull >= BREAKS else RATES
        arm = choose(pull, seen)
        seen[arm].append(chance.random() < rates[arm])
        lost += max(rates) - rates[arm]
    return lost


def ours(seed: int) -> Callable[[int, list[list[bool]]], int]:
    chance = Random(seed)
    known = [Evidence(fix_id=f"f{number}") for number in range(len(RATES))]
    folded = [0] * len(RATES)

    def choose(pull: int, seen: list[list[bool]]) -> int:
        now = START + timedelta(minutes=pull)
        for number, results in enumerate(seen):
            for result in results[folded[number] :]:
                said = Result.SUCCESS if result else Result.FAILURE
                known[number] = known[number].after(Outcome(said, "", now))
            folded[number] = len(results)
        arms = [Arm(one.fix_id, one.posterior(now, "")) for one in known]
        return int(SELECTION.choose(arms, chance).fix_id[1:])

    return choose


def raw_ratio(pull: int, seen: list[list[bool]]) -> int:
    return max(range(len(seen)), key=lambda arm: sum(seen[arm]) / len(seen[arm]) if seen[arm] else 1.0)


def test_a_fix_that_breaks_is_left_sooner_than_by_its_raw_record() -> None:
    seeds = range(4)
    our_regret = sum(regret(ours(seed), seed) for seed in seeds) / len(seeds)
    raw_regret = sum(regret(raw_ratio, seed) for seed in seeds) / len(seeds)
    print(f"regret after {PULLS} calls: ours {our_regret:.0f}, raw success ratio {raw_regret:.0f}")
    assert our_regret < 0.6 * raw_regret
