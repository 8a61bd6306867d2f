"""From the draft of an adapter to one that serves: imported, looked at, approved, and kept as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.adapted import CLEAN, amount
from tests.adapters import body, make_draft
from tests.observe import wait_until

from healspan.remediation.drafts import complete_draft
from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import Fix, parse_fix
from healspan.remediation.importing import ImportOutcome, import_drafts
from healspan.remediation.reviewers import make_reviewer
from healspan.remediation.runtime import Runtime
from healspan.remediation.step import AdapterStep
from healspan.remediation.store.repository import Store


class TestAHumansWay:
    """A draft in a file, imported, approved, and at work in a service."""

    def draft(self, tmp_path: Path, *steps: AdapterStep, **changes: Any) -> Path:
        payload = json.loads(make_draft("adapted_amount", *(steps or (CLEAN,))).model_dump_json())
        path = tmp_path / "draft.json"
        path.write_text(json.dumps({"decision": "approve", **payload, **changes}))
        return path

    def test_from_the_file_to_a_healed_call(self, service: Runtime, tmp_path: Path) -> None:
        ann = make_reviewer(service.settings, name="ann").reviewer
        path = self.draft(tmp_path)
        with Store.open(service.settings) as store:
            [result] = import_drafts([path], store.database, ann, service.settings.keys_dir)
        assert result.outcome is ImportOutcome.ACTIVE, result
        wait_until(lambda: service.index.latest(result.fix_id or ""), "the service to know the fix")
        assert amount("$1,234") == 1234.0

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (body("return open('x').read()"), "asks for files or people"),
            (body("return undefined"), "does not pass the type check: main.py:2"),
            (body("return len(3)"), "does not pass the type check: main.py:2"),
            ("def heal(call):\n    return 1\n", "it must read"),
        ],
    )
    def test_a_text_that_must_not_be_stored(self, service: Runtime, tmp_path: Path, text: str, words: str) -> None:
        ann = make_reviewer(service.settings, name="ann").reviewer
        payload = json.loads(self.draft(tmp_path).read_text())
        payload["steps"][0]["text"] = text
        path = self.draft(tmp_path, **payload)
        with Store.open(service.settings) as store:
            [result] = import_drafts([path], store.database, ann, service.settings.keys_dir)
            assert not store.fixes.list(limit=10)
        assert result.outcome is ImportOutcome.FAILED
        assert words in result.message

    @pytest.mark.parametrize(
        ("boundary", "more", "words"),
        [
            ("adapted_once", {"text": CLEAN.text}, "is not retry_safe"),
            ("adapted_amount", {"arguments": ("texts",)}, "has no argument 'texts'"),
            ("adapted_amount", {"repairers": ("nobody",)}, "nobody"),
        ],
    )
    def test_a_step_that_asks_for_what_is_not_there(
        self, service: Runtime, boundary: str, more: dict[str, Any], words: str
    ) -> None:
        step = AdapterStep(**{"text": body("return 1.0"), **more})
        with pytest.raises(Exception, match=words):
            complete_draft(make_draft(boundary, step))


class TestAltered:
    def test_a_stored_text_that_does_not_pass_any_more_is_not_a_fix(self) -> None:
        fix = Fix.from_draft(make_draft("adapted_amount", CLEAN), created_at=datetime.now(UTC))
        payload = json.loads(fix.model_dump_json())
        payload["steps"][0]["text"] = body("return eval('1')")
        with pytest.raises(InvalidFix, match="makes code out of text"):
            parse_fix(payload)
