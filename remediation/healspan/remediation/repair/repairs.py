"""Installs repairs into live functions, and takes them out without a trace.

All repairs of one function are compiled together from its original. The function object stays the same, so
whoever holds it calls the repaired code; only its ``__code__`` changes, in one step, and comes back as the
very object it was.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from types import CodeType, FunctionType
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from healspan.remediation.errors import RepairDeclined, StaleFix, UnknownRepairer
from healspan.remediation.modules import live_module
from healspan.remediation.repair.active import ActiveRepair, InstallReport, InstallStatus
from healspan.remediation.repair.compiler import compile_guarded
from healspan.remediation.repair.enclosed import Following, following
from healspan.remediation.repair.expression import Span, definition, expression_of, kind_of, span_of
from healspan.remediation.repair.find import find_function
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.handled import Judged, way_unhandled
from healspan.remediation.repair.inner import bring, living_copies
from healspan.remediation.repair.live import LiveRepair, Probe, current_probe
from healspan.remediation.repair.operators import symbol_of
from healspan.remediation.repair.path import PathTree, Way, forget_lines, is_own
from healspan.remediation.repair.source import (
    FunctionSource,
    function_source,
    note_guarded,
    originals,
    source_hash,
)
from healspan.remediation.repairers import Kind, repairer
from healspan.remediation.step import FramePath

__all__ = ["Repairs"]

_lock = threading.RLock()


def _before_fork() -> None:
    # A child must not be born while a function is half changed.
    _lock.acquire()


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A repair that has passed every check, on its way into a function."""

    repair: ActiveRepair
    ways: Mapping[FramePath, Way]
    function: FunctionType
    source: FunctionSource
    span: Span
    kind: Kind
    symbol: str
    live: LiveRepair
    reason: str
    """Which of its paths were refused, if any."""


@dataclass(slots=True)
class _Patched:
    """One function with repairs in it."""

    function: FunctionType
    source: FunctionSource
    code: CodeType
    """The guarded code."""
    boundaries: list[Following]
    """The functions with a boundary inside of which this is the bare one."""
    guards: dict[Span, Guard] = field(default_factory=dict)
    repairs: dict[_Key, _Prepared] = field(default_factory=dict)

    @property
    def intact(self) -> bool:
        """Whether nothing else has replaced the code that was put in."""
        return self.function.__code__ is self.code and all(
            each.function.__code__ is each.code for each in self.boundaries
        )


_Key = tuple[str, str, str, str, str, str, int, int, int, int, int]


class Repairs:
    """The repairs in this process's functions. One object a process; safe to call from any thread.

    Args:
        in_app: top-level packages, beside the boundary's own, whose frames are judged by their source.
    """

    def __init__(self, in_app: Iterable[str] = ()) -> None:
        self._in_app = tuple(in_app)
        self._patched: dict[FunctionType, _Patched] = {}
        self._pending: dict[_Key, ActiveRepair] = {}
        self._wanted: dict[_Key, ActiveRepair] = {}
        """What `install_exactly` was last asked for, whether it could be installed or not."""
        self._touched: WeakKeyDictionary[FunctionType, CodeType] = WeakKeyDictionary()
        self._followed: WeakKeyDictionary[FunctionType, CodeType] = WeakKeyDictionary()
        """Likewise those with a boundary inside."""

    def install(self, repairs: Iterable[ActiveRepair]) -> list[InstallReport]:
        """Install repairs; those of one fix all or none, likewise those of one function.

        A repair that is installed already takes in the paths it did not have. Nothing is raised for a repair
        that cannot be installed: its report says why.
        """
        with _lock:
            return self._install(list(repairs), None)

    def install_exactly(self, repairs: Iterable[ActiveRepair]) -> list[InstallReport]:
        """Make these repairs, with these paths, the only ones that are in force or waiting.

        Reports cover what differs from the last time; whatever stayed the same is left alone, declined or not.
        """
        wanted = {_key(repair, None): repair for repair in repairs}
        with _lock:
            gone = {key for key, old in self._wanted.items() if key not in wanted or not wanted[key].paths >= old.paths}
            self._remove(lambda prepared: _key(prepared.repair, prepared.live.probe) in gone)
            self._pending = {key: each for key, each in self._pending.items() if key not in gone}
            fresh = [repair for key, repair in wanted.items() if key in gone or self._wanted.get(key) != repair]
            self._wanted = wanted
            return self._install(fresh, None)

    def uninstall(self, fix_id: str) -> None:
        """Take one fix out of every function; a function without repairs has its original code again."""
        with _lock:
            self._pending = {key: each for key, each in self._pending.items() if each.fix_id != fix_id}
            self._wanted = {key: each for key, each in self._wanted.items() if each.fix_id != fix_id}
            self._remove(lambda prepared: prepared.repair.fix_id == fix_id and prepared.live.probe is None)

    def uninstall_all(self) -> None:
        """Give every function its original code."""
        with _lock:
            self._pending.clear()
            self._wanted.clear()
            self._remove(lambda _: True)

    def verify_uninstalled(self) -> list[str]:
        """Return the functions, as ``module:qualname``, that do not have their original code object."""
        with _lock:
            changed = _changed((*self._touched.items(), *living_copies()))
            # A function with a boundary inside and its bare function are one to whoever reads this.
            return sorted([*changed, *{*_changed(self._followed.items())} - {*changed}])

    def installed(self) -> tuple[ActiveRepair, ...]:
        """Return the repairs that are in force, with all their paths; probes are not among them."""
        with _lock:
            return tuple(
                prepared.repair
                for patched in self._patched.values()
                for prepared in patched.repairs.values()
                if prepared.live.probe is None
            )

    def retry_pending(self) -> list[InstallReport]:
        """Install what waited for a module that is imported now; what still waits is not reported."""
        with _lock:
            ready = [each for each in self._pending.values() if not _missing(each)]
            return self._install(ready, None) if ready else []

    @contextlib.contextmanager
    def probe(self, repairs: Sequence[ActiveRepair]) -> Iterator[Probe]:
        """Let the repairs of a fix act in this context only, while the block runs.

        Raises:
            RepairDeclined: a step cannot be installed here.
            StaleFix: a function is not the one the fix was made for.
        """
        probe = Probe()
        with _lock:
            for report in self._install(repairs, probe):
                if report.status is InstallStatus.STALE:
                    raise StaleFix(report.reason)
                if report.status is not InstallStatus.INSTALLED:
                    raise RepairDeclined(report.reason)
        token = current_probe.set(probe)
        try:
            yield probe
        finally:
            with contextlib.suppress(ValueError):  # closed from another context: the value ends with that one
                current_probe.reset(token)
            with _lock:
                self._remove(lambda prepared: prepared.live.probe is probe)

    # Everything below runs under the lock.

    def _install(self, repairs: Sequence[ActiveRepair], probe: Probe | None) -> list[InstallReport]:
        outcomes = [self._checked(repair, probe) for repair in repairs]
        while True:
            refused = {
                each.repair.fix_id
                for each in outcomes
                if isinstance(each, InstallReport) and each.status is not InstallStatus.PENDING
            }
            outcomes = _declined(outcomes, refused, "another step of the fix was refused")
            try:
                changed = self._compile(each for each in outcomes if isinstance(each, _Prepared))
            except _Uncompilable as error:
                outcomes = _declined(outcomes, error.fixes, str(error))
            else:
                break
        for patched in changed:
            self._put(patched)
        reports = [
            InstallReport(each.repair, InstallStatus.INSTALLED, each.reason) if isinstance(each, _Prepared) else each
            for each in outcomes
        ]
        if probe is None:
            self._remember_pending(reports)
        return reports

    def _checked(self, repair: ActiveRepair, probe: Probe | None) -> _Prepared | InstallReport:
        missing = _missing(repair)
        if missing:
            return InstallReport(repair, InstallStatus.PENDING, f"module {missing} is not imported")
        try:
            return self._prepare(repair, probe)
        except StaleFix as error:
            return InstallReport(repair, InstallStatus.STALE, str(error))
        except (RepairDeclined, UnknownRepairer) as error:
            return InstallReport(repair, InstallStatus.DECLINED, str(error))

    def _remember_pending(self, reports: Iterable[InstallReport]) -> None:
        for report in reports:
            key = _key(report.repair, None)
            if report.status is InstallStatus.PENDING:
                self._pending[key] = report.repair
            else:
                self._pending.pop(key, None)

    def _prepare(self, repair: ActiveRepair, probe: Probe | None) -> _Prepared:
        step = repair.step
        if step.module.partition(".")[0] in sys.stdlib_module_names or is_own(step.module):
            raise RepairDeclined(f"{step.module} is no code of the application; repair the expression that calls it")
        function = find_function(step.module, step.qualname, lambda each: source_hash(each) == step.source_hash)
        if source_hash(function) != step.source_hash:
            raise StaleFix(
                f"{step.module}.{step.qualname} changed since the fix was made; let the fix be made again",
            )
        patched = self._patched.get(function)
        if patched is not None and not patched.intact:
            raise RepairDeclined(
                f"{step.module}.{step.qualname}: something else replaced its code; restart the service"
            )
        if patched is None and function in originals:
            raise RepairDeclined(f"{step.module}.{step.qualname} carries the repairs of another `Repairs` object")
        source = function_source(function)
        node = expression_of(step, source, definition(source))
        chosen = repairer(step.repairer)
        try:
            parameters = chosen.parameters.model_validate(step.parameters)
        except ValidationError as error:
            raise RepairDeclined(f"repairer {step.repairer} does not take these parameters: {error}") from error
        ways, reasons, judged = dict[FramePath, Way](), list[str](), Judged()
        for path in repair.paths:
            try:
                ways[path] = way_unhandled(path, step.error_type, self._in_app, judged=judged)
            except (RepairDeclined, StaleFix) as error:
                reasons.append(str(error))
        if not ways:
            raise RepairDeclined("; ".join(reasons) or "no way from the boundary to the expression is given")
        if patched is not None and (known := patched.repairs.get(_key(repair, probe))) is not None:
            ways = {**known.ways, **ways}
        tree = PathTree.of(ways.values())
        live = LiveRepair(
            repair.fix_id, step, repair.boundary, tree, chosen, parameters, probe, repair.after, repair.currency
        )
        return _Prepared(
            repair=replace(repair, paths=frozenset(ways)),
            ways=ways,
            function=function,
            source=source,
            span=span_of(node),
            kind=kind_of(node),
            symbol=symbol_of(node),
            live=live,
            reason="; ".join(reasons),
        )

    def _compile(self, prepared: Iterable[_Prepared]) -> list[_Patched]:
        """Return the functions as they shall be, changing none of them."""
        wanted: dict[FunctionType, dict[_Key, _Prepared]] = {}
        for each in prepared:
            wanted.setdefault(each.function, {})[_key(each.repair, each.live.probe)] = each
        changed: list[_Patched] = []
        for function, added in wanted.items():
            known = self._patched.get(function)
            together = {**(known.repairs if known is not None else {}), **added}
            try:
                changed.append(_patch(function, known, together))
            except (RepairDeclined, StaleFix, SyntaxError, ValueError, RecursionError) as error:
                raise _Uncompilable(str(error), {each.repair.fix_id for each in added.values()}) from error
        return changed

    def _put(self, patched: _Patched) -> None:
        """Bring a function into the state it shall have."""
        function = patched.function
        for span, guard in patched.guards.items():
            here = [each.live for each in patched.repairs.values() if each.span == span]
            guard.repairs = tuple(sorted(here, key=lambda live: live.probe is not None))
        if function.__code__ is not patched.code:
            originals.setdefault(function, patched.source.code)
            self._touched.setdefault(function, patched.source.code)
            note_guarded(patched.code, patched.source.code)
            function.__code__ = patched.code
            bring(patched.source.code, patched.code)
        for boundary in patched.boundaries:
            self._followed.setdefault(boundary.function, boundary.original)
            boundary.function.__code__ = boundary.code
        self._patched[function] = patched

    def _remove(self, unwanted: Callable[[_Prepared], bool]) -> None:
        for function, patched in list(self._patched.items()):
            kept = {key: each for key, each in patched.repairs.items() if not unwanted(each)}
            if len(kept) == len(patched.repairs):
                continue
            for guard in patched.guards.values():
                # Calls that are under way still run the guarded code.
                guard.repairs = tuple(
                    live for live in guard.repairs if any(live is each.live for each in kept.values())
                )
            if kept and function.__code__ is patched.code:
                self._put(_patch(function, patched, kept))
                continue
            del self._patched[function]
            originals.pop(function, None)
            if function.__code__ is patched.code:
                function.__code__ = patched.source.code
            for boundary in patched.boundaries:
                if boundary.function.__code__ is boundary.code:
                    boundary.function.__code__ = boundary.original
            bring(patched.source.code, patched.source.code)
            for guard in patched.guards.values():
                guard.repairs = ()
        forget_lines()


class _Uncompilable(Exception):
    """The fixes that were to be added to a function do not compile together with what is there."""

    def __init__(self, reason: str, fixes: set[str]) -> None:
        super().__init__(reason)
        self.fixes = fixes


def _changed(originals: Iterable[tuple[FunctionType, CodeType]]) -> list[str]:
    """Return the functions that do not have the code beside them."""
    return [
        f"{function.__module__}:{code.co_qualname}" for function, code in originals if function.__code__ is not code
    ]


def _declined(
    outcomes: Iterable[_Prepared | InstallReport],
    fixes: Set[str],
    reason: str,
) -> list[_Prepared | InstallReport]:
    """Return the outcomes with everything of these fixes declined that was on its way in."""
    return [
        InstallReport(each.repair, InstallStatus.DECLINED, reason)
        if isinstance(each, _Prepared) and each.repair.fix_id in fixes
        else each
        for each in outcomes
    ]


def _patch(function: FunctionType, known: _Patched | None, repairs: Mapping[_Key, _Prepared]) -> _Patched:
    """Return a function's state with these repairs; compiled anew if its guarded expressions differ."""
    forms = {each.span: (each.kind, each.symbol) for each in repairs.values()}
    if known is not None and known.guards.keys() == forms.keys():
        return replace(known, repairs=dict(repairs))
    source = next(iter(repairs.values())).source
    kept = known.guards if known is not None else {}
    guards = {span: kept.get(span) or Guard(*form) for span, form in forms.items()}
    code = compile_guarded(source, guards)
    before = known.boundaries if known is not None else ()
    return _Patched(function, source, code, following(function, source, code, guards, before), guards, dict(repairs))


def _missing(repair: ActiveRepair) -> str | None:
    """Return a module that has to be imported before the repair can be installed, if any."""
    needed = [repair.step.module, *(module for path in repair.paths for module, _, _ in path)]
    return next((module for module in needed if not _is_imported(module)), None)


def _is_imported(module: str) -> bool:
    """Whether a module is there whole: half of one lacks the functions that stand below."""
    found = live_module(module)
    return found is not None and not getattr(getattr(found, "__spec__", None), "_initializing", False)


def _key(repair: ActiveRepair, probe: Probe | None) -> _Key:
    step = repair.step
    return (
        repair.fix_id,
        repair.boundary,
        step.module,
        step.qualname,
        step.error_type,
        step.repairer,
        step.line,
        step.end_line,
        step.column,
        step.end_column,
        0 if probe is None else id(probe),
    )
