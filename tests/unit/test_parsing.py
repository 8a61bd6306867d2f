"""Parsing: many threads at once get their trees, and what is wrong with a text is still said."""

from __future__ import annotations

import ast
import builtins
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from healspan.remediation.parsing import parse, parse_expression

TEXT = "\n".join(f"def f{n}(x):\n    return [x[{n}] + {{'a': (1, 2, {n})}}['a'][0] for y in x]" for n in range(40))


def test_threads_that_parse_at_once_all_get_their_trees() -> None:
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(lambda _: ast.dump(parse(TEXT)), range(200)))
    assert set(trees) == {ast.dump(ast.parse(TEXT))}


def test_a_fault_of_the_interpreter_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    faults, real = [SystemError("AST constructor recursion depth mismatch")] * 2, builtins.compile

    def compile_late(*args: Any, **kwargs: Any) -> Any:
        if faults:
            raise faults.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(builtins, "compile", compile_late)
    assert isinstance(parse_expression("a[1]"), ast.Subscript)
    faults[:] = [SystemError("for ever")] * 999
    with pytest.raises(SyntaxError, match="could not parse"):
        parse("x")


def test_what_is_wrong_with_a_text_is_said() -> None:
    with pytest.raises(SyntaxError):
        parse("def")
    with pytest.raises((SyntaxError, ValueError), match="null"):
        parse("a\0b")
    with pytest.raises(SyntaxError):
        parse_expression("a = 1")
