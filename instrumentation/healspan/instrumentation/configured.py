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
from healspan.remediation.boundary import (
    UNSET,
    Between,
    OneOf,
    Tunable,
    boundaries,
    forget_missing,
    note_missing,
    withdraw,
)
from healspan.remediation.declaration import Declaration, ValuePath, find_configuration, read_declarations
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.runtime import serve_again
from healspan.remediation.settings import load_settings

__all__ = ["ConfiguredBoundaries", "put_on_configured"]

logger = logging.getLogger("healspan")


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
        self._lock = threading.Lock()
        self._applied: dict[str, _Applied] = {}
        self._hooked: set[str] = set()
        self._finder: _Finder | None = None
        self._read_as: tuple[int, ...] | None = None
        self._looked_at: weakref.WeakSet[FunctionType] = weakref.WeakSet()

    def is_outdated(self) -> bool:
        """Whether the file is another one than that which is in force, by its time and size."""
        return self._read_as != self._looks()

    def forked(self) -> None:
        """Begin anew in a forked child: who held the lock did not come along."""
        self._lock = threading.Lock()

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
                # wrapt's own finder has to be there before ours tells it of the first module: one that joins the list
                # while it is gone through is passed over.
                wrapt.register_post_import_hook(_ignore, __name__)
                self._finder = _Finder(self._is_wanted, self._hook)
                sys.meta_path.insert(0, self._finder)
        serve_again()
        for module in list(sys.modules.values()):
            if not getattr(getattr(module, "__spec__", None), "_initializing", False):
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
        serve_again()

    # Imports

    def _is_wanted(self, name: str) -> bool:
        return name not in self._hooked and any(self._meant(name))

    def _meant(self, module: str) -> Iterator[_Applied]:
        for applied in list(self._applied.values()):
            if fnmatch.fnmatchcase(module, applied.declaration.module):
                yield applied

    def _hook(self, name: str) -> None:
        """Have the import of a module tell us when it has ended."""
        self._hooked.add(name)
        wrapt.register_post_import_hook(self._imported, name)

    def _imported(self, module: object) -> None:
        """Put on what is declared for a module; called at the end of its import, and for those that are there."""
        if not isinstance(module, ModuleType):
            return
        name = str(module.__name__)
        for applied in self._meant(name):
            with self._lock:
                if name in applied.modules:
                    continue
                applied.modules.add(name)
            # Without the lock: references are imported, and another thread's import may be waiting to tell us.
            self._put_on(applied, module)

    # Functions

    def _put_on(self, applied: _Applied, module: ModuleType) -> None:
        declaration = applied.declaration
        found = list(_find(module, declaration))
        if not found and not declaration.is_pattern:  # which may match other modules
            _say(declaration, "names no function of this module; correct the target, or remove it")
        for owner, attribute, before in found:
            function = before.__func__ if isinstance(before, staticmethod | classmethod) else before
            if not inspect.isfunction(function):
                _say(declaration, f"names a {type(before).__name__}, and boundaries stand around functions")
                continue
            if hasattr(function, "boundary"):
                if not declaration.is_pattern:
                    _say(declaration, "has a boundary in the code already, which stays; remove one of the two")
                continue
            name = declaration.name or f"{module.__name__}.{function.__qualname__}"
            if name in boundaries():
                _say(declaration, f"would be the second boundary named {name!r}; give it another name")
                continue
            # Before the boundary holds it as well; once, since what was withdrawn may go on holding it. Not for
            # patterns: a look at everything there is, for each of many functions, would hold up the service's start.
            look = isinstance(owner, ModuleType) and not declaration.is_pattern and function not in self._looked_at
            held = look and _is_held(function, found)
            self._looked_at.add(function)
            try:
                bounded: Any = error_boundary(name, **_options(declaration, function))(function)
            except Exception as error:  # references are imported, which runs the application's code
                _say(declaration, f"cannot have its boundary ({type(error).__name__}: {error})")
                continue
            if isinstance(before, staticmethod | classmethod):
                bounded = type(before)(bounded)
            setattr(owner, attribute, bounded)
            applied.wrapped.append(_Wrapped(owner, attribute, before, bounded, name))
            for other, known_as in _taken(before, module):
                setattr(other, known_as, bounded)
                applied.wrapped.append(_Wrapped(other, known_as, before, bounded, name))
            if held:
                _say(
                    declaration,
                    f"does not reach whoever took {function.__qualname__} while its module was imported, as a table, "
                    "or a decorator that registers it (a route, a task): they call it without; declare a function that "
                    "it calls, or put @error_boundary below that decorator",
                )

    def _take_off(self, applied: _Applied) -> None:
        for one in applied.wrapped:
            # What somebody has put there since is theirs.
            if vars(one.owner).get(one.attribute) is one.now:
                setattr(one.owner, one.attribute, one.before)
            if isinstance(one.owner, ModuleType):
                # Also those who have imported the function since: what they hold would be called straight through.
                for other, known_as in _taken(one.now, one.owner):
                    setattr(other, known_as, one.before)
            withdraw(one.name)
        applied.wrapped.clear()
        forget_missing(applied.declaration.target)


def put_on_configured() -> None:
    """Put on what the configuration declares, for the commands that import the application (entry point)."""
    path = find_configuration(Path.cwd(), load_settings().config)
    if path is not None:
        ConfiguredBoundaries(path).apply()


class _Finder(MetaPathFinder):
    """Finds nothing; hears the name of every module before it is imported, which patterns need."""

    def __init__(self, wanted: Callable[[str], bool], hook: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._hook = hook

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Say that others are to find it."""
        if self._wanted(fullname):
            self._hook(fullname)
        return None


def _ignore(_: object) -> None:
    pass


def _find(module: ModuleType, declaration: Declaration) -> Iterator[tuple[Any, str, Any]]:
    """Yield owner, attribute and value of what a target means in a module; of a pattern its own functions only."""
    *classes, last = declaration.qualname.split(".")
    owners: list[Any] = [module]
    for part in classes:
        owners = [
            value
            for owner in owners
            for name, value in list(vars(owner).items())
            if isinstance(value, type) and fnmatch.fnmatchcase(name, part)
        ]
    for owner in owners:
        for name, value in list(vars(owner).items()):
            if not fnmatch.fnmatchcase(name, last):
                continue
            if declaration.is_pattern:
                function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
                if not isinstance(function, FunctionType) or function.__module__ != module.__name__:
                    continue
            yield owner, name, value


def _taken(function: object, home: ModuleType) -> Iterator[tuple[ModuleType, str]]:
    """Yield where other modules hold a function, bare or with its boundary, that they have imported from its own."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module is not home:
            for name, value in list(vars(module).items()):
                if value is function:
                    yield module, name


def _is_held(function: FunctionType, ours: Iterable[object]) -> bool:
    """Whether anything but modules holds a function, whose names can be given the boundary."""
    known = {id(vars(module)) for module in list(sys.modules.values()) if isinstance(module, ModuleType)}
    known |= {id(function.__globals__), *map(id, ours)}
    return any(id(one) not in known and not isinstance(one, FrameType) for one in gc.get_referrers(function))


def _options(declaration: Declaration, function: FunctionType) -> dict[str, Any]:
    """Return the arguments of `error_boundary`, references resolved."""
    options: dict[str, Any] = {
        "retry_safe": declaration.retry_safe,
        "mode": declaration.mode,
        "capture_locals": declaration.capture_locals,
        "partial_output": declaration.partial_output,
        "in_app": declaration.in_app,
        "golden": declaration.golden,
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


def _say(declaration: Declaration, words: str) -> None:
    note_missing(declaration.target, words)
    logger.warning("the boundary %r of the configuration %s", declaration.target, words)
