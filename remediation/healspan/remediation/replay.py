"""Replay: what today's fixes and policy would do about a stored incident, and the call made again if it can be.

Nothing here touches the incident or the store: the call is made in this process, under a data directory of its
own that holds copies of the keys and of the boundary's fixes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from healspan.remediation.boundary import Boundary
from healspan.remediation.errors import CannotReplay, SignatureRefused
from healspan.remediation.fix import Fix, FixState, Match
from healspan.remediation.incident import Incident
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.modules import live_module
from healspan.remediation.policy import GATES, Preset, Request, first_refusal
from healspan.remediation.record import Record
from healspan.remediation.run import Run, current_run
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import Settings, load_settings
from healspan.remediation.signing import KeyRing
from healspan.remediation.staleness import why_stale
from healspan.remediation.store.repository import Store
from healspan.remediation.store.views import FixView

__all__ = [
    "Assessment",
    "GateAnswer",
    "Replayed",
    "assess_fix",
    "assess_fixes",
    "covers",
    "replay_call",
]

_IN_SERVICE = frozenset({"declared", "repetition"})
"""Gates that ask the live boundary."""

_MOST_SHOWN = 2_000


class GateAnswer(Record):
    """What one gate says of a fix."""

    gate: str
    """Of `policy.GATES`, or ``signature`` or ``source``."""
    lets: bool | None
    """None: it was not asked, since it asks the live boundary and the application is not imported."""
    reason: str


class Assessment(Record):
    """What would become of one fix, asked now to act on a stored incident."""

    fix_id: str
    state: FixState | None
    fix_instruction: str
    gates: tuple[GateAnswer, ...]
    """All of them, in the order in which they are asked; the first no decides."""

    @property
    def refusal(self) -> GateAnswer | None:
        """The gate that refuses, if one does."""
        return next((gate for gate in self.gates if gate.lets is False), None)

    @property
    def applies(self) -> bool | None:
        """Whether it would be applied; None: so far yes, but not every gate was asked."""
        if self.refusal is not None:
            return False
        return None if any(gate.lets is None for gate in self.gates) else True

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        if self.refusal is not None:
            return self.refusal.reason
        if self.applies is None:
            return "so far yes; what the live boundary declares was not asked (--app MODULE)"
        return "every gate lets it; the contract decides on its result"


@dataclass(frozen=True, slots=True)
class _StoredCall:
    """A call as the gates look at it."""

    boundary: Boundary
    incident: Incident

    @property
    def run(self) -> Run:
        """Of the call alone: what else its run had brought is not asked again."""
        return Run(None)

    @property
    def repeatable(self) -> str | None:
        if self.boundary.retry_safe:
            return None
        return f"boundary {self.boundary.name!r} is not declared retry_safe"


def covers(fix: Fix, incident: Incident) -> bool:
    """Whether a fix was made for this kind of failure, whatever its context keys say."""
    scope, pattern = fix.scope, incident.pattern
    if scope.module != incident.module:
        return False
    given = {Match.EXACT: (scope.exact, pattern.exact), Match.LOOSE: (scope.loose, pattern.loose)}
    wanted, found = given.get(scope.match, (None, None))
    return wanted == found


def assess_fix(
    view: FixView,
    incident: Incident,
    *,
    keys: KeyRing,
    preset: Preset,
    boundary: Boundary | None,
    now: datetime | None = None,
) -> Assessment:
    """Ask every gate about one fix and one stored incident.

    Args:
        view: the fix and its states.
        incident: what failed.
        keys: whom this host believes.
        preset: the policy in force.
        boundary: the live one; None if the application is not imported.
        now: the wall clock, in UTC.
    """
    return Assessment(
        fix_id=view.fix.fix_id,
        state=view.state,
        fix_instruction=view.fix.fix_instruction,
        gates=tuple(_answers(view, incident, keys, preset, boundary, now or datetime.now(UTC))),
    )


def _answers(
    view: FixView,
    incident: Incident,
    keys: KeyRing,
    preset: Preset,
    boundary: Boundary | None,
    now: datetime,
) -> Iterator[GateAnswer]:
    fix = view.fix
    if not view.changes:
        yield GateAnswer(gate="state", lets=False, reason="it was never given a state")
        return
    change = view.changes[-1]
    try:
        keys.trust(fix, change)
    except SignatureRefused as error:
        yield GateAnswer(gate="signature", lets=False, reason=str(error))
    else:
        yield GateAnswer(gate="signature", lets=True, reason="its bytes and its state are believed")
    known = boundary or Boundary(name=incident.module, function=None, target=incident.target)

    def request(where: Boundary) -> Request:
        return Request(fix, change, _StoredCall(where, incident), preset, now)

    for gate in GATES:
        refusal = first_refusal(request(known), [gate])
        # Whether a boundary that is not here declares a contract is not known: an answer that hangs on it is none.
        hangs = refusal is not None and first_refusal(request(replace(known, has_contract=True)), [gate]) is None
        if boundary is None and (gate[0] in _IN_SERVICE or hangs):
            yield GateAnswer(gate=gate[0], lets=None, reason="not asked: name the application with --app MODULE")
            continue
        yield GateAnswer(gate=gate[0], lets=refusal is None, reason="lets it" if refusal is None else refusal.reason)
    if boundary is None:
        yield GateAnswer(gate="source", lets=None, reason="not asked: name the application with --app MODULE")
        return
    stale = why_stale(fix, boundary)
    yield GateAnswer(gate="source", lets=stale is None, reason=stale or "the source it was made for is what runs")


def assess_fixes(
    store: Store,
    incident: Incident,
    *,
    keys: KeyRing,
    preset: Preset,
    boundary: Boundary | None,
    now: datetime | None = None,
) -> list[Assessment]:
    """Ask about every fix that was made for this kind of failure, in the order in which they would be tried."""
    order = list(Match)
    scores = {score.fix_id: score.reward_score for score in store.projections.scores()}
    views = [view for view in store.fixes.list(module=incident.module, limit=10_000) if covers(view.fix, incident)]
    views.sort(
        key=lambda view: (
            order.index(view.fix.scope.match),
            -scores.get(view.fix.fix_id, 0.0),
            -view.fix.confidence,
            view.fix.fix_id,
        ),
    )
    return [assess_fix(view, incident, keys=keys, preset=preset, boundary=boundary, now=now) for view in views]


# The call itself


class Replayed(Record):
    """What came of making the call again."""

    ended: str
    """``returned`` (without failing), ``healed``, ``degraded``, ``escalated``, or ``raised`` (nobody looked)."""
    tier: str | None = None
    fix_id: str | None = None
    value: str | None = None
    """What it returned, as text, bounded and scrubbed."""
    error: str | None = None
    elapsed_ms: float | None = None
    """Of the healing."""
    reason: str = ""
    """Why fixes that were tried were not used."""


def replay_call(store: Store, settings: Settings, incident: Incident, boundary: Boundary) -> Replayed:
    """Make the call of an incident again, in this process, healing with today's fixes and policy.

    Raises:
        CannotReplay: the boundary, or what was stored of the arguments, does not allow it.
    """
    call = _stored_call(incident, boundary)
    with _apart(store, settings, boundary.name):
        if boundary.golden is not None:
            live = runtime()
            if not live.disabled:
                # What a service has kept judges here as well what a diagnosis finds.
                live.exchange.look(boundary, boundary.golden)
        run = Run("replay", context_keys=incident.context_keys)
        token = current_run.set(run)
        value: Any = None
        failed: BaseException | None = None
        try:
            value = call()
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
        except BaseException as error:
            if is_interrupt(error):
                raise
            failed = error  # whoever looks into the call must not end with it
        finally:
            current_run.reset(token)
    heal = run.heals[-1] if run.heals else None
    return Replayed(
        ended=str(heal.outcome) if heal is not None else "returned" if failed is None else "raised",
        tier=None if heal is None else str(heal.tier),
        fix_id=None if heal is None else heal.fix_id,
        value=_text(value) if failed is None else None,
        error=None if failed is None else f"{type(failed).__name__}: {_text(str(failed), plain=True)}",
        elapsed_ms=None if heal is None else heal.elapsed_ms,
        reason="" if heal is None else heal.reason,
    )


def _text(value: object, *, plain: bool = False) -> str:
    try:
        text = str(value) if plain else repr(value)
    except Exception as error:
        text = f"<its repr raised {type(error).__name__}>"
    return Scrubber().scrub_text(text, _MOST_SHOWN)


@contextlib.contextmanager
def _apart(store: Store, settings: Settings, boundary: str) -> Iterator[None]:
    """Let this process heal under a data directory that holds copies of the keys and of a boundary's fixes."""
    with tempfile.TemporaryDirectory(prefix="healspan-replay-") as scratch:
        if settings.keys_dir.is_dir():
            shutil.copytree(settings.keys_dir, Path(scratch) / "keys")
        # Nor is anybody asked: the purse in there is empty, and a replay shows what is known today.
        changed = {"HEALSPAN_DATA_DIR": scratch, "HEALSPAN_DATABASE_URL": "", "HEALSPAN_CLAUDE_MODEL": ""}
        before = {name: os.environ.get(name) for name in changed}
        shut_down()
        os.environ.update(changed)
        try:
            with Store.open(load_settings()) as copy:
                for view in store.fixes.list(module=boundary, limit=10_000):
                    copy.fixes.add(view.fix, *view.changes)
                copy.goldens.add(store.goldens.latest(boundary))
                if store.controls.is_disabled():
                    copy.controls.set_disabled(True, actor="replay")
            yield
        finally:
            shut_down()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _stored_call(incident: Incident, boundary: Boundary) -> Callable[[], Any]:
    if boundary.function is None:
        raise CannotReplay("a 'with' block cannot be called again")
    if not boundary.retry_safe:
        raise CannotReplay(f"boundary {boundary.name!r} is not declared retry_safe, so nothing may make its call again")
    wrapper = _find(boundary.target)
    if getattr(wrapper, "boundary", None) is not boundary:
        raise CannotReplay(f"{boundary.target} does not lead to the boundary; it is made inside another function")
    arguments, keywords = _bind(inspect.signature(boundary.function), incident.input_context.arguments)
    return lambda: wrapper(*arguments, **keywords)


def _find(target: str) -> Any:
    module, _, qualname = target.partition(":")
    found: Any = live_module(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _bind(signature: inspect.Signature, stored: Mapping[str, JsonValue]) -> tuple[list[Any], dict[str, Any]]:
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name not in stored:
            raise CannotReplay(f"argument {name!r} was not stored")
        value = _plain(stored[name], name)
        match parameter.kind:
            case inspect.Parameter.VAR_POSITIONAL:
                arguments.extend(value)
            case inspect.Parameter.VAR_KEYWORD:
                keywords.update(value)
            case inspect.Parameter.KEYWORD_ONLY:
                keywords[name] = value
            case _:
                arguments.append(value)
    return arguments, keywords


_INCOMPLETE = re.compile(r"\A<.*>\Z|\[redacted:\w+\]|<email:\d+>|…\Z", re.DOTALL)
"""What capture writes in the place of what it leaves out."""
_NO_TEXT_KEY = re.compile(r"-?\d+|True|False|None")
"""Keys that may have been something else than text: JSON does not say."""
_SEQUENCES: Mapping[str, Callable[[Sequence[Any]], Any]] = {"<tuple>": tuple, "<set>": set, "<frozenset>": frozenset}


def _plain(value: JsonValue, where: str) -> Any:
    """Return the value that was captured, if what was stored is all of it."""
    match value:
        case str():
            if _INCOMPLETE.search(value):
                shown = value if len(value) <= 60 else f"{value[:59]}…"
                raise CannotReplay(f"argument {where!r} was stored as {shown!r}, which is not all of it")
            return value
        case list():
            return [_plain(each, f"{where}[{index}]") for index, each in enumerate(value)]
        case dict():
            [*names] = value
            if len(names) == 1 and names[0] in _SEQUENCES and isinstance(inner := value[names[0]], list):
                return _SEQUENCES[names[0]]([_plain(each, f"{where}[{index}]") for index, each in enumerate(inner)])
            for name in names:
                _plain(name, f"{where}, a key")
                if _NO_TEXT_KEY.fullmatch(name):
                    raise CannotReplay(
                        f"argument {where!r} has the key {name}, and whether that was text is not stored"
                    )
            return {name: _plain(each, f"{where}.{name}") for name, each in value.items()}
        case _:
            return value
