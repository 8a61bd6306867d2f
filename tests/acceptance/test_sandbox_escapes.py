"""Attempts to leave the sandbox, to bring it down, or to smuggle something out of it.

Every attempt runs behind a real boundary, twice where both answer: once against the check of the text, and once with
that check switched off, against the sandbox itself. Each must end in the named refusal, the application must see its
own exception, and the process must go on healing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.adapters import HEAD, body, decisions, serve, unchecked

from healspan.instrumentation import error_boundary
from healspan.remediation import policy, step
from healspan.remediation.adapter import HOST_NAMES, AdapterText, read_text
from healspan.remediation.errors import InvalidFix
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.sandbox import adaptation
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep


class Broken(Exception):
    """The application's own error."""


LEDGER: list[str] = []


@error_boundary("attacked", retry_safe=True)
def attacked(rows: list[Any], secret: str = "hunter2"):  # type: ignore[no-untyped-def]
    """Fails, unless it is called with rows of one number."""
    LEDGER.append("called")
    if rows == ["again"]:
        return attacked(["nested"])
    if len(rows) == 1 and isinstance(rows[0], int):
        return rows[0]
    raise Broken(f"no number in {len(rows)} rows")


@attacked.strategy("allowed", automatic=False)
def allowed(rows: list[Any], secret: str = "") -> str:
    """An alternative that the step may name."""
    return "allowed"


@attacked.strategy("forbidden", automatic=False)
def forbidden(rows: list[Any], secret: str = "") -> str:
    """An alternative that the step does not name."""
    LEDGER.append("forbidden")
    return "forbidden"


@error_boundary("attacked_typed", retry_safe=True)
def typed(text: str) -> float:
    """Has a contract."""
    raise Broken(text)


@error_boundary("attacked_dated", retry_safe=True)
def dated(text: str) -> Mapping[str, date]:
    """Has a contract of another shape."""
    raise Broken(text)


@error_boundary("attacked_witness", retry_safe=True)
def witness(text: str) -> int:
    """Is healed by a good adapter: shows that the process is healthy."""
    return int(text)


@pytest.fixture
def seconds() -> str:
    """Ample time: the machine is shared, and only the tests of a limit may meet it."""
    return "20"


@pytest.fixture
def ann(tmp_path: Path, data_dir: Path, seconds: str, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", seconds)
    return Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)


@pytest.fixture(autouse=True)
def healthy(ann: Reviewer, live: Runtime) -> Iterator[None]:
    """After every attempt the next failure of another boundary is healed in the sandbox."""
    LEDGER.clear()
    yield
    now = runtime()
    serve(now, ann, "attacked_witness", AdapterStep(text=body("return call(text=arguments['text'].strip('#'))")))
    assert witness("#7#") == 7
    assert now.sandbox.pool.size <= now.settings.sandbox_workers


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at texts: the sandbox stands alone."""

    def accept(text: str) -> AdapterText:
        return AdapterText(frozenset(name for name in HOST_NAMES if name in text.partition("\n")[2]))

    for module in (policy, adaptation, step):
        monkeypatch.setattr(module, "read_text", accept)


def refused(live: Runtime, ann: Reviewer, text: str, **more: Any) -> str:
    """Let an adapter serve, see the application's own exception, and return what was decided."""
    rows: list[Any] = ["a", {"b": [1]}]
    fix = serve(live, ann, "attacked", unchecked(text, **more))
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(rows)
    assert rows == ["a", {"b": [1]}]
    [decision] = decisions(live)
    assert decision.fix_id == fix.fix_id
    return f"{decision.gate}: {decision.reason}"


READ = {
    "dunder walk to object": ("return ().__class__.__bases__[0].__subclasses__()", "name of the interpreter's own"),
    "globals of a function": ("return call.__globals__", "name of the interpreter's own"),
    "code of a function": ("return call.__code__", "name of the interpreter's own"),
    "dict of a value": ("return error.__dict__", "name of the interpreter's own"),
    "getattr by text": ("return getattr(call, '_' + '_class_' + '_')", "reaches attributes by text"),
    "setattr": ("setattr(error, 'a', 1)", "reaches attributes by text"),
    "format string": ("return '{0.__class__}'.format(call)", "two underscores"),
    "f-string": ("return f'{call.__class__}'", "name of the interpreter's own"),
    "traceback of an exception": (
        ["try:", "    1 / 0", "except ZeroDivisionError as e:", "    return e.__traceback__.tb_frame"],
        "name of the interpreter's own",
    ),
    "builtins": ("return __builtins__", "name of the interpreter's own"),
    "import by name": ("return __import__('os')", "name of the interpreter's own"),
    "eval": ("return eval('1')", "makes code out of text"),
    "exec": ("exec('x = 1')", "makes code out of text"),
    "compile": ("return compile('1', '', 'eval')", "makes code out of text"),
    "globals": ("return globals()", "looks behind"),
    "locals": ("return locals()['call']", "looks behind"),
    "open": ("return open('/etc/passwd').read()", "asks for files or people"),
    "input": ("return input()", "asks for files or people"),
    "print": ("print(arguments)", "an adapter's output goes nowhere"),
    "import os": (["import os", "return os.environ"], "no module 'os'"),
    "import sys": (["import sys", "return sys.modules"], "no module 'sys'"),
    "import a file's reader": (["from pathlib import Path", "return Path('/etc/passwd').read_text()"], "'pathlib'"),
    "import a clock": (["import time", "time.sleep(9)"], "no module 'time'"),
    "import everything": (["from json import *", "return 1"], "one by one"),
    "import beside": (["from . import x", "return 1"], "one by one"),
    "names of ours": ("_healspan_room = [1]", "are taken"),
    "a keyword of ours": ("return call(_healspan_result=1)", "are taken"),
    "global": (["global heal", "heal = 1"], "reaches behind"),
    "generator": ("yield arguments", "no async, await or yield"),
    "await": (["async def f():", "    return 1", "return f()"], "no async, await or yield"),
    "swallowing": (["try:", "    call()", "except Exception:", "    pass"], "swallows every exception"),
    "class pattern": (["match call:", "    case object(__class__=kind):", "        return kind"], "interpreter's own"),
}


@pytest.mark.parametrize("attempt", READ)
def test_what_the_check_of_the_text_refuses(live: Runtime, ann: Reviewer, attempt: str) -> None:
    lines, words = READ[attempt]
    text = body(*([lines] if isinstance(lines, str) else lines))
    with pytest.raises(InvalidFix, match=r"adapter, line \d+: "):
        read_text(text)
    reason = refused(live, ann, text)
    assert reason.startswith("declared: adapter, line ")
    assert words in reason
    assert live.sandbox.pool.size == 0


SHAPES = {
    "no heal": "def cure(call, arguments, error):\n    return 1\n",
    "two of them": body("return 1") + body("return 2"),
    "another signature": "def heal(call, arguments):\n    return 1\n",
    "a default": "def heal(call, arguments, error=print):\n    return 1\n",
    "a decorator": "import functools\n@functools.cache\n" + body("return 1"),
    "a coroutine": "async " + body("return 1"),
    "code beside it": "import json\nx = 1\n" + body("return x"),
    "nothing": "",
    "no Python": body("return ("),
    "a null character": body("return '\0'"),
    "deep nesting": body("return " + "(" * 3_000 + ")" * 3_000),
    "deep operators": body("return " + "-" * 7_000 + "1"),
    "too long": body(*["x = 1"] * 2_000),
}


@pytest.mark.parametrize("attempt", SHAPES)
def test_what_is_no_adapter_at_all(live: Runtime, ann: Reviewer, attempt: str) -> None:
    assert refused(live, ann, SHAPES[attempt]).startswith("declared: adapter")


RUN = {
    # Walks to what is not there
    "dunder walk to object": ("return ().__class__.__bases__[0].__subclasses__()", "raised AttributeError at line 2"),
    "class of an argument": ("return arguments.__class__.__mro__", "raised AttributeError"),
    "globals of the host's function": ("return call.__globals__", "raised AttributeError"),
    "getattr by text": ("return getattr(call, '__co' + 'de__')", "raised AttributeError"),
    "format string": ("return '{0.__class__.__init__.__globals__}'.format(call)", "raised AttributeError"),
    "format string in parts": ("return ('{0.' + '__glo' + 'bals__}').format(call)", "raised AttributeError"),
    "format map": ("return '{a.__class__}'.format_map({'a': error})", "raised"),
    "traceback of an exception": (
        ["try:", "    1 / 0", "except ZeroDivisionError as e:", "    return e.__traceback__.tb_frame.f_back"],
        "raised AttributeError",
    ),
    "frame of a generator": ("return (x for x in [1]).gi_frame.f_back", "raised AttributeError"),
    "frame by sys": (["import sys", "return sys._getframe(1)"], "raised AttributeError"),
    "modules by sys": (["import sys", "return sys.modules"], "raised AttributeError"),
    "builtins": ("return __builtins__", "raised NameError"),
    "import by name": ("return __import__('os')", "asked for '__import__', which"),
    "globals": ("return globals()", "asked for 'globals', which"),
    "eval inside": ("return eval('().__class__')", "raised AttributeError"),
    "exec inside": ("exec('import subprocess')", "asked for import, which"),
    "a method resolution order": ("return type(1).mro()", "raised AttributeError"),
    "garbage collector": (["import gc", "return gc.get_objects()"], "asked for import, which"),
    "foreign functions": (["import ctypes", "return ctypes.CDLL(None)"], "asked for import, which"),
    "sockets": (["import socket", "return socket.socket()"], "asked for import, which"),
    "pickle": (["import pickle", "return pickle.dumps(arguments)"], "asked for import, which"),
    "our own package": (["import healspan", "return healspan"], "asked for import, which"),
    "the sandbox's package": (["import pydantic_monty", "return 1"], "asked for import, which"),
    # Files, processes, the environment
    "open a file": ("return open('/etc/passwd').read()", "it asked for open"),
    "write a file": ("open('/tmp/healspan-escaped', 'w').write('x')", "it asked for open"),
    "read by path": (["from pathlib import Path", "return Path('/etc/passwd').read_text()"], "it asked for Path"),
    "list a folder": (["import os", "return os.listdir('/')"], "it asked for"),
    "environment": (["import os", "return os.environ['HOME']"], "asked for os.environ"),
    "getenv": (["import os", "return os.getenv('HOME')"], "it asked for os.getenv"),
    "shell": (["import os", "return os.system('id')"], "raised AttributeError"),
    "fork": (["import os", "return os.fork()"], "raised AttributeError"),
    # Bombs
    "endless loop": ("while True: pass", "longer than the sandbox allows"),
    "endless iterator": ("return max(iter(int, 1))", "longer than the sandbox allows"),
    "huge power": ("return 7 ** 10 ** 9", "more memory than the sandbox allows"),
    "huge text": ("return 'a' * 10 ** 12", "more memory than the sandbox allows"),
    "doubling text": (["x = 'a'", "while True: x += x"], "more memory than the sandbox allows"),
    "endless list": (["x = []", "while True: x.append([0] * 1000)"], "more memory than the sandbox allows"),
    "wide format": ("return '{:>1000000000000}'.format(1)", "more memory than the sandbox allows"),
    "recursion": (["def f(n): return f(n + 1)", "return f(0)"], "raised RecursionError"),
    "product": (["import itertools", "return list(itertools.product(range(99), repeat=9))"], "more memory"),
    "nested eval": ("return eval('(' * 100000 + ')' * 100000)", "raised SyntaxError"),
    "printing": ("while True: print('x' * 1000)", "more memory than the sandbox allows|longer than"),
    "native normalisation": (
        ["import unicodedata", "x = '\\ufdfa' * 1000000", "while True: unicodedata.normalize('NFKD', x)"],
        "longer than the sandbox allows",
    ),
    "native hashing": (
        ["import hashlib", "return hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10 ** 9)"],
        "longer than the sandbox allows",
    ),
    "native digits": (["x = int('9' * 4000) ** 4000", "while True: str(x)"], "longer than|raised ValueError"),
    "sleeping for ever": (
        ["import time", "while True: time.sleep(1000)"],
        "longer than the sandbox allows|asked the host too often|made more than",
    ),
    # Results that are not what they seem
    "a function": ("return lambda: 1", "holds a function"),
    "the host's function": ("return call", "holds a "),
    "a built-in": ("return open", "holds an object"),
    "a class": (["class P: pass", "return P"], "holds a type"),
    "an instance": (["class P: pass", "return P()"], "holds an object"),
    "a class named after a secret": (
        "return type(arguments['secret'], (), {})()",
        "holds an object|result cannot|raised",
    ),
    "a name made of a secret": ("return eval(arguments['secret'] + '()')", "asked for something, which"),
    "a field named after a secret": (
        ["import collections", "return {collections.namedtuple('T', arguments['secret'])(1): 1}"],
        "died|result cannot",
    ),
    "an instance under a name of ours": (["class _Handle: pass", "return _Handle()"], "result cannot be used"),
    "an instance that says it is a number": (["class int: pass", "return int()"], "result cannot be used"),
    "a pattern": (["import re", "return {'p': re.compile('a')}"], "holds a "),
    "a module": (["import json", "return [json]"], "holds a module"),
    "a range": ("return range(3)", "holds a range"),
    "an exception": ("return ValueError('x')", "holds an object"),
    "a coroutine": (["async def f(): return 1", "return f()"], "holds a coroutine"),
    "half a character": ("return '\\ud800'", "half a character"),
    "half a character inside": ("return {'a': ['\\udfff']}", "half a character"),
    "a list that holds itself": (["x = []", "x.append(x)", "return x"], "nested too deeply, or holds itself"),
    "too deep": (["x = []", "for _ in range(900): x = [x]", "return x"], "nested too deeply, or holds itself"),
    "shared a million million times": (["x = [1]", "for _ in range(41): x = [x, x]", "return x"], "too large"),
    "too many": ("return list(range(200000))", "too large"),
    "too long": ("return ['a' * 9000000]", "too large"),
    "one text that is too long": ("return 'a' * 9000000", "too large"),
    "an integer of many digits": ("return 2 ** 100000", "more than 4,096 bits"),
    # The host's functions
    "too many calls": (
        ["while True:", "    try:", "        call(rows=[])", "    except Exception as e:", "        x = e"],
        "too often|made more than|longer",
    ),
    "a call by position": ("return call([1])", "raised TypeError"),
    "a call with another name": ("return call(row=[1])", "raised TypeError"),
    "a strategy that is not given": ("return strategy('forbidden')", "asked for 'strategy', which"),
    "a repairer that is not given": ("return repair('number', 'float', '$1')", "asked for 'repair', which"),
    "a name of the engine's": ("return approve('all')", "asked for 'approve', which"),
    "a name of the service's": ("return attacked([1])", "asked for 'attacked', which"),
    "calling again from within": ("return call(rows=['again'])", "raised Exception"),
    "raising the host's error": ("raise Broken('x')", "asked for 'Broken', which"),
    "leaving": ("raise SystemExit(0)", "raised"),
    "interrupting": ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    "claiming to be out of time": ("raise TimeoutError('feed time limit exceeded')", "longer than"),
}


# One that is stopped for its time has no more than usual, so that nobody waits for long.
SECONDS = {attempt: "1" if "longer" in words else "20" for attempt, (_, words) in RUN.items()}


@pytest.mark.parametrize(("attempt", "seconds"), SECONDS.items(), ids=RUN)
def test_what_the_sandbox_refuses_by_itself(live: Runtime, ann: Reviewer, unread: None, attempt: str) -> None:
    lines, words = RUN[attempt]
    reason = refused(live, ann, body(*([lines] if isinstance(lines, str) else lines)))
    assert reason.startswith("apply: ")
    assert any(one in reason for one in words.split("|")), reason
    assert "hunter2" not in reason


def test_a_strategy_beside_the_one_that_is_given(live: Runtime, ann: Reviewer) -> None:
    serve(live, ann, "attacked", AdapterStep(text=body("return strategy('forbidden')"), strategies=("allowed",)))
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(["a", "b"])
    assert "asked for a strategy that its step does not allow" in decisions(live)[0].reason
    assert "forbidden" not in LEDGER


def test_a_repairer_beside_the_one_that_is_given(live: Runtime, ann: Reviewer) -> None:
    text = body("return repair('renamed_key', 'key', {'A': 1}, 'a')")
    serve(live, ann, "attacked", AdapterStep(text=text, repairers=("number",)))
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(["a", "b"])
    assert "asked for a repairer that its step does not allow" in decisions(live)[0].reason


@pytest.mark.parametrize("seconds", ["1"])
@pytest.mark.parametrize(
    "question",
    ["repair('json', 'json', '[' + '1, ' * 80000)", "call(rows=[str(one) for one in range(90000)])"],
    ids=["a repairer that has much to read", "a call with much to carry"],
)
def test_the_host_s_work_for_an_adapter_is_on_the_adapter_s_account(
    live: Runtime, ann: Reviewer, question: str
) -> None:
    text = body("while True:", "    try:", f"        {question}", "    except Exception as e:", "        kept = e")
    serve(live, ann, "attacked", AdapterStep(text=text, repairers=("json",)))
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(["a", "b"])
    assert "it took longer than the sandbox allows" in decisions(live)[0].reason


def test_every_question_is_counted(live: Runtime, ann: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "30")
    shut_down()
    patient = runtime()
    text = body("while True:", "    try:", "        call(rows=[])", "    except Exception as e:", "        kept = e")
    serve(patient, ann, "attacked", AdapterStep(text=text))
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(["a", "b"])
    assert "it made more than 1,000 host calls" in decisions(patient)[0].reason
    assert LEDGER.count("called") <= 1_001


def test_a_marker_that_is_a_text_is_only_a_text(live: Runtime, ann: Reviewer) -> None:
    for marker in ("[...]", "<deeply nested>", "<function 'heal' at 0xc>"):
        serve(live, ann, "attacked_typed", AdapterStep(text=body(f"return {marker!r}")))
        with pytest.raises(Broken):
            typed("x")
        assert decisions(live)[-1].gate == "contract"


def test_a_result_that_forges_an_approval_is_data(live: Runtime, ann: Reviewer) -> None:
    forged = {"state": "active", "actor": "human:ann", "signature": {"algorithm": "ed25519", "value": "00"}}
    fix = serve(live, ann, "attacked", AdapterStep(text=body(f"return {forged!r}")))
    assert attacked([]) == forged
    known = live.index.latest(fix.fix_id)
    assert known is not None
    assert known.sequence == 1


def test_a_wrong_result_meets_the_contract(live: Runtime, ann: Reviewer) -> None:
    serve(live, ann, "attacked_dated", AdapterStep(text=body("return {'a': '2024-01-01'}")))
    with pytest.raises(Broken):
        dated("x")
    assert decisions(live)[-1].gate == "contract"


def test_what_an_adapter_changes_is_its_own(live: Runtime, ann: Reviewer) -> None:
    rows: list[Any] = ["a", {"b": [1]}]
    text = body("arguments['rows'][1]['b'].clear()", "arguments['rows'].append(9)", "arguments.clear()", "return 1")
    serve(live, ann, "attacked", AdapterStep(text=text))
    assert attacked(rows) == 1
    assert rows == ["a", {"b": [1]}]


def test_an_adapter_that_kills_its_worker_costs_one_application(
    live: Runtime,
    ann: Reviewer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(live, ann, "attacked", AdapterStep(text=body("return call(rows=['a', 'b', 'c'])")))
    inner = attacked.boundary.function

    def kills(rows: list[Any], secret: str = "") -> None:
        if len(rows) == 3:
            [worker] = live.sandbox.pool._lent
            os.kill(worker.pid, 9)
        inner(rows)

    monkeypatch.setattr(attacked.boundary, "function", kills)
    with pytest.raises(Broken, match="no number in 2 rows"):
        attacked(["a", "b"])
    assert "broke off" in decisions(live)[0].reason


def test_enough_attempts_are_made() -> None:
    assert len({*READ, *SHAPES, *RUN}) >= 45
    assert HEAD.startswith("def heal(")
