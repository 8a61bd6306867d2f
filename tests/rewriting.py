"""Modules that attack the rewriting of functions; each has a function ``attacked`` that fails on one input."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

BAD = "$1,234"


@dataclass(frozen=True)
class Attack:
    """A module under attack."""

    name: str
    text: str | bytes
    right: Any = 1234.0
    """What `attacked(BAD)` is if it is healed."""
    good: tuple[Any, ...] = ("12", " 7.5 ")
    refused: bool = False
    """Whether healing it would be a defect in any case."""
    prepare: Callable[[ModuleType, Path], None] = field(default=lambda module, file: None)
    """What the attacker does after the import."""


def renames(module: ModuleType, file: Path) -> None:
    """Put other text into the file, as a deployment under a running process does."""
    file.write_text("import os\n\n\ndef attacked(text):\n    return int(text) if os else float(text)\n")
    linecache.checkcache()


def removes(module: ModuleType, file: Path) -> None:
    file.unlink()
    linecache.checkcache()


def becomes_a_directory(module: ModuleType, file: Path) -> None:
    file.unlink()
    file.mkdir()
    linecache.checkcache()


def becomes_a_link(module: ModuleType, file: Path) -> None:
    """Lead the path to a file that looks alike but for one operator."""
    other = file.with_name("elsewhere.py")
    other.write_text(file.read_text().replace("+ 1", "- 1"))
    file.unlink()
    file.symlink_to(other)
    linecache.checkcache()


def poisons_linecache(module: ModuleType, file: Path) -> None:
    text = file.read_text().replace("+ 1", "- 1")
    linecache.cache[str(file)] = (len(text), None, text.splitlines(keepends=True), str(file))


def breaks_the_loader(module: ModuleType, file: Path) -> None:
    class Loader:
        def get_source(self, name: str) -> str:
            raise SystemError("no source for you")

        def __getattr__(self, name: str) -> Any:
            raise SystemError(name)

    module.__loader__ = Loader()


def swaps_a_constant(module: ModuleType, file: Path) -> None:
    code = module.attacked.__code__
    constants = tuple(2.0 if one == 1 and type(one) is int else one for one in code.co_consts)
    module.attacked.__code__ = code.replace(co_consts=constants)


def hides_behind_another(module: ModuleType, file: Path) -> None:
    """Put another function into the module's place for it."""
    module.hidden = module.attacked
    module.attacked = lambda text: "another function"
    module.attacked.__qualname__ = "attacked"


def claims_to_be_the_standard_library(module: ModuleType, file: Path) -> None:
    module.attacked.__module__ = "json.decoder"
    module.attacked.__qualname__ = "scanstring"


def replaces_float(module: ModuleType, file: Path) -> None:
    module.float = lambda text: ("shadowed", text)


def lines(*text: str) -> str:
    return "\n".join(text) + "\n"


PLAIN = lines("def attacked(text):", "    return float(text) + 1")
SHIFTED = {"right": 1235.0}
MARK = r"\0healspan guard 0\0"
MARKED = "\0healspan guard 0\0"

ATTACKS = (
    # Names like ours
    Attack(
        "a parameter named guard", lines("def attacked(text, guard=1):", "    return float(text) + guard"), **SHIFTED
    ),
    Attack(
        "locals and globals with our names",
        lines(
            "guard = Guard = healspan = _healspan_guard = 1",
            "def attacked(text):",
            "    _healspan_error = call_1 = item = 0",
            "    return float(text) + guard + call_1 + item + _healspan_error + Guard - healspan",
        ),
        **SHIFTED,
    ),
    Attack(
        "closure cells with our names",
        lines(
            "def make():",
            "    guard = _healspan = 1",
            "    def attacked(text):",
            "        nonlocal guard",
            "        return float(text) + guard * _healspan",
            "    return attacked",
            "attacked = make()",
        ),
        **SHIFTED,
    ),
    # Constants like ours
    Attack(
        "a constant like the guard's",
        lines("def attacked(text):", f"    return float(text), '{MARK}'"),
        (1234.0, MARKED),
    ),
    Attack(
        "a constant that becomes the guard's",
        lines("def attacked(text):", r"    return float(text), '\0healspan ' + 'guard 0\0'"),
        (1234.0, MARKED),
    ),
    Attack(
        "a constant like an operator's",
        lines("def attacked(text):", r"    mark = '\0healspan guard +\0'", "    return mark + str(float(text))"),
        "\0healspan guard +\x001234.0",
    ),
    Attack(
        "a constant like the guard's in an inner function",
        lines(
            "def attacked(text):",
            "    def mark():",
            f"        return '{MARK}'",
            "    return float(text), mark(), [m for m in ('x',) if m != '" + MARK + "']",
        ),
        (1234.0, MARKED, ["x"]),
    ),
    Attack(
        "a docstring like the guard's",
        lines("def attacked(text):", f'    "{MARK}"', "    return float(text), attacked.__doc__"),
        (1234.0, MARKED),
    ),
    Attack(
        "constants like ours inside containers",
        lines(
            "def attacked(text):",
            f"    return float(text), ('{MARK}', b'{MARK}'), text in {{'{MARK}', 'x'}}, f'{{text!s:.0}}{MARK}'",
        ),
        (1234.0, (MARKED, MARKED.encode()), False, MARKED),
    ),
    # Source that is not what runs
    Attack("the file is another one now", PLAIN, prepare=renames, **SHIFTED),
    Attack("the file is gone", PLAIN, prepare=removes, **SHIFTED),
    Attack("the file is a directory now", PLAIN, prepare=becomes_a_directory, **SHIFTED),
    Attack("the file is a link to a lookalike now", PLAIN, prepare=becomes_a_link, **SHIFTED),
    Attack("linecache is poisoned", PLAIN, prepare=poisons_linecache, **SHIFTED),
    Attack("the loader is hostile", PLAIN, prepare=breaks_the_loader, **SHIFTED),
    Attack("a constant of the code was swapped", PLAIN, 1236.0, prepare=swaps_a_constant),
    Attack("the module's name leads elsewhere", PLAIN, prepare=hides_behind_another, **SHIFTED),
    Attack("it claims to be the standard library", PLAIN, prepare=claims_to_be_the_standard_library, **SHIFTED),
    Attack(
        "it was made by exec",
        lines(
            "space = {}",
            "exec('def attacked(text):\\n    return float(text) + 1', space)",
            "attacked = space['attacked']",
        ),
        **SHIFTED,
    ),
    Attack(
        "exec under the name of a file with other text",
        lines(
            "text = '\\n' * 6 + 'def attacked(text):\\n    return float(text) + 1\\n'",
            "exec(compile(text, __file__, 'exec'))",
            "def decoy(text):",
            "    pass",
            "",
            "if 0:",
            "  def attacked(text):",
            "    return float(text) - 1",
        ),
        **SHIFTED,
    ),
    Attack(
        "a decorator replaced the code",
        lines(
            "def other(text):",
            "    return float(text) + 1",
            "def replaced(function):",
            "    function.__code__ = other.__code__",
            "    return function",
            "@replaced",
            "def attacked(text):",
            "    return float(text) - 1",
        ),
        **SHIFTED,
    ),
    Attack(
        "__wrapped__ leads to another function",
        lines(
            "def other(text):",
            "    return float(text) - 1",
            "def attacked(text):",
            "    return float(text) + 1",
            "attacked.__wrapped__ = other",
        ),
        **SHIFTED,
    ),
    # Text that is hard to read
    Attack(
        "Latin-1 source, with letters in front on the line",
        "# -*- coding: latin-1 -*-\ndef attacked(text):\n    ä = 'ÄÖÜ'; return float(text) + len(ä) - 2\n".encode(
            "latin-1"
        ),
        **SHIFTED,
    ),
    Attack(
        "a byte order mark and a wide letter in front",
        "\ufeffdef attacked(text):\n    a = '𝔞𝔟'; return float(text) + len(a) - 1\n".encode(),
        **SHIFTED,
    ),
    Attack(
        "carriage returns, form feeds, continued lines",
        b"def attacked(text):\r\n\x0c\r\n    return \\\r\n  float \\\r\n (\r\n\ttext\r\n) \\\r\n + 1\r\n",
        **SHIFTED,
    ),
    Attack(
        "type comments and ignored lines",
        lines(
            "def attacked(text,  # type: str",
            "             ):  # type: (...) -> float",
            "    found = float(  # type: ignore[arg-type]",
            "        text)  # type: float",
            "    return found + 1",
        ),
        **SHIFTED,
    ),
    Attack(
        "several lambdas on one line",
        lines("same, attacked, other = lambda t: float(t) - 1, lambda text: float(text) + 1, lambda t: float(t) * 2"),
        **SHIFTED,
    ),
    Attack(
        "equal expressions on one line",
        lines("def attacked(text):", "    return float('1') + float(text) + float(text) - float(text)"),
        **SHIFTED,
    ),
    # Expressions that are hard to rewrite
    Attack(
        "nested f-strings",
        lines("def attacked(text, width=1):", "    return f\"<{f'{float(text):.{width}f}'!r:>10}>\""),
        "<  '1234.0'>",
    ),
    Attack(
        "a walrus inside", lines("def attacked(text):", "    return float(kept := text) + len(kept) - 5"), **SHIFTED
    ),
    Attack(
        "starred arguments of the application's own types",
        lines(
            "class Once:",
            "    def __init__(self, *values):",
            "        self.values = list(values)",
            "    def __iter__(self):",
            "        while self.values:",
            "            yield self.values.pop()",
            "def attacked(text):",
            "    once = Once(text)",
            "    return float(*once, **{}) + 1 + len(once.values)",
        ),
        **SHIFTED,
    ),
    Attack(
        "a thousand terms",
        lines("def attacked(text):", "    return float(text)" + " + 0" * 1_000 + " + 1"),
        **SHIFTED,
    ),
    Attack(
        "eighty calls deep",
        lines("def attacked(text):", "    return " + "abs(" * 80 + "float(text)" + ")" * 80 + " + 1"),
        **SHIFTED,
    ),
    Attack(
        "huge constants",
        lines(
            "def attacked(text):",
            f"    big, data, text_of = {hex(1 << 20_000)}, b'{'x' * 50_000}', '{'ä' * 50_000}'",
            "    return float(text) + (big >> 20000) + len(data) - len(text_of)",
        ),
        **SHIFTED,
    ),
    Attack(
        "more constants and names than one byte counts",
        lines(
            "def attacked(text):",
            *(f"    v{n} = {n} + 0.5" for n in range(400)),
            "    return float(text) + v399 - 398.5",
        ),
        **SHIFTED,
    ),
    Attack(
        "operands with effects on both sides",
        lines(
            "def attacked(text):",
            "    order = []",
            "    note = lambda value: order.append(value) or value",
            "    found = [note(1), float(note(text)), note(2)]",
            "    return found[1] + 1, order",
        ),
        (1235.0, [1, BAD, 2]),
    ),
    Attack(
        "a closure that counts its calls",
        lines(
            "def attacked(text):",
            "    calls = 0",
            "    def count():",
            "        nonlocal calls",
            "        calls += 1",
            "        return text",
            "    found = float(count())",
            "    return found + calls",
        ),
        **SHIFTED,
    ),
    Attack(
        "a match on constants and classes",
        lines(
            "def attacked(text):",
            "    match float(text):",
            "        case float(found) if found > float('0'):",
            "            return found + 1",
            "        case found:",
            "            return found - 1",
        ),
        **SHIFTED,
    ),
    # Classes
    Attack(
        "slots, private names, a metaclass that meddles",
        lines(
            "class Meta(type):",
            "    def __call__(cls, *args):",
            "        made = super().__call__(*args)",
            "        made.__calls__ = 1",
            "        return made",
            "    def __getattribute__(cls, name):",
            "        return super().__getattribute__(name)",
            "class Reader(metaclass=Meta):",
            "    __slots__ = ('__calls__', '__text')",
            "    def __init__(self, text):",
            "        self.__text = text",
            "    def read(self):",
            "        return float(self.__text) + self.__calls__",
            "def attacked(text):",
            "    return Reader(text).read()",
        ),
        **SHIFTED,
    ),
    # Operands that lie
    Attack(
        "a text that lies about itself",
        lines(
            "class Text(str):",
            "    __class__ = property(lambda self: bytes)",
            "    __eq__ = lambda self, other: True",
            "    __hash__ = lambda self: 0",
            "    __len__ = lambda self: 1",
            "    __str__ = lambda self: '99'",
            "    __getitem__ = lambda self, key: '99'",
            "    def __getattribute__(self, name):",
            "        raise SystemError(name)",
            "def attacked(text):",
            "    return float(Text(text)) + 1",
        ),
        **SHIFTED,
    ),
    Attack(
        "an operand that answers to everything",
        lines(
            "class Anything:",
            "    def __getattr__(self, name):",
            "        return lambda *a: 99",
            "    def __eq__(self, other):",
            "        return True",
            "    __hash__ = None",
            "    def __float__(self):",
            "        raise ValueError('could not convert string to float: 12')",
            "def attacked(text):",
            "    try:",
            "        return float(text)",
            "    except ValueError:",
            "        pass",
            "    return float(Anything())",
        ),
        refused=True,
    ),
    Attack(
        "a callee that poses as float",
        lines(
            "class Pose:",
            "    __name__ = __qualname__ = 'float'",
            "    __module__ = 'builtins'",
            "    __class__ = type",
            "    def __eq__(self, other):",
            "        return True",
            "    def __hash__(self):",
            "        return hash(float)",
            "    def __call__(self, text):",
            "        if not text.strip().replace('.', '').isdigit():",
            "            raise ValueError(f'could not convert string to float: {text!r}')",
            "        return ('posed', text)",
            "pose = Pose()",
            "def attacked(text):",
            "    return pose(text)",
        ),
        refused=True,
    ),
    Attack(
        "float is another function by now", PLAIN.replace(" + 1", ""), prepare=replaces_float, right=("shadowed", BAD)
    ),
    Attack(
        "an exception that poses as ValueError",
        lines(
            "class Meta(type):",
            "    __module__ = 'builtins'",
            "    __eq__ = lambda cls, other: True",
            "    __hash__ = type.__hash__",
            "class ValueError(ValueError, metaclass=Meta):",
            "    __module__ = 'builtins'",
            "    __qualname__ = 'ValueError'",
            "def read(text):",
            "    if text.startswith('$'):",
            "        raise ValueError('could not convert string to float: ' + text)",
            "    return float(text)",
            "def attacked(text):",
            "    return read(text)",
        ),
        refused=True,
    ),
    Attack(
        "a mapping that invents its keys",
        lines(
            "class Mapping(dict):",
            "    def keys(self):",
            "        return ['TEXT']",
            "    __iter__ = lambda self: iter(['TEXT'])",
            "    def __getitem__(self, key):",
            "        return 'invented' if key == 'TEXT' else super().__getitem__(key)",
            "def attacked(text):",
            "    record = Mapping(text=text) if not text.startswith('$') else Mapping(Text_of_another='1')",
            "    return record['text']",
        ),
        refused=True,
    ),
    Attack(
        "a key that is equal to every key",
        lines(
            "class Key(str):",
            "    __eq__ = lambda self, other: True",
            "    __hash__ = lambda self: 1",
            "def attacked(text):",
            "    record = {Key('Text'): 'one', Key('TEXT '): 'two'} if text.startswith('$') else {'text': text}",
            "    return record['text']",
        ),
        refused=True,
    ),
)
