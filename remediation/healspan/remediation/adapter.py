"""The text of an adapter: read, and refused where a reviewer should not even have to look at it.

The sandbox is the boundary, not this check: a text that slips through meets an interpreter that has nothing to
give. What is refused here is what no adapter needs, so that a wrong or hostile text is told apart early, with a
sentence that says what to change.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from healspan.remediation.errors import InvalidFix
from healspan.remediation.parsing import parse

__all__ = ["HOST_NAMES", "MODULES", "MOST_TEXT", "PARAMETERS", "AdapterText", "read_text"]

MOST_TEXT = 8_000
"""Characters: an adapter that needs more is a change of the program."""

PARAMETERS = ("call", "arguments", "error")

HOST_NAMES = ("call", "strategy", "repair")
"""What the host may hand to an adapter: the original call, the boundary's alternatives, the catalogue."""

MODULES = frozenset(
    {
        "base64",
        "binascii",
        "bisect",
        "collections",
        "copy",
        "csv",
        "dataclasses",
        "datetime",
        "decimal",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
        "re",
        "typing",
        "unicodedata",
    },
)
"""Modules that compute. The sandbox knows a few more, which ask for a clock, for chance or for a file."""

_OURS = "_healspan"
_REFUSED_NAMES = {
    **dict.fromkeys(("eval", "exec", "compile"), "makes code out of text, which nobody can review"),
    **dict.fromkeys(("globals", "locals", "vars", "breakpoint"), "looks behind the adapter's own names"),
    **dict.fromkeys(("getattr", "setattr", "delattr"), "reaches attributes by text; plain values have none to reach"),
    **dict.fromkeys(("open", "input"), "asks for files or people, and the sandbox has neither"),
    "print": "prints, and an adapter's output goes nowhere",
}
_DUNDER = re.compile(r"__\w+__")
_WRITTEN_OUT = re.compile(r"__[a-z]+__|\.__")
_SUSPENDING = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)


@dataclass(frozen=True, slots=True)
class AdapterText:
    """What a text that passed the check is known to use."""

    host_names: frozenset[str]
    """Those of `HOST_NAMES` that it names; no other will be answered."""

    @property
    def calls(self) -> bool:
        """Whether it may make the original call again."""
        return "call" in self.host_names


@functools.lru_cache(maxsize=512)
def read_text(text: str) -> AdapterText:
    """Check the text of an adapter.

    Raises:
        InvalidFix: it must not be stored or run; the message names the line and says what to change.
    """
    tree = _parsed(text)
    _check_module(tree)
    names: set[str] = set()
    for node in ast.walk(tree):
        reason = _refusal(node)
        if reason is not None:
            line = getattr(node, "lineno", 0)
            raise InvalidFix(f"adapter, line {line}: {reason}")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
    return AdapterText(host_names=frozenset(names & set(HOST_NAMES)))


def _parsed(text: str) -> ast.Module:
    if len(text) > MOST_TEXT:
        raise InvalidFix(f"adapter: {len(text):,} characters are more than {MOST_TEXT:,}; make it shorter")
    try:
        tree: ast.Module = parse(text)
    except SyntaxError as error:
        raise InvalidFix(f"adapter, line {error.lineno or 0}: {error.msg}; correct it") from None
    except (ValueError, MemoryError, RecursionError):
        raise InvalidFix("adapter: it is nested too deeply, or holds a null character; make it simpler") from None
    return tree


def _check_module(tree: ast.Module) -> None:
    found = 0
    for position, node in enumerate(tree.body):
        match node:
            case ast.Import() | ast.ImportFrom():
                continue
            case ast.Expr(value=ast.Constant(value=str())) if position == 0:
                continue
            case ast.FunctionDef(name="heal"):
                found += 1
                _check_heal(node)
            case _:
                raise InvalidFix(
                    f"adapter, line {node.lineno}: beside imports there must be one function, heal; move this into it",
                )
    if found != 1:
        raise InvalidFix(f"adapter: it must define heal({', '.join(PARAMETERS)}) once, and it does {found} times")


def _check_heal(node: ast.FunctionDef) -> None:
    given = node.args
    names = tuple(one.arg for one in (*given.posonlyargs, *given.args))
    more = given.vararg or given.kwarg or given.kwonlyargs or given.defaults or node.decorator_list
    if names != PARAMETERS or more:
        raise InvalidFix(
            f"adapter, line {node.lineno}: it must read 'def heal({', '.join(PARAMETERS)}):', with no default and no "
            "decorator",
        )


def _refusal(node: ast.AST) -> str | None:
    match node:
        case ast.Import(names=names):
            return _module_refusal(alias.name for alias in names)
        case ast.ImportFrom(module=module, level=level, names=names):
            if level or any(alias.name == "*" for alias in names):
                return "import a module, or names of it, one by one"
            return _module_refusal([module or ""])
        case ast.Global():
            return "'global' reaches behind the adapter's own names; use a variable of heal"
        case ast.ExceptHandler(type=kind, body=[ast.Pass()]) if _catches_all(kind):
            return "it swallows every exception; name the exceptions that you expect, and say what they mean"
        case ast.Constant(value=str() as value) if _WRITTEN_OUT.search(value):
            return "a text in it names an attribute with two underscores; leave it out"
        case _ if isinstance(node, _SUSPENDING):
            return "heal is a plain function: no async, await or yield; 'call' waits by itself"
    return next(filter(None, map(_name_refusal, _names(node))), None)


def _module_refusal(modules: Iterator[str] | list[str]) -> str | None:
    for module in modules:
        if module not in MODULES:
            return f"the sandbox has no module {module!r} for adapters; it has {', '.join(sorted(MODULES))}"
    return None


def _catches_all(kind: ast.expr | None) -> bool:
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node itself uses or binds; methods that a class defines are its own matter."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.ClassDef(name=name):
            yield name
        case ast.FunctionDef(name=name):
            if not _DUNDER.fullmatch(name):
                yield name
        case ast.keyword(arg=str() as name):
            yield name
        case ast.alias(name=name, asname=asname):
            yield from filter(None, (name, asname))
        case (
            ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name)
        ):
            yield name
        case ast.MatchClass(kwd_attrs=attributes):
            yield from attributes


def _name_refusal(name: str) -> str | None:
    if _DUNDER.search(name):
        return f"{name!r} is a name of the interpreter's own; an adapter works on plain values"
    if name.startswith(_OURS):
        return f"names that begin with {_OURS!r} are taken; choose another"
    if name in _REFUSED_NAMES:
        return f"{name!r} {_REFUSED_NAMES[name]}; leave it out"
    return None
