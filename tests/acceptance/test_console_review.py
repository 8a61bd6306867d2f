"""The console where a human decides: what waits for review, and the fixes."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest
from tests.console import FIXES, REVIEW, addressed, blocks, opened, state_of, words
from tests.observe import drained, wait_until
from tests.service_unchecked import received

from healspan.remediation import review
from healspan.remediation.fix import FixState, RiskLevel
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.reviewers import open_reviewer
from healspan.remediation.runtime import Runtime

pytestmark = pytest.mark.usefixtures("on_this_machine")


# Review


def test_an_empty_review_queue_says_so(world):
    assert "Nothing waits for you" in words(opened(REVIEW))


def test_a_suspended_fix_is_shown_with_the_way_back(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.change(fix, FixState.SUSPENDED, reason="3 failures in a row")
    app = opened(REVIEW)
    assert "Nothing waits for you" not in words(app)
    [told] = [warning.value for warning in app.warning]
    assert "3 failures in a row" in told
    assert "1. strategy: call 'prose'" in words(app)
    app.button(key=f"approve-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.ACTIVE


def test_a_suspended_fix_is_retired_where_it_is_shown(world):
    fix = world.fix("revenue", state=FixState.TRIAL)
    world.change(fix, FixState.SUSPENDED)
    opened(REVIEW).button(key=f"reject-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.RETIRED


def test_a_fix_that_hides_a_fault_may_stay_once_a_human_says_so(world, hiding):
    app = opened(REVIEW)
    app.text_input(key=f"answer-{hiding.fix_id}").set_value("the source is mended in May").run()
    app.button(key=f"stay-{hiding.fix_id}").click().run()
    assert "Nothing waits for you" in words(app)
    assert world.store.masking.answered(hiding.fix_id).reason == "the source is mended in May"
    assert state_of(world, hiding) is FixState.TRIAL


def test_a_console_open_to_the_network_answers_no_alarm(world, hiding):
    app = opened(REVIEW)
    config.set_option("server.address", "0.0.0.0")
    app.button(key=f"stay-{hiding.fix_id}").click().run()
    assert world.store.masking.answered(hiding.fix_id) is None
    assert app.button(key=f"stay-{hiding.fix_id}").disabled


def test_a_fix_that_hides_a_fault_is_shown_as_a_ticket(world, hiding):
    fix = hiding
    told = words(opened(REVIEW)).replace("\\", "")
    assert "revenue: one fix heals 20% of all calls" in told
    assert f"healspan review answer {fix.fix_id[:12]}" in told


def test_a_proposed_fix_is_shown_with_diagnosis_steps_risk_and_evidence(world):
    incident = world.failure("revenue")
    world.fix("revenue", risk=RiskLevel.MEDIUM, like=incident)
    text = words(opened(REVIEW)).replace("\\", "")
    assert "When revenue fails this way, use its strategy 'prose'." in text
    assert "The primary way does not fit this input" in text
    assert "1. strategy: call 'prose'" in text
    assert "medium risk" in text
    assert "1 incident in its scope" in text


def test_approving_makes_the_fix_serve_with_a_humans_signature(world):
    fix = world.fix("revenue", risk=RiskLevel.MEDIUM)
    app = opened(REVIEW)
    app.text_input(key=f"reason-{fix.fix_id}").set_value("read the diff with Ann").run()
    app.button(key=f"approve-{fix.fix_id}").click().run()
    assert not app.exception
    view = world.store.fixes.get(fix.fix_id)
    assert view.state is FixState.ACTIVE
    assert view.changes[-1].signature.algorithm == "ed25519"
    assert view.changes[-1].reason == "read the diff with Ann"
    assert "No fix waits for approval" in words(app) or "Nothing waits for you" in words(app)


def test_a_long_queue_is_drawn_ten_at_a_time_and_counted_whole(world):
    for number in range(12):
        world.fix("revenue", kind=f"Error{number}")
    app = opened(REVIEW)
    assert "12 fixes wait" in words(app)
    assert sum(button.label == "Approve" for button in app.button) == 10
    app.button(key="more").click().run()
    assert sum(button.label == "Approve" for button in app.button) == 12


def test_what_asks_whether_to_reject_belongs_to_one_fix_and_closes_with_it(world):
    fixes = {world.fix("revenue", kind=f"Error{number}").fix_id for number in range(2)}
    app = opened(REVIEW)
    asking = [block.proto.id for block in blocks(app.main) if block.type == "popover"]
    assert {fix_id for fix_id in fixes for one in asking if fix_id in one} == fixes


def test_rejecting_retires_the_fix(world):
    fix = world.fix("revenue")
    opened(REVIEW).button(key=f"reject-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.RETIRED


def test_a_decision_on_what_somebody_else_has_decided_changes_nothing_and_says_so(world):
    fix = world.fix("revenue")
    late, early = opened(REVIEW), opened(REVIEW)
    early.button(key=f"approve-{fix.fix_id}").click().run()
    late.button(key=f"reject-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.ACTIVE
    assert [toast for toast in late.toast if "active" in toast.value]


def test_the_first_decision_says_whose_key_this_host_trusts_from_now_on(world):
    first, second = world.fix("revenue"), world.fix("cogs")
    app = opened(REVIEW)
    app.button(key=f"approve-{first.fix_id}").click().run()
    assert [toast for toast in app.toast if "from now on your key is" in toast.value]
    app.button(key=f"approve-{second.fix_id}").click().run()
    assert not [toast for toast in app.toast if "from now on" in toast.value]


def test_a_late_approval_does_not_bring_back_what_somebody_has_suspended_meanwhile(world):
    fix = world.fix("revenue")
    late, early = opened(REVIEW), opened(REVIEW)
    early.button(key=f"approve-{fix.fix_id}").click().run()
    reviewer = open_reviewer(world.settings).reviewer
    review.suspend(world.store.database, fix.fix_id, reviewer, reason="it went wrong at once")
    late.button(key=f"approve-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.SUSPENDED


def test_a_console_open_to_the_network_decides_nothing(world):
    fix = world.fix("revenue")
    app = opened(REVIEW)
    config.set_option("server.address", "0.0.0.0")
    app.button(key=f"approve-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.PROPOSED
    assert app.button(key=f"approve-{fix.fix_id}").disabled


def test_escalated_patterns_are_grouped_with_counts_contexts_and_examples(world):
    for document_type in ("10-K", "10-Q", "10-K"):
        world.failure("revenue", document_type=document_type)
    world.failure("cogs")
    app = opened(REVIEW)
    table = app.dataframe[0].value
    assert list(table["boundary"]) == ["revenue", "cogs"]
    assert list(table["incidents"]) == [3, 1]
    assert list(table["contexts"][0]) == ["10-K", "10-Q"]
    assert "3 escalated since" in words(app)


def test_a_pattern_that_a_serving_fix_covers_since_is_called_answered(world):
    incident = world.failure("revenue", ago=timedelta(hours=1))
    fix = world.fix("revenue", like=incident)
    app = opened(REVIEW)
    app.button(key=f"approve-{fix.fix_id}").click().run()
    assert f"Fix {fix.fix_id[:12]} covers it" in words(opened(REVIEW))


def test_an_approval_in_the_console_makes_the_next_call_heal(live: Runtime):
    with pytest.raises(KeyError):
        received({"received_quantity": 5})
    drained(live)
    app = opened(REVIEW)
    approve = next(button for button in app.button if button.label == "Approve")
    approve.click().run()
    fix_id = str(approve.key).removeprefix("approve-")
    wait_until(lambda: (found := live.index.latest(fix_id)) and found.state is FixState.ACTIVE, "the approval")
    assert received({"received_quantity": 5}) == 5


# Fixes


def test_without_fixes_the_page_says_where_they_come_from(world):
    assert "healspan review import" in words(opened(FIXES))


def test_fixes_are_listed_by_where_they_stand_with_their_record(world):
    serving = world.fix("revenue", state=FixState.TRIAL)
    world.fix("cogs")
    for reward in (1, 1, 0):
        world.application(serving, reward=reward)
    table = opened(FIXES).dataframe[0].value
    assert list(table["fix"]) == [serving.fix_id[:12]]
    assert (table["right"][0], table["wrong"][0], table["state"][0]) == (2, 1, "trial")
    assert "All 1." in words(opened(FIXES))
    app = opened(FIXES)
    app.segmented_control(key="group").set_value("proposed").run()
    assert list(app.dataframe[0].value["boundary"]) == ["cogs"]


def record_of(fix_id: str) -> AppTest:
    """The page of fixes at one of them."""
    return addressed(opened(FIXES), fix=fix_id)


def test_a_fix_that_is_not_there_is_said_in_words(world):
    assert "There is no fix of this id" in words(record_of("ab" * 32))


def test_an_incident_leads_to_the_record_of_its_fix(world):
    fix = world.fix("revenue", state=FixState.ACTIVE)
    incident = world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX, fix=fix)
    (link,) = opened(incident=str(incident.error_id)).get("page_link")
    assert dict(parse_qsl(link.proto.query_string)) == {"fix": fix.fix_id}


def test_a_serving_fix_is_taken_out_of_service_with_a_reason(world):
    fix = world.fix("revenue", state=FixState.ACTIVE)
    app = record_of(fix.fix_id)
    assert "found by diagnosis" in str(app.table[0].value)
    app.text_input(key=f"reason-{fix.fix_id}").set_value("wrong totals since noon").run()
    app.button(key=f"suspend-{fix.fix_id}").click().run()
    view = world.store.fixes.get(fix.fix_id)
    assert (view.state, view.changes[-1].reason) == (FixState.SUSPENDED, "wrong totals since noon")
    # What stands there afterwards is the same fix, and no button that would suspend another.
    assert fix.fix_instruction in words(app).replace("\\", "")
    assert not [button for button in app.button if button.label == "Suspend"]
    app.button(key=f"approve-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.ACTIVE


def test_a_proposed_fix_leads_to_the_review_where_what_speaks_for_it_is(world):
    app = record_of(world.fix("revenue").fix_id)
    assert not app.button
    assert "Decide in the review" in [link.proto.label for link in app.get("page_link")]


def test_a_console_open_to_the_network_suspends_nothing(world):
    fix = world.fix("revenue", state=FixState.ACTIVE)
    app = record_of(fix.fix_id)
    config.set_option("server.address", "0.0.0.0")
    app.button(key=f"suspend-{fix.fix_id}").click().run()
    assert state_of(world, fix) is FixState.ACTIVE
