"""Which ways from a boundary down to an expression are refused because the application may handle the error."""

from __future__ import annotations

import sys
import textwrap

import pytest
from repair_application import Application

from healspan.remediation.errors import HealspanError, RepairDeclined, StaleFix
from healspan.remediation.repair.handled import way_unhandled
from healspan.remediation.repair.path import path_entry


def judge(
    app: Application,
    body: str,
    *,
    line: str = "return read(text)",
    error: str = "builtins.ValueError",
    before: str = "",
) -> None:
    text = f"{before}\ndef run(text):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
    module = app.module(text)
    way_unhandled((path_entry(module.__name__, "run", line),), error)


REFUSED = {
    "the very type": """
        try:
            return read(text)
        except ValueError:
            pass
    """,
    "a base class": """
        try:
            return read(text)
        except Exception:
            return None
    """,
    "everything": """
        try:
            return read(text)
        except:
            return None
    """,
    "one of several": """
        try:
            return read(text)
        except (KeyError, ValueError) as error:
            return error
    """,
    "a type that cannot be told": """
        try:
            return read(text)
        except text.Error:
            return None
    """,
    "a type from a local name": """
        KeyError = ValueError
        try:
            return read(text)
        except KeyError:
            pass
    """,
    "another exception": """
        try:
            return read(text)
        except ValueError as error:
            raise LookupError from error
    """,
    "the same object by name": """
        try:
            return read(text)
        except ValueError as error:
            raise error
    """,
    "a way past the raise": """
        try:
            return read(text)
        except ValueError:
            if text:
                raise
            return 0
    """,
    "a way round the raise": """
        for _ in text:
            try:
                return read(text)
            except ValueError:
                if text:
                    continue
                raise
    """,
    "a raise that may not come": """
        try:
            return read(text)
        except ValueError:
            for _ in text:
                raise
    """,
    "an outer try": """
        try:
            if text:
                try:
                    return read(text)
                finally:
                    print()
        except ValueError:
            pass
    """,
    "a later handler": """
        try:
            return read(text)
        except KeyError:
            raise
        except ValueError:
            pass
    """,
    "an exception group": """
        try:
            return_value = read(text)
        except* ValueError:
            raise
    """,
    "a finally that returns": """
        try:
            return read(text)
        finally:
            return None
    """,
    "a finally that leaves the loop": """
        for _ in text:
            try:
                return read(text)
            finally:
                break
    """,
    "suppress": """
        import contextlib
        with contextlib.suppress(ValueError):
            return read(text)
    """,
    "an unknown manager": """
        with text.lock:
            return read(text)
    """,
    "a manager behind a known one": """
        with open(text) as a, text as b:
            return read(text)
    """,
    "one of two equal lines": """
        if text:
            return read(text)
        try:
            return read(text)
        except ValueError:
            pass
    """,
    "a match in a try": """
        try:
            match text:
                case str():
                    return read(text)
        except ValueError:
            pass
    """,
    "a loop's else in a try": """
        try:
            for _ in text:
                pass
            else:
                return read(text)
        except ValueError:
            pass
    """,
}

ACCEPTED = {
    "nothing around it": """
        return read(text)
    """,
    "another type": """
        try:
            return read(text)
        except KeyError:
            pass
    """,
    "a subclass": """
        try:
            return read(text)
        except UnicodeDecodeError:
            pass
    """,
    "a bare raise": """
        try:
            return read(text)
        except ValueError:
            print(text)
            raise
    """,
    "a bare raise on every way": """
        try:
            return read(text)
        except Exception:
            if text:
                raise
            else:
                print()
                raise
    """,
    "a bare raise before a handler": """
        try:
            return read(text)
        except ValueError:
            raise
        except Exception:
            return None
    """,
    "a finally": """
        try:
            return read(text)
        finally:
            for _ in text:
                break
    """,
    "a finally that returns it": """
        try:
            print()
        finally:
            return read(text)
    """,
    "the else of a try": """
        try:
            print()
        except ValueError:
            pass
        else:
            return read(text)
    """,
    "a handler's body": """
        try:
            print()
        except ValueError:
            return read(text)
    """,
    "an open file": """
        with open(text):
            return read(text)
    """,
    "a lock of the module": """
        with LOCK:
            return read(text)
    """,
    "a decimal context": """
        with decimal.localcontext():
            return read(text)
    """,
    "a try elsewhere": """
        try:
            print()
        except ValueError:
            pass
        return read(text)
    """,
    "a function made inside a try": """
        try:
            def inner():
                return read(text)
        except ValueError:
            pass
        return read(text)
    """,
}

BEFORE = "import threading, decimal\nLOCK = threading.Lock()\n"


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_way_on_which_the_error_may_be_handled_is_refused(app: Application, body: str) -> None:
    line = "return_value = read(text)" if "return_value" in body else "return read(text)"
    with pytest.raises(RepairDeclined, match="handles this itself"):
        judge(app, body, before=BEFORE, line=line)


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_a_way_on_which_the_error_is_sure_to_travel_is_accepted(app: Application, body: str) -> None:
    judge(app, body, before=BEFORE)


def test_the_second_manager_of_a_statement_is_made_inside_the_first(app: Application) -> None:
    before = "from contextlib import suppress\n"
    with pytest.raises(RepairDeclined, match="suppress"):
        judge(
            app,
            "with suppress(ValueError), read(text):\n    pass",
            line="with suppress(ValueError), read(text):",
            before=before,
        )
    judge(app, "with read(text):\n    pass", line="with read(text):", before=before)


def test_a_type_that_is_not_imported_may_match_every_handler(app: Application) -> None:
    with pytest.raises(RepairDeclined):
        judge(app, "try:\n    return read(text)\nexcept KeyError:\n    pass", error="nowhere.Error")


def test_errors_that_end_loops_are_left_to_the_language(app: Application) -> None:
    with pytest.raises(RepairDeclined, match="the language"):
        judge(app, "return read(text)", error="builtins.StopIteration")


def test_a_line_that_is_not_in_the_function_is_stale(app: Application) -> None:
    with pytest.raises(StaleFix):
        judge(app, "return write(text)")


def test_a_line_with_a_literal_secret_is_found_though_paths_do_not_hold_it(app: Application) -> None:
    secret = "sk-ant-api03-" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI3kM5oQ7sU9wY1"
    body = f"try:\n    return read(text, {secret!r})\nexcept ValueError:\n    pass"
    line = f"return read(text, {secret!r})"
    assert path_entry("", "", line)[2] != line
    with pytest.raises(RepairDeclined, match="handles this itself"):
        judge(app, body, line=line)


def test_a_frame_that_cannot_be_found_is_refused(app: Application) -> None:
    module = app.module("def run(text):\n    return text\n")
    for qualname in ("<module>", "gone", "run.<locals>.inner"):
        with pytest.raises(HealspanError):
            way_unhandled((path_entry(module.__name__, qualname, "return read(text)"),), "builtins.ValueError")


@pytest.mark.parametrize(
    "line",
    [
        "def inner(one=read(text)): return one",
        "def inner(one: read(text)): return one",
        "class Inner(read(text)): pass",
    ],
)
def test_what_a_definition_evaluates_at_once_is_judged_with_the_function_around_it(app: Application, line: str) -> None:
    judge(app, line, line=line)
    with pytest.raises(RepairDeclined, match="handles this itself"):
        judge(app, f"try:\n    {line}\nexcept ValueError:\n    pass", line=line)


def test_so_is_a_decorator_though_it_stands_before_the_definition(app: Application) -> None:
    judge(app, "@read(text)\ndef inner():\n    return 1", line="@read(text)")


def test_the_body_of_a_definition_is_not(app: Application) -> None:
    with pytest.raises(StaleFix):
        judge(app, "def inner():\n    return read(text)")


def test_functions_made_inside_others_and_comprehensions_are_judged_where_they_stand(app: Application) -> None:
    module = app.module(
        """
def outer(rows):
    def careful(row):
        try:
            return read(row)
        except ValueError:
            return None
    def plain(row):
        return [read(cell) for cell in row]
    return careful, plain
"""
    )
    name = module.__name__

    def judged(qualname: str, line: str) -> None:
        way_unhandled((path_entry(name, qualname, line),), "builtins.ValueError")

    judged("outer.<locals>.plain", "return [read(cell) for cell in row]")
    if sys.version_info < (3, 12):  # since then a comprehension has no frame of its own
        judged("outer.<locals>.plain.<locals>.<listcomp>", "return [read(cell) for cell in row]")
    with pytest.raises(RepairDeclined):
        judged("outer.<locals>.careful", "return read(row)")


def test_third_party_code_is_refused_where_any_exception_table_covers_the_line(app: Application) -> None:
    library = app.module(
        """
def call(function, text):
    return function(text)

def careful(function, text):
    try:
        return function(text)
    except KeyError:
        return None
"""
    )
    module = app.module("def run(text):\n    return call(read, text)\n")
    boundary = path_entry(module.__name__, "run", "return call(read, text)")
    way_unhandled((boundary, path_entry(library.__name__, "call", "return function(text)")), "builtins.ValueError")
    careful = (boundary, path_entry(library.__name__, "careful", "return function(text)"))
    with pytest.raises(RepairDeclined, match="not the application's code"):
        way_unhandled(careful, "builtins.ValueError")
    way_unhandled(careful, "builtins.ValueError", in_app=[library.__name__])


def test_frames_without_source_are_refused_if_they_handle_anything(app: Application) -> None:
    module = app.module("def run(text):\n    return call(text)\n")
    texts = {"plain": "def made(x): return x()", "careful": "def made(x):\n try: return x()\n except KeyError: pass"}
    boundary = path_entry(module.__name__, "run", "return call(text)")
    for name, text in texts.items():
        scope = vars(module)
        exec(text, scope)
        way = (boundary, path_entry(module.__name__, "made", ""))
        if name == "plain":
            way_unhandled(way, "builtins.ValueError")
        else:
            with pytest.raises(RepairDeclined):
                way_unhandled(way, "builtins.ValueError")


def test_an_own_pipeline_lets_everything_through(app: Application) -> None:
    judge(
        app,
        "with pipeline('valuation'):\n    return read(text)",
        before="class pipeline: pass\npipeline.__module__ = 'healspan.instrumentation.pipeline'\n",
    )


TRACING = """
from opentelemetry import trace
tracer = trace.get_tracer('app')
class Own(type(tracer)): pass
own = object.__new__(Own)
"""


@pytest.mark.parametrize(
    "manager",
    [
        "tracer.start_as_current_span('read')",
        "trace.get_tracer('app').start_as_current_span('read', attributes={'n': 1}) as span",
        "trace.use_span(trace.INVALID_SPAN)",
    ],
)
def test_spans_record_an_exception_and_let_it_through(app: Application, manager: str) -> None:
    judge(app, f"with {manager}:\n    return read(text)", before=TRACING)


@pytest.mark.parametrize(
    "manager",
    [
        "own.start_as_current_span('read')",
        "text.start_as_current_span('read')",
        "text.get_tracer('app').start_as_current_span('read')",
        "tracer.start_span('read')",
        "trace.get_tracer_provider().start_as_current_span('read')",
    ],
)
def test_what_only_looks_like_a_span_may_swallow_it(app: Application, manager: str) -> None:
    with pytest.raises(RepairDeclined, match="may swallow it"):
        judge(app, f"with {manager}:\n    return read(text)", before=TRACING)
