"""Plans on the command line: a newcomer asks which fixes belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import report_service
from tests.command import Run

from healspan.remediation.runtime import shut_down


class TestPlans:
    @pytest.fixture
    def cascaded(self, data_dir: Path) -> None:
        page = {"unit": "millions", "cells": ["1,000", "2", "1,002"], "lines": ["a", "b", "total"]}
        report_service.report(page)
        with pytest.raises(IndexError):
            report_service.report({**page, "lines": ["a", "b", "sum"], "shares": []})
        shut_down()

    def test_there_is_none_yet(self, run: Run, filled: Path) -> None:
        assert "No plan is known yet" in run("fixes", "plans").out
        assert run("fixes", "plans", "--json").json == []

    def test_each_is_shown_with_its_record_beside_its_fixes(self, run: Run, cascaded: None) -> None:
        told = run("fixes", "plans", "--pipeline", "report").out
        for words in ("report (form=10-K)", "1. unit", "2. numbers", "3. section", "1 good, 0 bad", "lift"):
            assert words in told
        plans = run("fixes", "plans", "--json").json
        assert {tuple(link["boundary"] for link in plan["plan"]["links"]) for plan in plans} == {
            ("unit", "numbers"),
            ("unit", "numbers", "section"),
        }

    def test_a_fix_and_an_incident_say_to_which_they_belong(self, run: Run, cascaded: None) -> None:
        [fix] = run("fixes", "list", "--boundary", "section", "--json").json
        assert "1. unit" in run("fixes", "explain", fix["fix_id"]).out
        incidents = run("incidents", "list", "--boundary", "numbers", "--json").json
        shown = [run("incidents", "show", one["incident"]["error_id"]).out for one in incidents]
        assert any("part of a cascade of 2: unit" in text for text in shown)
        assert any("part of a cascade of 3: unit" in text for text in shown)

    def test_where_healing_stopped_the_review_points_at_the_design(self, run: Run, cascaded: None) -> None:
        told = run("review", "list").out
        assert "cascade deeper than 3" in told
        assert "probably: architectural deficiency" in told
        buckets = {
            one["summary"]["boundary"]: one["bucket"] for one in run("review", "list", "--json").json["escalated"]
        }
        assert buckets == {"ratio": "architectural deficiency"}
