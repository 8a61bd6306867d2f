"""Code as Claude is shown it: no secret in it, however it is written, cut or marked, and every line where it was."""

from __future__ import annotations

import pytest

from healspan.remediation.claude.code import MARKS, marked, without_secrets
from healspan.remediation.scrubbing import Scrubber

KEY = "sk-ant-api03-Zq8fjw20fkXo2kfLwq0Zk"
PEM = [f"{'aB3' * 6}{line:02}xY" for line in range(40)]


def clean(*lines: str) -> list[str]:
    return without_secrets(lines, Scrubber().session())


@pytest.mark.parametrize(
    "lines",
    [
        (f'    key = "{KEY}"',),
        ('    key = ("sk-ant-api03-"', '           "Zq8fjw20fkXo2kfLwq0Zk")'),
        ('    send("sk-ant-api03-" "Zq8fjw20fkXo2kfLwq0Zk")',),
        ('    send("sk-ant-api03-" + "Zq8fjw20fkXo2kfLwq0Zk")',),
        ('    send("sk-ant-api03-" +', '         "Zq8fjw20fkXo2kfLwq0Zk")'),
        ('    send("\\x73k-ant-api03-Zq8fjw20fkXo2kfLwq0Zk")',),
        ('    send(b"sk-ant-api03-" b"Zq8fjw20fkXo2kfLwq0Zk")',),
        ('    send("sk-ant-" "api03-Zq8f" "jw20fkXo2kf" "Lwq0Zk")',),
    ],
)
@pytest.mark.parametrize("indented", [True, False])
def test_a_key_in_a_literal_goes_however_it_is_written(lines: tuple[str, ...], indented: bool) -> None:
    source = ("def f():", *lines, "    return float(text)")
    if indented:
        source = tuple(f"    {line}" for line in source)
    shown = clean(*source)
    assert len(shown) == len(source)
    assert (shown[0], shown[-1]) == (source[0], source[-1])
    for part in ("Zq8f", "jw20", "Xo2k", "Lwq0"):
        assert part not in "\n".join(shown)


def test_what_a_secret_of_many_lines_is_told_by_may_be_far_from_what_is_shown() -> None:
    source = [
        "def f():",
        '    key = """-----BEGIN RSA PRIVATE KEY-----',
        *PEM,
        '-----END RSA PRIVATE KEY-----"""',
        "    g()",
    ]
    shown = clean(*source)
    assert len(shown) == len(source)
    assert shown[-1] == "    g()"
    assert not any(line in "\n".join(shown[20:]) for line in PEM)


def test_a_mark_is_set_where_the_line_is_shown_as_it_is_and_never_inside_of_a_secret() -> None:
    source = ["x = float(text)", f'y = f"{KEY}{{text!r}}"']
    shown = clean(*source)
    assert marked(source, shown, (0, 0, 4, 15)) == [f"x = {MARKS[0]}float(text){MARKS[1]}", shown[1]]
    assert marked(source, shown, (1, 1, 20, 24)) == shown
    assert KEY[-8:] not in shown[1]


@pytest.mark.parametrize("position", [(-1, 0, 0, 1), (0, 9, 0, 1), (1, 0, 0, 1)])
def test_a_position_elsewhere_marks_nothing(position: tuple[int, int, int, int]) -> None:
    assert marked(["a", "b"], ["a", "b"], position) == ["a", "b"]


@pytest.mark.parametrize(
    "source",
    [
        ("def f(:", '    "a" "b"'),
        ("x = 1", "y = 'a' 'b'"),
        ('"""What it does."""', "def f():", '    """Says \\x41."""', "    return 1 + 'a'"),
        ("    def f(self):", '        return "a" "b"'),
        (),
    ],
)
def test_what_holds_no_secret_stays_as_it_is(source: tuple[str, ...]) -> None:
    assert clean(*source) == (list(source) or [""])
