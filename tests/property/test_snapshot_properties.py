"""Snapshots of what serves: whatever changed in which order, they are what one made of everything at once would be."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import make_change, make_fix, make_pattern

from healspan.remediation.fix import FixState, Match
from healspan.remediation.store import Candidate, Snapshot

FIXES = [
    make_fix("a"),
    make_fix("a", context_keys={"document_type": "10-K"}),
    make_fix("a", match=Match.LOOSE),
    make_fix("b"),
    make_fix("b", match=Match.BOUNDARY),
]
CANDIDATES = [Candidate(fix, make_change(fix, 1, FixState.TRIAL, None)) for fix in FIXES]
BY_ID = {one.fix.fix_id: one for one in CANDIDATES}

_scores = st.none() | st.sampled_from([0.1, 0.4, 0.9])
_news = st.dictionaries(st.sampled_from(sorted(BY_ID)), st.tuples(st.booleans(), _scores), max_size=4)
_changes = st.lists(st.tuples(_news, st.none() | st.booleans()), max_size=8)


@settings(deadline=None)
@given(_changes)
def test_changes_one_after_the_other_come_to_what_all_at_once_would(
    changes: list[tuple[dict[str, tuple[bool, float | None]], bool | None]],
) -> None:
    snapshot, served, off = Snapshot(), dict[str, Candidate](), False
    for told, disabled in changes:
        before = snapshot
        news = {
            fix_id: Candidate(BY_ID[fix_id].fix, BY_ID[fix_id].change, score) if serves else None
            for fix_id, (serves, score) in told.items()
        }
        snapshot = snapshot.changed(news, disabled=disabled)
        served = {key: one for key, one in (served | news).items() if one is not None}
        off = off if disabled is None else disabled
        # One who holds the earlier one sees it as it was.
        assert before.changed({}) is before
        assert dict(snapshot.candidates) == served
    whole = Snapshot().changed(served, disabled=off)
    assert snapshot == whole
    assert {one.fix.fix_id for group in snapshot.by_scope.values() for one in group} == served.keys()
    assert snapshot.serving == (() if off else tuple(snapshot.candidates.values()))


@given(st.dictionaries(st.sampled_from(sorted(BY_ID)), _scores), st.sampled_from(["10-K", "10-Q"]))
def test_the_closest_fit_comes_first_and_then_the_better_score(scores: dict[str, float | None], document: str) -> None:
    news = {fix_id: Candidate(BY_ID[fix_id].fix, BY_ID[fix_id].change, score) for fix_id, score in scores.items()}
    snapshot = Snapshot().changed(news)
    groups = snapshot.groups(make_pattern("a"), "m", {"document_type": document})
    closeness = [Match.EXACT, Match.LOOSE, Match.BOUNDARY]
    places = [closeness.index(one.fix.scope.match) for group in groups for one in group]
    assert places == sorted(places)
    for group in groups:
        ranked = [0.4 if one.score is None else one.score for one in group]
        assert ranked == sorted(ranked, reverse=True)
    found = {one.fix.fix_id for group in groups for one in group}
    others = {one.fix.fix_id for one in CANDIDATES if one.fix.scope.exact == make_pattern("b").exact}
    for_all = {one.fix.fix_id for one in CANDIDATES if one.fix.scope.match is Match.BOUNDARY}
    assert found == scores.keys() - (others - for_all)
    assert Snapshot(disabled=True).changed(news).groups(make_pattern("a"), "m", {}) == []
