"""Boundaries around functions that a file names: put on when their module is imported, taken off again on demand.

The service's code stays as it is. A module that is imported already gets them at once, and so do those that have
imported the function from it; all others when their import ends, before anybody can take a function out of them.
"""

from __future__ import annotations

import fnmatch
import gc
import importlib
import inspect
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import wrapt

from healspan.instrumentation.boundary import error_boundary
from healspan.instrumentation.frames import is_installed
from healspan.instrumentation.values import class_name
from healspan.remediation.boundary import (
    UNSET,
    Between,
    OneOf,
    Tunable,
    boundaries,
    forget_missing,
    note_missing,
    why_missing,
    withdraw,
)
from healspan.remediation.declaration import Declaration, ValuePath, find_configuration, read_declarations
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.interrupts import is_interrupt
from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import serve_again
from healspan.remediation.settings import load_settings

__all__ = ["ConfiguredBoundaries", "put_on_configured"]

logger = logging.getLogger("healspan")

_NAMESPACE: Any = vars(ModuleType)["__dict__"]
_OWN = __name__.partition(".")[0]


class _Wrapped(NamedTuple):
    """One function that has its boundary by configuration."""

    owner: Any
    """The module or class that holds it."""
    attribute: str
    before: object
    """What the owner held: a function, static method or class method."""
    now: object
    name: str
    """The boundary's."""


@dataclass(slots=True)
class _Applied:
    declaration: Declaration
    wrapped: list[_Wrapped] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    """Names of those that were looked at."""


class ConfiguredBoundaries:
    """The boundaries of one file, in this process.

    Whatever is wrong with a function, a reference or an import is logged with what to do, and leaves the service
    without that boundary; nothing is raised into an import of the application.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()  # to put one on may run code of the application's, which may import
        self._applied: dict[str, _Applied] = {}
        self._finder: _Finder | None = None
        self._read_as: tuple[int, ...] | None = None
        self._looked_at: weakref.WeakSet[FunctionType] = weakref.WeakSet()

    def is_outdated(self) -> bool:
        """Whether the file is another one than that which is in force, by its time and size."""
        return self._read_as != self._looks()

    def forked(self) -> None:
        """Begin anew in a forked child: who held the lock did not come along."""
        self._lock = threading.RLock()

    def _looks(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def apply(self) -> None:
        """Read the file and see to it that exactly what it declares is in force; also what has changed since.

        Raises:
            ConfigurationError: the file cannot be used; what was in force stays.
        """
        looks = self._looks()  # before it is read: what is written meanwhile makes it outdated
        declared = {one.target: one for one in read_declarations(self.path)}
        self._read_as = looks
        with self._lock:
            for target, applied in list(self._applied.items()):
                if declared.get(target) != applied.declaration:
                    self._take_off(self._applied.pop(target))
            fresh = [one for target, one in declared.items() if target not in self._applied]
            for declaration in fresh:
                self._applied[declaration.target] = _Applied(declaration)
            if self._finder is None and fresh:
                _hooks.listen(self._imported)
                self._finder = _Finder(self._is_wanted)
                sys.meta_path.insert(0, self._finder)
        serve_again()
        for module in list(sys.modules.values()):
            if _is(module, ModuleType) and not getattr(_held_by(module).get("__spec__"), "_initializing", False):
                self._imported(module)

    def remove(self) -> None:
        """Take all of them off."""
        with self._lock:
            for applied in self._applied.values():
                self._take_off(applied)
            self._applied.clear()
            if self._finder is not None and self._finder in sys.meta_path:
                sys.meta_path.remove(self._finder)
            self._finder = None
            _hooks.forget(self._imported)
        serve_again()

    # Imports

    def _is_wanted(self, name: str) -> bool:
        return any(self._meant(name))

    def _meant(self, module: str) -> Iterator[_Applied]:
        for applied in list(self._applied.values()):
            if fnmatch.fnmatchcase(module, applied.declaration.module):
                yield applied

    def _imported(self, module: ModuleType) -> None:
        """Put on what is declared for a module; called at the end of its import, and for those that are there."""
        with internal_error("put boundaries on"):
            name = str(_held_by(module).get("__name__", ""))
            for applied in self._meant(name):
                with self._lock:
                    if name in applied.modules:
                        continue
                    applied.modules.add(name)
                # Without the lock: references are imported, and another thread's import may be waiting to tell us.
                try:
                    self._put_on(applied, module)
                except BaseException as error:  # a lazy module is loaded by a look at what it holds
                    if is_interrupt(error):
                        raise
                    _say(applied.declaration, f"cannot be looked for in {name} ({type(error).__name__}: {error})")

    # Functions

    def _put_on(self, applied: _Applied, module: ModuleType) -> None:
        declaration = applied.declaration
        if _is_out_of_bounds(module, declaration):
            return
        found = list(_find(module, declaration))
        if not found and declaration.module == module.__name__:
            _say(declaration, "names no function of this module; correct the target, or remove it")
        for owner, attribute, before in found:
            if vars(owner).get(attribute) is not before:
                continue  # another name of a function that has its boundary by now
            function = _function_of(before)
            if declaration.is_pattern and hasattr(function, "boundary"):
                continue
            name = declaration.name or f"{module.__name__}.{getattr(function, '__qualname__', attribute)}"
            # Before the boundary holds it as well; once, since what was withdrawn may go on holding it. Not for
            # patterns: a look at everything there is, for each of many functions, would hold up the service's start.
            held = self._is_held_by_others(declaration, owner, function, found)
            try:
                _refuse_unfit(function, name)
                bounded: Any = error_boundary(name, **_options(declaration, function))(function)
            except _Unfit as unfit_for:
                _say(declaration, str(unfit_for))
                continue
            except BaseException as error:  # references are imported, which runs the application's code
                if is_interrupt(error):
                    raise
                _say(declaration, f"cannot have its boundary ({type(error).__name__}: {error})")
                continue
            if _is(before, staticmethod, classmethod):
                bounded = type(before)(bounded)
            if not self._hand_out(applied, (owner, attribute), before, bounded, name):
                self._put_on_what_found_it_taken(module)
                return
            if held:
                _say(
                    declaration,
                    f"does not reach whoever took {function.__qualname__} while its module was imported, as a table, "
                    "or a decorator that registers it (a route, a task): they call it without; declare a function that "
                    "it calls, or put @error_boundary below that decorator",
                    in_part=True,
                )

    def _is_held_by_others(self, declaration: Declaration, owner: Any, function: Any, ours: list[Any]) -> bool:
        if declaration.is_pattern or not _is(owner, ModuleType) or not _is(function, FunctionType):
            return False
        if function in self._looked_at:
            return False
        self._looked_at.add(function)
        return _is_held(function, ours)

    def _put_on_what_found_it_taken(self, module: ModuleType) -> None:
        """Try again what a later reading of the file declares: the name was taken by what is withdrawn by now."""
        with self._lock:
            for applied in self._meant(module.__name__):
                if applied.declaration.is_pattern or not applied.wrapped:
                    forget_missing(applied.declaration.target)
                    applied.modules.discard(module.__name__)
        self._imported(module)

    def _hand_out(
        self,
        applied: _Applied,
        home: tuple[Any, str],
        before: object,
        bounded: object,
        name: str,
    ) -> bool:
        """Put a bounded function where the bare one is; False if the boundary was taken off while it was made."""
        with self._lock:
            if self._applied.get(applied.declaration.target) is not applied:
                withdraw(name)
                return False
            if not _set(*home, bounded):
                withdraw(name)
                _say(applied.declaration, f"cannot have its boundary: {_named(home[0])} lets nobody set {home[1]}")
                return True
            applied.wrapped.append(_Wrapped(*home, before, bounded, name))
            for holder, known_as, _ in _taken(before):
                if _set(holder, known_as, bounded):
                    applied.wrapped.append(_Wrapped(holder, known_as, before, bounded, name))
        return True

    def _take_off(self, applied: _Applied) -> None:
        bare = {id(one.now): one.before for one in applied.wrapped}
        for one in applied.wrapped:
            # What somebody has put there since is theirs.
            if vars(one.owner).get(one.attribute) is one.now:
                _set(one.owner, one.attribute, one.before)
            withdraw(one.name)
        for holder, known_as, now in _taken(*(one.now for one in applied.wrapped)):
            # By whoever has imported it since.
            _set(holder, known_as, bare[id(now)])
        applied.wrapped.clear()
        forget_missing(applied.declaration.target)


def put_on_configured() -> None:
    """Put on what the configuration declares, for the commands that import the application (entry point)."""
    path = find_configuration(Path.cwd(), load_settings().config)
    if path is not None:
        ConfiguredBoundaries(path).apply()


class _Hooks:
    """What is told of imports by wrapt, which takes nothing back: so each module is told of once, and handed on."""

    def __init__(self) -> None:
        self._pending: set[str] = set()
        """Modules whose import wrapt is to tell of."""
        self._listeners: list[Callable[[ModuleType], None]] = []

    def listen(self, listener: Callable[[ModuleType], None]) -> None:
        """Have a listener told of the end of every hooked import."""
        # wrapt's own finder has to be there before ours tells it of the first module: one that joins the list while it
        # is gone through is passed over.
        wrapt.register_post_import_hook(_ignore, __name__)
        self._listeners.append(listener)

    def forget(self, listener: Callable[[ModuleType], None]) -> None:
        """Tell it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def hook(self, name: str) -> None:
        """Have the import of a module told of when it has ended."""
        if name not in self._pending:
            self._pending.add(name)
            wrapt.register_post_import_hook(self._ended, name)

    def _ended(self, module: Any) -> None:
        if _is(module, ModuleType):
            self._pending.discard(str(_held_by(module).get("__name__", "")))
            for listener in list(self._listeners):
                listener(module)


_hooks = _Hooks()


class _Unfit(Exception):
    """A target that can have no boundary; its words follow the target."""


def _refuse_unfit(function: object, name: str) -> None:
    if not _is(function, FunctionType):
        raise _Unfit(f"names a {type(function).__name__}, and boundaries stand around functions")
    if hasattr(function, "boundary"):
        raise _Unfit("has a boundary in the code already, which stays; remove one of the two")
    if name in boundaries():
        raise _Unfit(f"would be the second boundary named {name!r}; give it another name")


class _Finder(MetaPathFinder):
    """Finds nothing; hears the name of every module before it is imported, which patterns need."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Say that others are to find it."""
        if self._wanted(fullname):
            _hooks.hook(fullname)
        return None


def _ignore(_: object) -> None:
    pass


def _is(value: object, *kinds: type) -> bool:
    """Whether a value is of a type; `isinstance` would run the code of a proxy that stands in somebody's module."""
    return issubclass(type(value), kinds)


def _held_by(module: ModuleType) -> dict[str, Any]:
    """What a module holds; one that loads itself when it is looked at (`importlib.util.LazyLoader`) is left alone."""
    held: dict[str, Any] = _NAMESPACE.__get__(module)
    return held


def _is_out_of_bounds(module: ModuleType, declaration: Declaration) -> bool:
    """Whether a module's functions get no boundary: they are healspan's own, or others' that nobody has named."""
    if module.__name__.partition(".")[0] == _OWN:
        if not declaration.is_for_all:
            _say(declaration, "names healspan's own functions, which no boundary can stand around; remove it")
        return True
    return declaration.is_for_all and is_installed(str(_held_by(module).get("__file__", "<frozen")))


def _set(owner: object, name: str, value: object) -> bool:
    """Set an attribute; False where a metaclass, or a module's class, does not let it."""
    try:
        setattr(owner, name, value)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return False
    return True


def _named(owner: Any) -> str:
    return class_name(owner) if _is(owner, type) else str(owner.__name__)


def _function_of(value: Any) -> Any:
    return value.__func__ if _is(value, staticmethod, classmethod) else value


def _find(module: ModuleType, declaration: Declaration) -> Iterator[tuple[Any, str, Any]]:
    """Yield owner, attribute and value of what a target means in a module; of a pattern its own functions only.

    Special methods are meant by a pattern that writes their underscores only: Python calls them on the side, and data
    classes have some that nobody wrote.
    """
    *classes, last = declaration.qualname.split(".")
    owners: list[Any] = [module]
    for part in classes:
        owners = [
            value
            for owner in owners
            for name, value in list(vars(owner).items())
            if _is(value, type) and fnmatch.fnmatchcase(name, part)
        ]
    for owner in owners:
        for name, value in list(vars(owner).items()):
            if not fnmatch.fnmatchcase(name, last):
                continue
            if declaration.is_pattern:
                function = _function_of(value)
                if not _is(function, FunctionType) or function.__module__ != module.__name__:
                    continue
                if name.startswith("__") and name.endswith("__") and not last.startswith("__"):
                    continue
            yield owner, name, value


def _taken(*functions: object) -> Iterator[tuple[ModuleType, str, object]]:
    """Yield where modules hold one of these functions, their own module under another name; and which."""
    sought = {id(function) for function in functions}
    if not sought:
        return
    for module in list(sys.modules.values()):
        if _is(module, ModuleType):
            for name, value in list(_held_by(module).items()):
                if id(value) in sought:
                    yield module, name, value


def _is_held(function: FunctionType, ours: Iterable[object]) -> bool:
    """Whether anything but modules holds a function, whose names can be given the boundary."""
    known = {id(_held_by(module)) for module in list(sys.modules.values()) if _is(module, ModuleType)}
    known |= {id(function.__globals__), *map(id, ours)}
    return any(id(one) not in known and not _is(one, FrameType) for one in gc.get_referrers(function))


def _options(declaration: Declaration, function: FunctionType) -> dict[str, Any]:
    """Return the arguments of `error_boundary`, references resolved."""
    options: dict[str, Any] = {
        "retry_safe": declaration.retry_safe,
        "mode": declaration.mode,
        "capture_locals": declaration.capture_locals,
        "partial_output": declaration.partial_output,
        "in_app": declaration.in_app,
        "golden": declaration.golden,
        "currency": declaration.currency,
        "checks": [_resolve(one) for one in declaration.checks],
        "output": UNSET if declaration.output is None else _resolve(declaration.output),
        "fallback": UNSET if declaration.fallback is None else _resolve(declaration.fallback),
    }
    if declaration.tunable:
        options["tunable"] = {name: _bounds(one) for name, one in declaration.tunable.items()}
    if declaration.context:
        options["context"] = _context(declaration, function)
    return options


def _bounds(tuned: Any) -> Tunable:
    return Between(*tuned.between) if tuned.between is not None else OneOf(tuned.one_of)


def _resolve(reference: str) -> Any:
    module, _, qualname = reference.partition(":")
    value: Any = importlib.import_module(module)
    for part in qualname.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise ConfigurationError(f"{module} has no {qualname}; correct the reference {reference!r}") from error
    return value


def _context(declaration: Declaration, function: FunctionType) -> Callable[..., Mapping[str, str]]:
    signature = inspect.signature(function)
    paths = {key: ValuePath.parse(text) for key, text in declaration.context.items()}
    for key, path in paths.items():
        if path.parameter not in signature.parameters:
            raise ConfigurationError(
                f"context key {key!r} is taken from {path.parameter!r}, and the parameters are "
                f"{', '.join(signature.parameters) or 'none'}",
            )

    def context(*args: Any, **kwargs: Any) -> Mapping[str, str]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {key: str(path.value(bound.arguments)) for key, path in paths.items()}

    return context


def _say(declaration: Declaration, words: str, *, in_part: bool = False) -> None:
    if (words, in_part) in why_missing(declaration.target):  # of a pattern each module may come to the same
        return
    note_missing(declaration.target, words, in_part=in_part)
    logger.warning("the boundary %r of the configuration %s", declaration.target, words)
