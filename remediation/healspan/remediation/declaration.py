"""Boundaries that are declared in a file instead of in the code: ``[tool.healspan.boundaries]`` of pyproject.toml.

Pure reading: what the file says, and whether it makes sense. `healspan.instrumentation.configured` finds the functions.
A file ``healspan.toml`` has the same tables without ``tool.healspan`` before them.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, JsonValue, StrictBool, ValidationError, field_validator, model_validator

from healspan.remediation.boundary import BoundaryMode
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.record import Record

__all__ = ["Declaration", "TunedArgument", "ValuePath", "find_configuration", "read_declarations"]

FILES = ("healspan.toml", "pyproject.toml")
"""Looked for in the working directory, in this order."""

_NAME = r"[^\W\d]\w*"
_REFERENCE = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")
_PATTERN = re.compile(r"[\w.*?\[\]!-]+:[\w.*?\[\]!-]+")
_GLOB = re.compile(r"[*?\[]")
_REFERENCES = ("output", "fallback")
"""Keys whose values are the application's, and stand in its code."""
_FORMS = {
    "checks": 'a list: checks = ["package.module:function"]',
    "context": """a table: context = { document_type = "filing.form" }""",
    "in_app": 'a list: in_app = ["package"]',
    "retry_safe": 'retry_safe = true, false or "snapshot"',
    "tunable": 'a table: tunable = { encoding = { one_of = ["utf-8", "latin-1"] } }',
}
_MOST_PARTS = 16
_MOST_BYTES = 1_000_000
"""Of a file: it is read at the start of the service, where nobody expects to wait for it."""


class ValuePath(NamedTuple):
    """Where a context key's value is found: a parameter, and attributes and items from there."""

    parameter: str
    steps: tuple[tuple[Literal["attribute", "item"], str | int], ...]

    @classmethod
    def parse(cls, text: str) -> ValuePath:
        """Read e.g. ``filing.form`` or ``row["type"]``.

        Raises:
            ValueError: it is anything else: a call, an operator, a constant.
        """
        try:
            node = ast.parse(text, mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{text!r:.80} cannot be read") from error
        steps: list[tuple[Literal["attribute", "item"], str | int]] = []
        while not isinstance(node, ast.Name):
            match node:
                case ast.Attribute(value=owner, attr=name) if not name.startswith("__"):
                    steps.append(("attribute", name))
                case ast.Subscript(value=owner, slice=ast.Constant(value=str() | int() as key)):
                    steps.append(("item", key))
                case _:
                    raise ValueError(
                        f"{text!r:.80} is not a parameter with attributes and items, as in filing.form or row['type']"
                    )
            node = owner
            if len(steps) > _MOST_PARTS:
                raise ValueError(f"{text!r:.80} is too long")
        return cls(node.id, tuple(reversed(steps)))

    def value(self, arguments: Mapping[str, object]) -> object:
        """Return what is found there in a call's arguments; runs the application's code, and raises its errors."""
        found: Any = arguments[self.parameter]
        for kind, key in self.steps:
            found = getattr(found, str(key)) if kind == "attribute" else found[key]
        return found


class TunedArgument(Record):
    """Which values a fix may choose for an argument: `Between` or `OneOf`."""

    between: tuple[float, float] | None = None
    one_of: tuple[JsonValue, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.between is None) == (self.one_of is None):
            raise ValueError("give either between = [low, high] or one_of = [one, other]")
        return self


class Declaration(Record):
    """What one table of the file says of one function, or of all that a pattern matches."""

    target: str
    """``package.module:function`` or ``package.module:Class.method``; either side may be a pattern of `fnmatch`."""
    name: str = ""
    """The boundary's; default: the function's dotted name. Not with a pattern."""
    output: str | None = None
    """``package.module:Name`` of the type of the result; default: the return annotation."""
    checks: tuple[str, ...] = ()
    """Functions ``check(result, arguments)``, likewise."""
    retry_safe: StrictBool | Literal["snapshot"] = False
    context: dict[str, str] = Field(default_factory=dict)
    """Expressions over the parameters; see `ValuePath`."""
    tunable: dict[str, TunedArgument] = Field(default_factory=dict)
    currency: str | None = None
    """Code of the currency that amounts are in; default: that of the service."""
    fallback: str | None = None
    """A value, or a function without parameters, by its dotted name."""
    mode: BoundaryMode = "heal"
    capture_locals: bool = False
    partial_output: str | None = None
    in_app: tuple[str, ...] = ()
    golden: float | None = Field(default=None, ge=0, le=1)

    @field_validator("output", "fallback")
    @classmethod
    def _refers(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError("name it as package.module:Name")
        return value

    @field_validator("checks")
    @classmethod
    def _all_refer(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            cls._refers(one)
        return value

    @field_validator("context")
    @classmethod
    def _paths(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            ValuePath.parse(text)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not _PATTERN.fullmatch(self.target):
            raise ValueError("a target is package.module:function or package.module:Class.method")
        if self.is_pattern and self.name:
            raise ValueError("a pattern matches several functions, so it can have no name; leave it out")
        return self

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several functions."""
        return _GLOB.search(self.target) is not None

    @property
    def is_for_all(self) -> bool:
        """Whether it names no package, so that it means the application's, whichever they are."""
        return _GLOB.search(self.target.partition(":")[0].partition(".")[0]) is not None

    @property
    def module(self) -> str:
        """Name, or pattern of the names, of the module."""
        return self.target.partition(":")[0]

    @property
    def qualname(self) -> str:
        """Qualified name, or pattern, of the function in it."""
        return self.target.partition(":")[2]


def find_configuration(directory: Path, chosen: str = "") -> Path | None:
    """Return the file that declares boundaries: the chosen one, or the first that does in a directory; None if none.

    Raises:
        ConfigurationError: the chosen one is not there, or a file cannot be read.
    """
    if chosen:
        try:
            path = Path(chosen).expanduser()
            there = path.exists()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigurationError(f"HEALSPAN_CONFIG={chosen} cannot be looked at ({error}); correct it") from error
        if not there:
            raise ConfigurationError(f"HEALSPAN_CONFIG={chosen}: there is no such file; correct it or unset it")
        return path
    for name in FILES:
        path = directory / name
        try:
            there = path.exists() or path.is_symlink()
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be looked at ({error.strerror}); give this user the right, or set HEALSPAN_CONFIG"
            ) from error
        if there and _tables(path) is not None:
            return path
    return None


def read_declarations(path: Path) -> tuple[Declaration, ...]:
    """Return what a file declares, in its order.

    Raises:
        ConfigurationError: it cannot be read, or says something that cannot be meant; the message names the line's key.
    """
    tables = _tables(path)
    if tables is None:
        return ()
    if not isinstance(tables, dict):
        raise ConfigurationError(f'{path}: boundaries is no table; write [boundaries."package.module:function"]')
    declared = []
    for target, table in tables.items():
        where = f"{path}: boundaries.{target!r}"
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where} is no table; a target with a colon stands in quotation marks")
        try:
            declared.append(Declaration.model_validate({**table, "target": target}))
        except ValidationError as error:
            raise ConfigurationError(where + _told(target, error)) from error
    names = [one.name for one in declared if one.name]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"{path}: two boundaries are named {twice[0]!r}; a name belongs to one function")
    return tuple(declared)


def _told(target: str, error: ValidationError) -> str:
    """Say what is wrong with a table, in the words of its file."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        if ":" not in target and isinstance(first["input"], dict):
            # Without quotation marks each dot of a target begins a table of its own.
            return f' is no target; write it in quotation marks, as in [boundaries."{target}.{key}:function"]'
        known = [name for name in Declaration.model_fields if name != "target"]
        meant = get_close_matches(key, known, n=1)
        return f": there is no {key!r}; " + (
            f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"
        )
    if key in _REFERENCES and first["type"] == "string_type":
        return f", {key}: it is not written here but named, as package.module:Name; put the value there"
    asked = _FORMS.get(str(first["loc"][0])) if first["loc"] else None
    if asked is not None and first["type"] != "value_error":
        return f", {key}: write {asked}"
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    advice = "" if first["type"] == "value_error" else "; correct it"
    return f"{f', {key}' if key else ''}: {said}{advice}"


def _tables(path: Path) -> Any:
    try:
        content = tomllib.loads(_text(path))
    except (OSError, ValueError) as error:  # no TOML, no UTF-8, or a number of more digits than Python reads
        raise ConfigurationError(f"{path} cannot be read ({error}); correct it") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} cannot be read (it is nested too deeply); correct it") from error
    own: Any = content
    if path.name == "pyproject.toml":
        tool = content.get("tool")
        own = tool.get("healspan", {}) if isinstance(tool, dict) else {}
    if not isinstance(own, dict):
        raise ConfigurationError(
            f'{path}: tool.healspan is no table; write [tool.healspan.boundaries."module:function"]'
        )
    for name in own:
        # Passed over, a slip would leave the service without a boundary, and nobody would be told.
        if name != "boundaries":
            raise ConfigurationError(f"{path}: {name!r} says nothing to healspan; {_advice(name)}")
    return own.get("boundaries")


def _advice(name: str) -> str:
    if name == "tool":
        return 'in this file tables have no tool.healspan before them: [boundaries."package.module:function"]'
    if get_close_matches(name, ["boundaries"], n=1):
        return "did you mean 'boundaries'?"
    return "the file declares boundaries only, and settings come from the environment (HEALSPAN_...)"


def _text(path: Path) -> str:
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file; correct HEALSPAN_CONFIG, or put a file in its place")
    with path.open("rb") as file:
        found = file.read(_MOST_BYTES + 1)
    if len(found) > _MOST_BYTES:
        raise ConfigurationError(
            f"{path} has more than {_MOST_BYTES:,} bytes, which no declaration of boundaries needs; put them into a "
            "healspan.toml of their own"
        )
    return found.decode("utf-8")
