"""Which of several fixes is tried: mostly the surest, sometimes chance, and always with a known probability."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from benchmarks.trial import ours, raw_ratio, regret
from hypothesis import given, settings
from hypothesis import strategies as st

from healspan.remediation.fix import RiskLevel
from healspan.remediation.posterior import Beta
from healspan.remediation.selection import HARM, SELECTION, Arm, Selection

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


def test_chance_prefers_what_has_done_better() -> None:
    arms = [Arm("sure", Beta(40.0, 4.0)), Arm("good", Beta(30.0, 6.0)), Arm("bad", Beta(4.0, 30.0))]
    by_chance = Selection(explore=1.0)
    chosen = Counter(by_chance.choose(arms, Random(seed)).fix_id for seed in range(200))
    assert chosen["sure"] > chosen["good"] > chosen["bad"]


def test_chance_minds_seconds_and_hardly_a_tenth_of_one() -> None:
    def shares(latency_ms: float) -> Counter[str]:
        arms = [Arm("quick", Beta(6.0, 3.0)), Arm("slow", Beta(6.0, 3.0), latency_ms=latency_ms)]
        by_chance = Selection(explore=1.0)
        return Counter(by_chance.choose(arms, Random(seed)).fix_id for seed in range(200))

    assert shares(100.0)["slow"] > 60
    assert shares(5_000.0)["slow"] < 20


def test_the_surest_keeps_its_share_where_chance_may_only_choose_among_others() -> None:
    arms = [Arm("sure", Beta(40.0, 4.0), explorable=False), Arm("new", Beta(3.6, 2.4)), Arm("other", Beta(3.6, 2.4))]
    said = {
        (one.fix_id, one.explored): one.propensity for one in (SELECTION.choose(arms, Random(n)) for n in range(99))
    }
    assert said.pop(("sure", False)) == pytest.approx(1.0 - SELECTION.explore)
    assert set(said) == {("new", True), ("other", True)}, "two are enough to choose from"
    assert sum(said.values()) == pytest.approx(SELECTION.explore)


def test_the_riskier_a_fix_the_more_its_failure_costs() -> None:
    assert 0.0 < HARM[RiskLevel.LOW] < HARM[RiskLevel.MEDIUM] < HARM[RiskLevel.HIGH]


# What it is worth: the best of five fixes breaks halfway


def test_a_fix_that_breaks_is_left_sooner_than_by_its_raw_record() -> None:
    seeds = range(4)
    our_regret = sum(regret(ours(Random(seed)), Random(seed)) for seed in seeds)
    raw_regret = sum(regret(raw_ratio, Random(seed)) for seed in seeds)
    assert our_regret < 0.6 * raw_regret
