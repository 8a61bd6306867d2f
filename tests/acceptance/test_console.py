"""The console on a store filled through its own writers: what people see, and that what they decide happens."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
import streamlit
from streamlit.testing.v1 import AppTest
from tests.console import APP, FIXES, HOTSPOTS, REVIEW, addressed, metric, opened, words
from tests.consulting import USAGE, WORDS, adapter, answer

from healspan.analytics import run_job
from healspan.dashboards import queries
from healspan.dashboards.cached import forget
from healspan.dashboards.charts import duration_chart
from healspan.dashboards.decisions import is_loopback
from healspan.dashboards.parts import code_of, plain
from healspan.dashboards.queries import stretch_for
from healspan.remediation.claude.consultation import Asked, Consultation
from healspan.remediation.claude.gateway import Gateway
from healspan.remediation.fix import FixState
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Decision, Incident, IncidentStatus, Tier
from healspan.remediation.store.overview import HealDuration

pytestmark = pytest.mark.usefixtures("on_this_machine")


@pytest.mark.parametrize("page", [None, REVIEW, FIXES, HOTSPOTS])
def test_a_page_begins_with_its_title_and_nothing_else(page):
    texts = [
        element.type for element in opened(page).main if element.type in {"header", "title", "markdown", "caption"}
    ]
    assert texts[0] == "header"


def test_the_icon_of_the_page_comes_from_here_and_not_from_somebody_elses_server(world, monkeypatch):
    told: dict[str, Any] = {}
    monkeypatch.setattr(streamlit, "set_page_config", lambda **options: told.update(options))
    opened()
    assert ElementTree.parse(told["page_icon"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_of_words_is_read_on_both_backgrounds_of_its_theme(theme):
    colours = tomllib.loads((APP.parent / "theme.toml").read_text())["theme"][theme]
    written = {name: colours[name] for name in ("textColor", "linkColor", "primaryColor", "redColor", "greenColor")}
    for name, colour in written.items():
        for background in ("backgroundColor", "secondaryBackgroundColor"):
            assert contrast(colour, colours[background]) >= (7 if name == "textColor" else 4), (name, background)


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of contrast, 1 to 21."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# Overview


def test_an_empty_overview_says_what_to_do_next():
    assert "healspan demo" in words(opened())


def test_the_overview_counts_what_failed_and_how_it_ended(world):
    for _ in range(6):
        world.failure("revenue", status=IncidentStatus.HEALED, tier=Tier.KNOWN_FIX)
    for _ in range(2):
        world.failure("cogs")
    app = opened()
    assert metric(app, "Incidents") == "8"
    assert metric(app, "Healed") == "75%"
    assert metric(app, "By a known fix") == "6"
    assert metric(app, "Escalated") == "2"
    assert metric(app, "Waiting for you") == "1"


def test_the_period_is_in_the_address(world):
    world.failure("revenue", ago=timedelta(days=3))
    assert metric(opened(period="all"), "Incidents") == "1"
    assert "Nothing has failed here in the last 24 h" in words(opened(period="24 h"))


def test_an_address_with_choices_that_are_none_shows_the_usual_page(world):
    world.failure("revenue")
    assert metric(opened(period="a fortnight", status="lost", live="perhaps"), "Incidents") == "1"


def test_recent_incidents_are_listed_newest_first_and_by_how_they_ended(world):
    world.failure("revenue", ago=timedelta(hours=2))
    world.failure("cogs", status=IncidentStatus.HEALED, tier=Tier.DIAGNOSIS, ago=timedelta(hours=1))
    app = opened()
    assert list(app.dataframe[0].value["boundary"]) == ["cogs", "revenue"]
    assert list(opened(status="escalated").dataframe[0].value["boundary"]) == ["revenue"]


def test_recent_incidents_are_those_of_one_boundary_where_the_address_names_it(world):
    for boundary in ("revenue", "cogs", "cogs"):
        world.failure(boundary)
    assert list(opened(boundary="cogs").dataframe[0].value["boundary"]) == ["cogs", "cogs"]
    assert "All 2." in words(opened(boundary="cogs"))


def test_a_boundary_at_which_nothing_failed_lately_shows_nobody_elses_incidents(world):
    world.failure("revenue")
    app = opened(boundary="cogs")
    assert not app.dataframe
    assert "No incident matches" in words(app)


def test_a_list_that_leaves_incidents_out_says_so(world, monkeypatch):
    monkeypatch.setattr(queries, "incident_list", partial(queries.incident_list, limit=2))
    for _ in range(3):
        world.failure("revenue")
    assert "The newest 2 of 3." in words(opened())


def test_text_in_a_list_cannot_turn_its_direction(world):
    world.failure("revenue\u202e", message="\u202egnp.exe")
    row = opened().dataframe[0].value.iloc[0]
    assert (row["boundary"], row["message"]) == ("revenue\ufffd", "\ufffdgnp.exe")
    assert opened(REVIEW).dataframe[0].value.iloc[0]["boundary"] == "revenue\ufffd"


def test_what_waits_for_a_human_counts_what_was_suspended_and_what_hides_a_fault(world, hiding):
    world.failure("cogs")
    world.fix("cogs")
    world.change(world.fix("cogs", kind="IndexError", state=FixState.TRIAL), FixState.SUSPENDED)
    assert metric(opened(), "Waiting for you") == "4"


def test_an_escalated_incident_leads_to_its_pattern_in_the_review(world):
    for _ in range(2):
        world.failure("revenue")
    incident = world.failure("cogs")
    (link,) = opened(incident=str(incident.error_id)).get("page_link")
    query = dict(parse_qsl(link.proto.query_string))
    assert query["show"] == "escalated patterns"
    assert "##### KeyError::cogs" in words(addressed(opened(REVIEW), **query)).replace("\\", "")


def test_an_incident_has_a_page_of_its_own_with_the_failing_expression_and_what_was_tried(world):
    decision = Decision(fix_id="ab" * 32, applied=True, gate="contract", reason="gross profit does not add up")
    incident = world.failure("revenue", message="'Revenues'", decisions=[decision])
    app = opened(incident=str(incident.error_id))
    text = words(app)
    assert "KeyError" in text
    assert "'Revenues'" in text
    assert "    return labels[wanted]\n           ^^^^^^^^^^^^^^" in text
    (tried,) = [table.value for table in app.table if "decided by" in table.value]
    assert list(tried["why"]) == ["gross profit does not add up"]


def test_an_incident_leads_to_its_trace_where_there_is_a_page_of_it(world, monkeypatch):
    incident = world.failure("revenue", trace_id="ab" * 16)
    assert "Open the trace" not in str(opened(incident=str(incident.error_id)))
    monkeypatch.setenv("HEALSPAN_TRACE_URL", "https://tempo.example/trace/{trace_id}")
    [button] = opened(incident=str(incident.error_id)).get("link_button")
    assert (button.proto.label, button.proto.url) == ("Open the trace", f"https://tempo.example/trace/{'ab' * 16}")


def consultation(incident: Incident, **changes: Any) -> Consultation:
    asked = Asked(
        sent="<failure>[click](http://evil.example)",
        answer=answer(adapter(WORDS)),
        usage=USAGE,
        cost_usd=Decimal("0.0231"),
        verdict="healed",
    )
    told = {
        "consultation_id": uuid7(),
        "error_id": incident.error_id,
        "pattern": incident.pattern.exact,
        "boundary": incident.module,
        "at": incident.timestamp,
        "model": "claude-opus-5-5",
        "prompt_version": "diagnose-1",
        "values": "scrubbed",
        "state": "healed",
        "asked": (asked,),
    }
    return Consultation.model_validate(told | changes)


def test_an_incident_shows_what_claude_was_asked_answered_and_paid_folded(world):
    incident = world.failure("revenue")
    assert not [one for one in opened(incident=str(incident.error_id)).expander if "Claude" in one.label]
    world.write(consultation(incident), consultation(incident, state="breaker_open", reason="left alone", asked=()))
    forget()
    app = opened(incident=str(incident.error_id))
    first, second = [one for one in app.expander if "Claude" in one.label]
    assert (first.label, second.label) == ("What Claude was asked: healed", "What Claude was asked: breaker open")
    assert not first.proto.expanded
    sent, proposed = (one.value for one in first.code)
    assert sent == "<failure>[click](http://evil.example)"
    assert WORDS.splitlines()[0] in proposed
    assert "$0.0231" in str(first.table[0].value).replace("\\", "")
    assert "The amount is written in words\\." in [one.value for one in first.markdown]
    assert [one.value for one in second.markdown] == ["left alone"]


def test_the_overview_says_what_claude_costs_today_where_it_is_asked(world):
    world.failure("revenue")
    assert "Claude today" not in words(opened())
    gateway = Gateway.open(world.settings, cost=lambda usage, model: Decimal("0.5"))
    with gateway.enter("a", "revenue") as admission:
        assert admission.reserve(900, 100, "m") is None
    gateway.close()
    forget()
    told = words(opened()).replace("\\", "")
    assert "Claude today (UTC): 1 request, $0.50 of $20.00, 1,000 of 5,000,000 tokens" in told


def test_the_way_back_from_an_incident_is_a_button(world):
    incident = world.failure("revenue")
    app = opened(incident=str(incident.error_id))
    app.button(key="back").click().run()
    assert metric(app, "Incidents") == "1"


@pytest.mark.parametrize("error_id", ["nonsense", "00000000-0000-7000-8000-000000000000"])
def test_an_incident_that_is_not_there_is_said_in_words(world, error_id):
    assert "no incident of this id" in words(opened(incident=error_id))


def test_text_from_a_failure_is_never_markup(world):
    incident = world.failure("![x](http://evil/)", error_type="app.<b>Bad</b>", message="# [click](http://evil/)")
    app = opened(incident=str(incident.error_id))
    drawn = [str(element.value) for kind in (app.title, app.header, app.markdown, app.caption) for element in kind]
    assert not any("](http" in text or "<b>" in text for text in drawn)


def test_a_damaged_store_is_said_in_words(data_dir, monkeypatch):
    broken = data_dir.parent / "broken.db"
    broken.write_bytes(b"no database" * 500)
    monkeypatch.setenv("HEALSPAN_DATABASE_URL", f"sqlite:///{broken}")
    assert "damaged" in words(opened())


# Hotspots


def test_hotspots_without_analytics_say_what_to_run(world):
    assert "healspan analytics run" in words(opened(HOTSPOTS))


def test_hotspots_are_ranked_with_their_explanation(world):
    world.calls("revenue", 100)
    world.calls("cogs", 100, document_type="10-Q")
    for _ in range(20):
        world.failure("cogs", document_type="10-Q")
    run_job(world.store)
    table = opened(HOTSPOTS).dataframe[0].value
    assert list(table["boundary"]) == ["cogs", "revenue"]
    assert list(table["document type"]) == ["10-Q", "10-K"]
    assert table["why"][0].startswith("20% of calls fail")


def test_the_measure_of_the_heat_map_is_in_the_address(world):
    world.calls("rare", 5)
    world.calls("busy", 500)
    for boundary, number in (("rare", 4), ("busy", 50)):
        for _ in range(number):
            world.failure(boundary)
    run_job(world.store)
    assert list(opened(HOTSPOTS).dataframe[0].value["boundary"]) == ["busy", "rare"]
    # Changing pages forgets the address, as in a browser: so the page itself is opened.
    view = AppTest.from_file(str(APP.parent / HOTSPOTS), default_timeout=60)
    view.query_params["by"] = "share of calls"
    assert list(view.run().dataframe[0].value["boundary"]) == ["rare", "busy"]


# Small things


def test_an_address_of_this_machine_is_told_from_one_of_the_network():
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "", "10.0.0.7", "example.org")))


def test_markup_is_escaped_letter_by_letter():
    assert plain("a *b* [c](d)\n# e") == r"a \*b\* \[c\]\(d\) \# e"


@pytest.mark.parametrize(
    "address", ["http://evil.example", "HTTPS://evil.example", "www.evil.example", "a@evil.example"]
)
def test_an_address_in_bare_words_is_no_link(address):
    # As the browser's reader of Markdown looks for them, after it has taken the escapes away.
    seen = plain(f"see {address}/x").replace("\\", "")
    assert seen.replace("\u2060", "") == f"see {address}/x"
    assert not re.search(r"(?i)https?://|www\.|[-.\w+]@[-\w]", seen)


def test_brackets_in_a_badge_do_not_end_it(world):
    incident = world.failure("[a](b)")
    [drawn] = [one.value for one in opened(incident=str(incident.error_id)).markdown if "badge" in one.value][1:2]
    assert drawn.endswith(r"\[a\]\(b\)]")


def test_an_expression_that_is_not_in_its_source_line_is_not_underlined(world):
    incident = world.failure("revenue", line="return found")
    assert "^" not in code_of(incident.frames)


@pytest.mark.parametrize(
    ("milliseconds", "ticks"),
    [
        ((3, 150), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]),
        ((0.05, 90_000), [0.01, 0.1, 1, 10, 100, 1_000, 10_000, 100_000]),
    ],
)
def test_the_axis_of_durations_has_round_numbers(milliseconds, ticks):
    chart = duration_chart(HealDuration(tier=Tier.KNOWN_FIX, milliseconds=one) for one in milliseconds)
    assert chart.to_dict()["encoding"]["x"]["axis"]["values"] == ticks


@pytest.mark.parametrize(
    ("length", "stretch"),
    [
        (timedelta(), timedelta(seconds=1)),
        (timedelta(hours=1), timedelta(minutes=1)),
        (timedelta(days=7), timedelta(hours=4)),
    ],
)
def test_a_plot_has_at_most_sixty_bars(length, stretch):
    assert stretch_for(length) == stretch
