"""The JSON repairer reads liberties that leave one reading, and closes, moves or invents nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest

from healspan.remediation.repairers import Failure, Loss, Repaired, repairer
from healspan.remediation.repairers.json_notation import JsonParameters

JSON = repairer("json")


def attempt(text: Any, *rest: object, **parameters: Any) -> Repaired | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return JSON.repair(Failure("call", json.loads, text, error, JsonParameters(**parameters), rest))
    raise AssertionError("the callee reads it itself")


def read(text: Any, **parameters: Any) -> tuple[Any, Loss] | None:
    repaired: Any = attempt(text, **parameters)
    return None if repaired is None else (json.loads(repaired.value), repaired.loss)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('[1, [2,], {"a": 3 , } ,\n]', [1, [2], {"a": 3}]),
        ("{'a': 'b'}", {"a": "b"}),
        ("""{'a"b': 'it\\'s'}""", {'a"b': "it's"}),
        ('["it\\\'s"]', ["it's"]),
        (r"""['\n\t\\ \x41 \u0042 "']""", ['\n\t\\ A B "']),
        ("{'ok': True, 'no': False, 'none': None}", {"ok": True, "no": False, "none": None}),
        ('// start\n{"a": /* b */ 1} // end', {"a": 1}),
        ('["// no comment", "/* nor this */",]', ["// no comment", "/* nor this */"]),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{\u00a0"a":\u200b1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1,}', {"a": 1}),
        *(('{"a": "é",}'.encode(encoding), {"a": "é"}) for encoding in ("utf-8", "utf-16", "utf-16-be", "utf-32")),
        ('{"a": 1, "a": 2,}', {"a": 2}),
        ("{'a': -1.5e3, 'b': 12345678901234567890}", {"a": -1500.0, "b": 12345678901234567890}),
        ("{'a': '\u2028é\U0001f600'}", {"a": "\u2028é\U0001f600"}),
        ("{'': [], 'b': {},}", {"": [], "b": {}}),
    ],
)
def test_reads_another_notation_of_the_same_value_without_loss(text: object, value: Any) -> None:
    assert read(text) == (value, Loss.NONE)
    assert read(text, accept="none") == (value, Loss.NONE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} # end', {"a": 1}),
        ('{"a": "one\ntwo\tthree"}', {"a": "one\ntwo\tthree"}),
        ("{name: 'x', $id: 1, _b2: 2}", {"name": "x", "$id": 1, "_b2": 2}),
        ("[inf, -inf]", [float("inf"), float("-inf")]),
        ('```json\n{"a": 1}\n```\n', {"a": 1}),
        ("```\n[1,]\n```", [1]),
    ],
)
def test_says_so_where_a_convention_decided(text: str, value: Any) -> None:
    assert read(text) == (value, Loss.NORMALISED)
    assert read(text, accept="none") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "None",
        "'a'",
        "hello",
        "<html></html>",
        '{"a": 1',
        '{"a": [1, 2',
        '{"a": "b',
        '{"a": "b\\',
        '{"a":',
        '{"a": 1, "b"}',
        "{'a': 'it's'}",
        "[1 2]",
        '{"a": 1 "b": 2}',
        "[1,,2]",
        "[,]",
        "{,}",
        "[1],",
        "[1]]",
        "[1}",
        '{"a": 1)',
        '{"a" 1}',
        '{"a": 1}{"b": 2}',
        '{"a": 1}\n{"b": 2}',
        'callback({"a": 1})',
        'Here it is: {"a": 1}',
        '```json\n{"a": 1}\n``` done',
        "{1: 2}",
        "{None: 1}",
        "{true: 1}",
        "{'a': (1, 2)}",
        "{'a', 'b'}",
        "{'a': b'x'}",
        "{'a': u'x'}",
        "{'a': Decimal('1')}",
        "{'a': undefined}",
        "{'a': yes}",
        "['a' 'b']",
        "[+1]",
        "[.5]",
        "[5.]",
        "[007]",
        "[0x1F]",
        "[1_000]",
        "[12\u200b34]",
        "[1,5.3.2]",
        '["C:\\dir"]',
        r"['\a']",
        r"['\0']",
        r"['\/']",
        r"['\ud83d\ude00']",
        r"['\x4']",
        "['a\nb']",
        '["a\x00b"]',
        "[“a”]",
        "[1, /* open]",
        '[#fff,\n"b"]',
        '{"color": #fff}',
        "[tr/**/ue]",
        "[1]; drop",
        "[" * 300 + "]" * 299 + ",]",
        '["' + "x" * (1 << 20) + '",]',
    ],
)
def test_declines_what_is_cut_off_or_can_be_read_two_ways(text: str) -> None:
    assert attempt(text) is None


def test_other_arguments_may_be_plain_types_but_no_code_of_the_application() -> None:
    assert attempt("[1,]", Decimal) == Repaired("[1]", Loss.NONE)
    assert attempt("[1,]", False) == Repaired("[1]", Loss.NONE)
    assert attempt("[1,]", print) is None
    assert attempt("[1,]", json.JSONDecoder) is None


@pytest.mark.parametrize("target", [json.load, json.JSONDecoder().decode, eval, str])
def test_declines_callees_that_it_does_not_know(target: Any) -> None:
    error = json.JSONDecodeError("", "", 0)
    assert JSON.repair(Failure("call", target, "[1,]", error, JsonParameters())) is None


@pytest.mark.parametrize("argument", [None, 5, b"\xff[1,]", bytearray(b"[1,]"), ["[1,]"]])
def test_declines_arguments_that_are_no_text(argument: object) -> None:
    error = json.JSONDecodeError("", "", 0)
    assert JSON.repair(Failure("call", json.loads, argument, error, JsonParameters())) is None


def test_applies_to_its_own_error_only() -> None:
    assert JSON.applies("call", json.JSONDecodeError("", "", 0))
    assert not JSON.applies("call", ValueError())
    assert not JSON.applies("subscript", json.JSONDecodeError("", "", 0))
