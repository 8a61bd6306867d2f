"""The incident of a failure that was only heard of: from the words of a traceback, and the span that carried them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import JsonValue

from healspan.instrumentation.bounds import fit
from healspan.instrumentation.capture import MAX_STACK_TRACE, cut_middle
from healspan.instrumentation.frames import MAX_FRAMES, is_installed
from healspan.instrumentation.resource import system_state
from healspan.instrumentation.signals.gathering import Gathered
from healspan.instrumentation.signals.signal import Span
from healspan.instrumentation.signals.stack import StackFrame
from healspan.instrumentation.values import Limits, ValueReader
from healspan.remediation.attributes import SPAN_ATTRIBUTES
from healspan.remediation.fingerprint import fingerprint
from healspan.remediation.ids import uuid7
from healspan.remediation.incident import Cause, Frame, Incident, InputContext
from healspan.remediation.modules import importable_name
from healspan.remediation.repair.path import is_own
from healspan.remediation.scrubbing import Scrubber, ScrubSession

__all__ = ["incident_of"]

_MAX_LINE = 300
_MAX_NAME = 200
_MAX_MESSAGE = 2_000
_MOST_CAUSES = 8
_ATTRIBUTES = Limits(total=1_024)
_UNKNOWN = "unknown"


def incident_of(
    failure: Gathered,
    *,
    scrubber: Scrubber,
    resource: Mapping[str, str],
    in_app: Sequence[str] = (),
) -> Incident:
    """Build the incident of a failure without a boundary.

    It is filed under its innermost function of the application, ``module.function``, where a boundary is missing.

    Args:
        failure: its signals.
        scrubber: what counts as a secret.
        resource: who is failing.
        in_app: more module names that are in-app, wherever they are installed.
    """
    session, signal, stack = scrubber.session(), failure.first, failure.stack
    error_type = _qualified(stack.error_type or signal.error_type)
    message = session.text(signal.message or stack.message, _MAX_MESSAGE)
    modules = _modules.as_they_are()
    frames = tuple(_frame(one, modules, in_app, session) for one in stack.frames if not is_own(modules.of(one.file)))[
        -MAX_FRAMES:
    ]
    causes = tuple(
        Cause.model_construct(
            error_type=_qualified(one.error_type),
            error_message=session.text(one.message, _MAX_MESSAGE),
            relation=one.relation,
            function=one.function,
        )
        for one in stack.causes[:_MOST_CAUSES]
    )
    own = next((one for one in reversed(frames) if one.in_app), frames[-1] if frames else None)
    module = f"{own.module}.{own.function}" if own is not None else _UNKNOWN
    incident = Incident.model_construct(
        error_id=uuid7(),
        timestamp=datetime.fromtimestamp(signal.at, UTC),
        error_type=error_type,
        error_message=message,
        stack_trace=cut_middle(session.text(signal.stack, MAX_STACK_TRACE * 2), MAX_STACK_TRACE),
        frames=frames,
        cause_chain=causes,
        module=module,
        target=f"{own.module}:{own.function}" if own is not None else _UNKNOWN,
        pattern=fingerprint(error_type, message, frames, causes, module),
        input_context=InputContext(),
        system_state=system_state(list(dict.fromkeys(one.module for one in frames))),
        resource=dict(resource),
        trace_id=format(signal.trace_id, "032x") if signal.trace_id else None,
        span_id=format(signal.span_id, "016x") if signal.span_id else None,
        span_name=None if signal.span is None else session.text(signal.span.name, _MAX_NAME),
        span_attributes={} if signal.span is None else _attributes(signal.span, session),
    )
    return fit(incident)


def _qualified(error_type: str) -> str:
    """Return a type's name as `Incident.error_type` spells it: Python prints those of builtins bare."""
    return error_type if "." in error_type or not error_type else f"builtins.{error_type}"


def _frame(frame: StackFrame, modules: _Modules, in_app: Sequence[str], session: ScrubSession) -> Frame:
    module = modules.of(frame.file)
    named = any(module == name or module.startswith(f"{name}.") for name in in_app)
    return Frame.model_construct(
        module=module,
        function=frame.function[:_MAX_NAME],
        file=frame.file,
        line=frame.line,
        source_line=session.text(frame.source_line, _MAX_LINE, code=True),
        expression=None,
        in_app=named or not is_installed(frame.file),
        variables=None,
    )


def _attributes(span: Span, session: ScrubSession) -> dict[str, JsonValue]:
    values = ValueReader(session, limits=_ATTRIBUTES)
    return {key: values.read(span.attributes[key], key) for key in SPAN_ATTRIBUTES if key in span.attributes}


class _Modules:
    """The modules of this process by their files."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._ids: list[int] = []

    def as_they_are(self) -> _Modules:
        """Look whether others are imported than before: of a thousand, reading each one's file takes a millisecond."""
        loaded = sys.modules.copy()
        ids = [*map(id, loaded.values())]
        if ids != self._ids:
            names: dict[str, str] = {}
            for name, module in loaded.items():
                known = getattr(module, "__dict__", {}).get("__file__")
                if type(known) is str:
                    names.setdefault(known, importable_name(name))
            self._names, self._ids = names, ids
        return self

    def of(self, file: str) -> str:
        """Return the name of the module of a file; the file's own where no such module is imported."""
        return self._names.get(file) or file.rpartition("/")[2].removesuffix(".py") or _UNKNOWN


_modules = _Modules()
