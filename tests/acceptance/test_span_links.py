"""From any healed call one can go to the trace in which its fix proved itself first, in whichever process that was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.observe import left_behind, wait_until
from tests.receiver import Receiver, Seen

SERVICE = """
import sys
from opentelemetry import trace
from healspan.instrumentation import error_boundary

tracer = trace.get_tracer("numbers")

def positive(result, arguments):
    return result > 0

@error_boundary("number", output=float, checks=[positive])
def number(text):
    return {"1": 1.0}[text]

@number.strategy("in words")
def in_words(text):
    return {"one": 1.0, "two": 2.0, "three": 3.0}[text]

for text in sys.stdin:
    with tracer.start_as_current_span("request"):
        print(number(text.strip()), flush=True)
"""


class Service:
    """A process that reads numbers, each in a trace of its own, until the block ends."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        (folder / "numbers_service.py").write_text(SERVICE)
        environment = {**os.environ, **receiver.environment, "HEALSPAN_START_WAIT_MS": "60000"}
        instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
        self._process = subprocess.Popen(
            [instrument, sys.executable, "numbers_service.py"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(120) == 0

    def read(self, text: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(text, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def heals(receiver: Receiver) -> list[Seen]:
    found = [span for span in receiver.spans if span.name == "healspan.heal"]
    return sorted(found, key=lambda span: span.raw.start_time_unix_nano)


def links(span: Seen) -> dict[str, tuple[bytes, bytes]]:
    """Where the links of a span lead, by what they say of it."""
    return {
        link.attributes[0].value.string_value: (link.trace_id, link.span_id)
        for link in span.raw.links
        if link.attributes[0].key == "healspan.link"
    }


def test_each_heal_is_linked_to_the_first_application_of_its_fix(tmp_path: Path) -> None:
    with Receiver("grpc") as receiver:
        with Service(tmp_path, receiver) as one, Service(tmp_path, receiver) as other:
            assert one.read("one") == 1.0
            assert one.read("two") == 2.0
            # The other process may not know of the fix yet, and find it by itself.
            assert other.read("three") == 3.0
        wait_until(lambda: len(heals(receiver)) == 3, "the spans of healing")
        first, own, elsewhere = heals(receiver)
        left_behind()  # what they had no time to bring to the store

        def led_back() -> list[Seen]:
            """Heals of the process that was started later, once it has read where the fix was applied first."""
            assert later.read("one") == 1.0
            return [span for span in heals(receiver)[3:] if "first_application" in links(span)]

        with Service(tmp_path, receiver) as later:
            wait_until(led_back, "a heal that leads back")
            restarted = led_back()[0]
        requests = {span.raw.trace_id: span.raw.span_id for span in receiver.spans if span.name == "request"}

    assert links(first) == {"failing": (first.raw.trace_id, requests[first.raw.trace_id])}
    proof = first.raw.trace_id, first.raw.span_id
    assert len({span.raw.trace_id for span in (first, own, elsewhere, restarted)}) == 4
    for span in (own, restarted):
        assert links(span) == {
            "failing": (span.raw.trace_id, requests[span.raw.trace_id]),
            "first_application": proof,
        }
    assert elsewhere.attributes["healspan.fix.id"] == first.attributes["healspan.fix.id"]
    # It tells of the first one where it knew of it.
    assert links(elsewhere).get("first_application", proof) == proof


def test_a_repair_that_acts_in_place_needs_no_span(tmp_path: Path) -> None:
    with Receiver("http/protobuf") as receiver:
        with Service(tmp_path, receiver) as one:
            assert one.read("1") == 1.0
        assert heals(receiver) == []
