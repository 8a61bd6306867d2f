"""The source text of a live function, proven to be the text of the code that runs.

Only the function's own lines are parsed and compiled, inside classes of the same names and under the module's
future flags; where its lines cannot be told by their indentation, the top-level statement that holds it. A
fresh compile must equal the live code object, cold or warm; otherwise the file changed after the import, or
something rewrote the code, and no position in the text can be trusted.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import functools
import hashlib
import linecache
import operator
import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from healspan.remediation.errors import StaleFix
from healspan.remediation.modules import importable_name
from healspan.remediation.parsing import parse
from healspan.remediation.repair.find import nested_codes
from healspan.remediation.repair.inner import original_of

__all__ = [
    "FunctionNode",
    "FunctionSource",
    "function_hash",
    "function_source",
    "note_guarded",
    "original_code",
    "originals",
    "source_hash",
    "unguarded",
]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

originals: WeakKeyDictionary[FunctionType, CodeType] = WeakKeyDictionary()
"""The code of each function that runs a repaired copy now; only `Repairs` writes here."""

_guarded: dict[int, tuple[weakref.ref[CodeType], CodeType]] = {}
"""Guarded copy, for as long as it lives, and original, by the copy's id: a traceback may outlive the repair."""

_sources: WeakKeyDictionary[FunctionType, tuple[CodeType, FunctionSource]] = WeakKeyDictionary()
_hashes: WeakKeyDictionary[FunctionType, tuple[CodeType, str]] = WeakKeyDictionary()

_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
_COMPARED = operator.attrgetter(
    "co_name",
    "co_qualname",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_firstlineno",
    "co_nlocals",
    "co_stacksize",
    "co_code",  # without specialisation, which a warm function has and a fresh one has not
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_linetable",
    "co_exceptiontable",
)


@dataclass(frozen=True, slots=True, eq=False)
class FunctionSource:
    """The text around one function, whose fresh compile equals the code that runs."""

    code: CodeType
    """The function's original code object."""
    filename: str
    headers: tuple[str, ...]
    """Lines that stand for the enclosing classes."""
    lines: tuple[str, ...]
    """Lines of the function, or of the top-level statement around it."""
    first: int
    """Number of the first of them in the file, from 1."""
    imported: tuple[str, ...]
    """Names that the module imports: the compiler calls their attributes in another way."""

    def tree(self) -> ast.Module:
        """Return a fresh syntax tree whose positions are those of the file."""
        above = "\n" * (self.first - 1 - len(self.headers))
        text = above + "\n".join((*self.headers, *self.lines)) + "\n"
        tree: ast.Module = parse(text, filename=self.filename, flags=self.code.co_flags & _FUTURE)
        if self.imported:
            imports = ast.Import([ast.alias(name) for name in self.imported])
            tree.body.append(ast.fix_missing_locations(imports))
        return tree

    def compile(self, tree: ast.Module) -> CodeType | None:
        """Return this function's code from a syntax tree, or None if the tree does not hold it."""
        whole = compile(tree, self.filename, "exec", self.code.co_flags & _FUTURE, dont_inherit=True)
        return next((code for code in nested_codes(whole) if _names(code) == _names(self.code)), None)

    def node(self, tree: ast.Module, code: CodeType | None = None) -> FunctionNode | None:
        """Return the definition in a tree of this function, or of a code object inside it."""
        wanted = self.code if code is None else code
        name = None if wanted.co_name == "<lambda>" else wanted.co_name
        matching = [
            node
            for node in ast.walk(tree)
            if isinstance(node, FunctionNode)
            and getattr(node, "name", None) == name
            and first_line(node) == wanted.co_firstlineno
        ]
        return matching[0] if len(matching) == 1 else None

    def line(self, number: int) -> str:
        """Return a line by its number in the file; empty outside the statement."""
        index = number - self.first
        return self.lines[index] if 0 <= index < len(self.lines) else ""

    def segment(self, node: ast.expr) -> str:
        """Return the text of an expression."""
        last = node.end_lineno or node.lineno
        taken = [self.line(number).encode() for number in range(node.lineno, last + 1)]
        taken[-1] = taken[-1][: node.end_col_offset]
        taken[0] = taken[0][node.col_offset :]
        return b"\n".join(taken).decode(errors="replace")

    def text(self) -> str | None:
        """Return the function's own text, decorators included."""
        node = self.node(self.tree())
        if node is None:
            return None
        return "\n".join(self.line(n) for n in range(first_line(node), (node.end_lineno or 0) + 1))


def first_line(node: FunctionNode) -> int:
    """Return the line that ``co_firstlineno`` names: the first decorator's, if there is one."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(each.lineno for each in decorators)])


def original_code(function: FunctionType) -> CodeType:
    """Return the code a function had before any repair."""
    return originals.get(function) or original_of(function.__code__)


def note_guarded(guarded: CodeType, original: CodeType) -> None:
    """Remember of what code, the codes inside it included, this is a guarded copy; only `Repairs` calls it."""
    for copy, own in zip(nested_codes(guarded), nested_codes(original), strict=True):
        if copy is not own:
            _guarded[id(copy)] = weakref.ref(copy, functools.partial(_forget, id(copy))), own


def unguarded(code: CodeType) -> CodeType:
    """Return the code of which this is, or was, a guarded copy, or the code itself if it is none."""
    known = _guarded.get(id(code))
    return code if known is None else known[1]


def _forget(copy: int, reference: weakref.ref[CodeType]) -> None:
    known = _guarded.get(copy)
    if known is not None and known[0] is reference:
        del _guarded[copy]


def function_source(function: FunctionType) -> FunctionSource:
    """Return the source of a function, proven equal to the code it runs (without repairs).

    Raises:
        StaleFix: there is no source, or it is not the source of what runs.
    """
    code = original_code(function)
    known = _sources.get(function)
    if known is not None and known[0] is code:
        return known[1]
    deep: RecursionError | None = None
    for source in _slices(function, code):
        try:
            fresh = source.compile(source.tree())
        except (SyntaxError, ValueError):
            continue
        except RecursionError as error:
            deep = error
            continue
        if fresh is not None and same_code(fresh, code):
            _sources[function] = code, source
            return source
    raise StaleFix(
        f"the source of {function.__module__}.{code.co_qualname} is missing or is not what runs; "
        "restart the service with the source it was started from",
    ) from deep


def source_hash(function: FunctionType) -> str:
    """Return the SHA-256 of a function's own source text, decorators included, as hexadecimal digits.

    Where no source text is proven to be what runs, the code itself is hashed instead.
    """
    code = original_code(function)
    known = _hashes.get(function)
    if known is not None and known[0] is code:
        return known[1]
    text, lasting = None, True
    try:
        text = function_source(function).text()
    except StaleFix as error:
        # At the end of the stack no source can be read; further up it can.
        lasting = not isinstance(error.__cause__, RecursionError)
    digest = hashlib.sha256((text if text is not None else _description(code)).encode()).hexdigest()
    if lasting:
        _hashes[function] = code, digest
    return digest


def function_hash(function: object) -> tuple[str, str]:
    """Return ``module:qualname`` and the source hash of what a callable finally calls.

    Something that is no Python function (a class, a C function) is hashed by its name alone.
    """
    inner = function
    for _ in range(32):
        if isinstance(inner, functools.partial | functools.partialmethod):
            inner = inner.func
        elif "__wrapped__" in getattr(inner, "__dict__", ()):
            inner = inner.__dict__["__wrapped__"]
        elif hasattr(inner, "__func__"):
            inner = inner.__func__
        else:
            break
    module = importable_name(str(getattr(inner, "__module__", "?")))
    target = f"{module}:{getattr(inner, '__qualname__', type(inner).__qualname__)}"
    if isinstance(inner, FunctionType):
        return target, source_hash(inner)
    return target, hashlib.sha256(target.encode()).hexdigest()


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects are the same program with the same positions, whatever their warmth."""
    return _COMPARED(one) == _COMPARED(other) and _same_constants(one.co_consts, other.co_consts)


def _same_constants(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(_same_constant, one, other))


def _same_constant(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return same_code(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return _same_constants(one, other)
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return sorted(map(_typed, one)) == sorted(map(_typed, other))
    # The repr tells 0.0 from -0.0, which are equal.
    return one == other and repr(one) == repr(other)


def _typed(value: object) -> tuple[str, str]:
    return type(value).__qualname__, repr(value)


def _names(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _description(code: CodeType) -> str:
    constants = [_description(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return repr((code.co_qualname, code.co_code, code.co_names, code.co_varnames, constants))


def _slices(function: FunctionType, code: CodeType) -> Iterator[FunctionSource]:
    """Yield texts that may hold the function: what its indentation says, then the parsed statement."""
    lines = _module_lines(function, code)
    at = code.co_firstlineno - 1
    if at >= len(lines):
        return
    with contextlib.suppress(SyntaxError, ValueError):
        imported = _imported(parse("\n".join(_import_lines(lines))).body)
        own = tuple(_indented_block(lines[at:]))
        classes = code.co_qualname.split(".")[:-1]
        headers = [f"{' ' * depth}class {name}:" for depth, name in enumerate(classes)]
        if not headers and own[0][:1].isspace():
            headers = ["if True:"]
        if len(headers) <= at:
            yield FunctionSource(code, code.co_filename, tuple(headers), own, at + 1, imported)
    try:
        tree = parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return
    imported = _imported(tree.body)
    for statement in tree.body:
        last = statement.end_lineno or statement.lineno
        above = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        if above <= at + 1 <= last:
            yield FunctionSource(code, code.co_filename, (), tuple(lines[above - 1 : last]), above, imported)


def _indented_block(lines: Iterable[str]) -> Iterator[str]:
    """Yield the first line, its fellow decorators, and everything that is indented further."""
    depth, decorated = -1, True
    for line in lines:
        bare = line.lstrip()
        if depth < 0:
            depth = len(line) - len(bare)
        elif not decorated and bare and len(line) - len(bare) <= depth and bare[0] not in "#)]}":
            return
        decorated = decorated and bare.startswith("@")
        yield line


def _import_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the import statements that are not indented."""
    open_parenthesis = False
    for line in lines:
        if open_parenthesis or line.startswith(("import ", "from ")):
            yield line
            open_parenthesis = ")" not in line and (open_parenthesis or "(" in line)


def _imported(statements: Iterable[ast.AST]) -> tuple[str, ...]:
    """Return the names that import statements bind in the scope of these statements."""
    names: set[str] = set()
    waiting = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((each.asname or each.name).partition(".")[0] for each in node.names)
        elif not isinstance(node, FunctionNode | ast.ClassDef | ast.expr):
            waiting.extend(ast.iter_child_nodes(node))
    return tuple(sorted(names - {"*"}))


def _module_lines(function: FunctionType, code: CodeType) -> list[str]:
    """Return the lines of the module's source as it is now; empty where there is none."""
    module = sys.modules.get(function.__module__ or "")
    spec = getattr(module, "__spec__", None)
    loader: Any = getattr(module, "__loader__", None)
    if getattr(module, "__file__", None) == code.co_filename and hasattr(loader, "get_source"):
        try:
            # A script has no spec; `python -m` names its module, not __main__, in the spec.
            text = loader.get_source(spec.name if spec is not None else function.__module__)
        except (ImportError, OSError, SyntaxError, UnicodeError):
            return []
        return (text or "").split("\n")
    return [line.rstrip("\n") for line in linecache.getlines(code.co_filename, function.__globals__)]
