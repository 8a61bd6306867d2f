"""When two failures are one kind of failure."""

from __future__ import annotations

import pytest
from tests.stack import at_each_depth

from healspan.remediation.fingerprint import MAX_SOURCE_LINE, fingerprint, mask_message, source_key
from healspan.remediation.incident import Cause, Frame, Pattern


def frame(function: str, line: str, *, module: str = "app.reader", number: int = 7, in_app: bool = True) -> Frame:
    return Frame(
        module=module, function=function, file="/srv/app/reader.py", line=number, source_line=line, in_app=in_app
    )


def cause(error_type: str = "builtins.OSError", *, relation: str = "cause", function: str | None = "f") -> Cause:
    return Cause(error_type=error_type, error_message="m", relation=relation, function=function)


FRAMES = (frame("load", "rows = parse(text)"), frame("parse", 'return row["net"] - row["gross"]'))


def pattern(
    frames: tuple[Frame, ...] = FRAMES,
    *,
    error_type: str = "builtins.KeyError",
    message: str = "'net'",
    causes: tuple[Cause, ...] = (),
    module: str = "revenue",
) -> Pattern:
    return fingerprint(error_type, message, frames, causes, module)


def test_line_numbers_and_indentation_do_not_count() -> None:
    moved = tuple(
        f.model_copy(update={"line": 99, "source_line": f"   {f.source_line.replace(' ', '  ')}"}) for f in FRAMES
    )
    assert pattern(moved).exact == pattern().exact


def test_the_file_s_place_does_not_count() -> None:
    moved = tuple(f.model_copy(update={"file": "/other/reader.py"}) for f in FRAMES)
    assert pattern(moved).exact == pattern().exact


def test_the_message_does_not_count_where_there_is_a_stack() -> None:
    assert pattern(message="'4711'").exact == pattern(message="'Net sales'").exact


def test_the_masked_message_counts_where_there_is_none() -> None:
    first = pattern((), error_type="app.Timeout", message="no answer from 10.0.0.1 after 30 s")
    second = pattern((), error_type="app.Timeout", message="no answer from 10.9.9.9 after 31 s")
    other = pattern((), error_type="app.Timeout", message="refused by 10.0.0.1")
    assert first.exact == second.exact != other.exact


def test_a_missing_name_counts_only_if_the_failing_line_spells_it() -> None:
    assert pattern(message="'net'").exact != pattern(message="'gross'").exact
    assert pattern(message="'net'").exact != pattern(message="'Net sales'").exact
    attribute = (frame("parse", "return table.header.text"),)
    null = "'NoneType' object has no attribute '{}'"
    assert (
        pattern(attribute, error_type="builtins.AttributeError", message=null.format("header")).exact
        != pattern(attribute, error_type="builtins.AttributeError", message=null.format("text")).exact
    )


def test_type_source_line_function_and_module_count() -> None:
    variants = [
        pattern(),
        pattern(error_type="builtins.IndexError"),
        pattern((FRAMES[0], frame("parse", 'return row["net"]'))),
        pattern((FRAMES[0], frame("parse_all", FRAMES[1].source_line))),
        pattern((FRAMES[0], frame("parse", FRAMES[1].source_line, module="app.other"))),
        pattern(module="cogs"),
    ]
    assert len({variant.exact for variant in variants}) == len(variants)


def test_who_called_the_failing_line_does_not_count_where_the_line_says_what_failed() -> None:
    assert pattern((FRAMES[1],)).exact == pattern().exact
    caller = next(part for part in pattern().parts if part.name == "frame")
    assert caller.value.startswith("app.reader:load")
    assert caller.why == "does not count: the failing line says enough"


@pytest.mark.parametrize(
    "line", ["raise Missing(name)", "assert rows", "if not rows: raise Missing(name)", "", "x" * 121]
)
def test_the_callers_count_where_a_helper_has_decided_for_them_or_its_line_is_not_known(line: str) -> None:
    helper = frame("require", line)
    assert pattern((FRAMES[0], helper)).exact != pattern((helper,)).exact


def test_the_callers_count_where_all_that_is_known_is_a_library() -> None:
    library = frame("loads", "return decode(s)", module="json", in_app=False)
    assert pattern((frame("load", "x()", in_app=False), library)).exact != pattern((library,)).exact


@pytest.mark.parametrize(
    "message",
    [
        "name '{}' is not defined",
        "name '{}' is not defined. Did you mean: 'total'?",
        "cannot access local variable '{}' where it is not associated with a value",
        "cannot access free variable '{}' where it is not associated with a value in enclosing scope",
    ],
)
def test_an_undefined_name_is_one_of_the_code(message: str) -> None:
    frames = (frame("parse", "return net - gross"),)
    exact = {
        pattern(frames, error_type="builtins.NameError", message=message.format(name)).exact
        for name in ("net", "gross")
    }
    assert len(exact) == 2
    unknown = [pattern((frame("parse", ""),), message=message.format(name)).exact for name in ("net", "gross")]
    assert unknown[0] != unknown[1]
    assert pattern(frames, message=message.format("ross")).exact == pattern(frames, message="").exact


def test_only_in_app_frames_count_if_there_are_any() -> None:
    library = frame("loads", "return decode(s)", module="json", in_app=False)
    assert pattern((*FRAMES, library)).exact == pattern().exact
    assert pattern((library,)).exact != pattern(()).exact


def test_only_the_innermost_five_count() -> None:
    deep = tuple(frame(f"f{n}", f"raise g{n}()") for n in range(9))
    assert pattern(deep).exact == pattern(deep[4:]).exact != pattern(deep[5:]).exact


def test_a_very_long_line_does_not_count() -> None:
    long = "x" * (MAX_SOURCE_LINE + 1)
    assert pattern((frame("f", long),)).exact == pattern((frame("f", long + "y"),)).exact


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_how_deep_a_recursion_went_does_not_count(depth: int) -> None:
    walk, fail = frame("walk", "return walk(node.next)"), frame("walk", "return node.value")
    assert pattern((FRAMES[0], *[walk] * depth, fail)).exact == pattern((FRAMES[0], walk, fail)).exact


def test_where_the_limit_strikes_a_recursion_does_not_count() -> None:
    ping, pong = frame("ping", "pong(n)"), frame("pong", "ping(n)")
    error = "builtins.RecursionError"
    first = pattern((FRAMES[0], *[ping, pong] * 10), error_type=error)
    second = pattern((FRAMES[0], *[ping, pong] * 10, ping), error_type=error)
    assert first.exact == second.exact
    assert first.loose == second.loose


def test_causes_count_by_type_and_function_not_by_message() -> None:
    assert pattern(causes=(cause(),)).exact != pattern().exact
    assert pattern(causes=(cause(),)).exact != pattern(causes=(cause("builtins.ValueError"),)).exact
    reworded = cause().model_copy(update={"error_message": "other"})
    assert pattern(causes=(cause(),)).exact == pattern(causes=(reworded,)).exact


def test_the_members_of_a_group_count_as_a_set() -> None:
    a, b = cause("app.A", relation="group"), cause("app.B", relation="group")
    assert pattern(causes=(a, b)).exact == pattern(causes=(b, a, a)).exact != pattern(causes=(a,)).exact


def test_loose_survives_edits_and_callers_but_not_another_function() -> None:
    edited = pattern((frame("entry", "load()"), frame("parse", "return row.get('net')")))
    assert edited.loose == pattern().loose
    assert edited.exact != pattern().exact
    assert pattern((FRAMES[0],)).loose != pattern().loose


def test_site_is_type_and_boundary() -> None:
    assert pattern((FRAMES[0],)).site == pattern().site
    assert pattern(module="cogs").site != pattern().site


def test_hashes_are_versioned_and_128_bits_and_differ_by_purpose() -> None:
    hashes = (pattern().exact, pattern().loose, pattern().site)
    assert [h[:3] for h in hashes] == ["v2:", "v1:", "v1:"]
    assert all(len(h) == 3 + 32 for h in hashes)
    assert len(set(hashes)) == 3


def test_the_hash_is_pinned() -> None:
    """A stored fix finds its pattern by this value: a change of the recipe needs a new version prefix."""
    chain = (cause(), cause("builtins.ValueError", function=None), cause("app.B", relation="group"))
    assert pattern(causes=chain).exact == "v2:f6b222e1ae19628b90ddcbcf6de9ac5e"
    assert pattern(causes=chain).loose == "v1:7eb2813891c0d124e769d42a5e4017eb"
    assert pattern(causes=chain).site == "v1:c08cb0f5b06ca67934e6835c6d15cb2c"


@pytest.mark.parametrize(
    ("error_type", "message", "line", "readable"),
    [
        (
            "builtins.AttributeError",
            "'NoneType' object has no attribute 'text'",
            "x.text",
            "AttributeError::revenue::parse_null",
        ),
        ("builtins.TypeError", "'NoneType' object is not subscriptable", "x[0]", "TypeError::revenue::parse_null"),
        ("builtins.KeyError", "'net'", 'row["net"]', "KeyError::revenue::parse_missing_net"),
        ("builtins.KeyError", "'Net sales'", "row[label]", "KeyError::revenue::parse_missing_key"),
        (
            "builtins.ValueError",
            "could not convert string to float: '$1'",
            "float(x)",
            "ValueError::revenue::parse_number",
        ),
        ("json.decoder.JSONDecodeError", "Expecting value", "loads(x)", "JSONDecodeError::revenue::parse_json"),
        ("app.errors.ExtractionFailed", "nothing", "raise", "ExtractionFailed::revenue::parse_extraction_failed"),
    ],
)
def test_the_readable_pattern_says_where_and_what(error_type: str, message: str, line: str, readable: str) -> None:
    assert pattern((frame("parse", line),), error_type=error_type, message=message).error_pattern == readable


def test_every_part_says_why_it_counted_or_did_not() -> None:
    parts = pattern(causes=(cause(),)).parts
    assert {part.name for part in parts} == {"type", "frame", "function", "message", "missing", "cause", "boundary"}
    assert all(part.why for part in parts)
    assert next(part for part in parts if part.name == "message").why == "does not count: there is a stack"


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("mail to <email:3> failed", "mail to <email> failed"),
        ("GET https://a.b/c?d=1 gave 404", "GET <url> gave <int>"),
        ("host db1.internal down", "host <host> down"),
        ("from 10.0.0.1:5432", "from <ip>"),
        ("id 550e8400-e29b-41d4-a716-446655440000", "id <uuid>"),
        ("at 2026-11-23T10:00:00Z", "at <date>"),
        ("after 30.5 ms", "after <duration>"),
        ("<Obj at 0x7f2a>", "<Obj at <hex>>"),
        ("value 1,234.5 of 17", "value <float> of <int>"),
        ("could not convert string to float: '$1,234'", "could not convert string to float: <quoted>"),
        ("no file /srv/data/x.htm", "no file <path>"),
        ("a  b\n c", "a b c"),
    ],
)
def test_masks_replace_data_by_its_kind(message: str, masked: str) -> None:
    assert mask_message(message) == masked


def test_a_source_line_with_a_secret_stands_in_a_path_as_its_hash() -> None:
    assert source_key("  x =  f(1)") == "x = f(1)"
    key = source_key('connect(password="hunter2")')
    assert key.startswith("v1:")
    assert key == source_key('    connect(password="hunter2")')
    assert key != source_key('connect(password="hunter3")')


def test_a_line_that_was_first_met_at_the_end_of_the_stack_has_its_key_all_the_same() -> None:
    line = 'return total["met in a recursion"]'
    met: list[str] = []
    at_each_depth(lambda: met.append(source_key(line)))
    assert met[0] != line, "there was no room to read it"
    assert met[-1] == source_key(line) == line
