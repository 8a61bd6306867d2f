"""The wrapper of a boundary, compiled for the one signature it stands in front of.

A wrapper that takes ``*args, **kwargs`` spends most of its time packing and unpacking them. One with the
function's own parameters calls it straight through.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from healspan.instrumentation.generators import AsyncItems, Items
from healspan.instrumentation.hook import BoundaryHook
from healspan.instrumentation.site import Site
from healspan.remediation.parsing import parse
from healspan.remediation.repair import RunningCalls, enclose, held, register_boundary

__all__ = ["call_wrapper", "generator_wrapper"]

_CALL = """
def {p}make({names}, {p}defaults):
    {define} wrapper({parameters}):
        return {wait}{p}function({call})
    return wrapper
"""

_GENERATOR = """
def {p}make({names}, {p}defaults):
    def wrapper({parameters}):
        {p}items = {p}Items({p}function({call}), {p}site, {p}calls, {args}, {kwargs})
        try:
            {p}end = yield from {p}items
        except {p}BaseException as {p}error:
            {p}items.left({p}error)
            raise
        {p}items.ended()
        return {p}end
    return wrapper
"""

_ASYNC_GENERATOR = """
def {p}make({names}, {p}defaults):
    async def wrapper({parameters}):
        {p}items = {p}Items({p}function({call}), {p}site, {p}calls, {args}, {kwargs})
        try:
            {p}item = await {p}items.first()
            while True:
                try:
                    {p}sent = yield {p}item
                except {p}GeneratorExit:
                    await {p}items.close()
                    raise
                except {p}BaseException as {p}error:
                    {p}item = await {p}items.throw({p}error)
                else:
                    {p}item = await {p}items.send({p}sent)
        except {p}StopAsyncIteration:
            {p}items.ended()
        except {p}BaseException as {p}error:
            {p}items.left({p}error)
            raise
    return wrapper
"""


def generator_wrapper(site: Site) -> FunctionType:
    """Return a wrapper for a boundary whose calls give a generator, asynchronous or not."""
    asynchronous = inspect.isasyncgenfunction(site.function)
    calls = RunningCalls(currency=site.boundary.currency, observed=site.boundary.mode == "observe")
    environment = {
        "Items": AsyncItems if asynchronous else Items,
        "site": site,
        "calls": calls,
        "BaseException": BaseException,
        "GeneratorExit": GeneratorExit,
        "StopAsyncIteration": StopAsyncIteration,
    }
    template = _ASYNC_GENERATOR if asynchronous else _GENERATOR
    return _made(template, site, calls, environment)


def call_wrapper(site: Site) -> FunctionType:
    """Return a wrapper that calls the function, with the instructions around it that also stand inside functions."""
    enclosure = BoundaryHook(site, wrapping=True).enclosure

    def with_boundary(tree: ast.Module, prefix: str) -> None:
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        [definition] = (function for function in functions if function.name == "wrapper")
        enclose(definition, definition.lineno, enclosure, lambda name: ast.Name(prefix + name, ast.Load()))

    return _made(_CALL, site, enclosure.calls, held(enclosure), with_boundary)


def _made(
    template: str,
    site: Site,
    calls: RunningCalls,
    environment: Mapping[str, Any],
    change: Callable[[ast.Module, str], None] | None = None,
) -> FunctionType:
    """Return a wrapper with the function's own parameters, and a code object by which the guard knows it on a stack.

    Args:
        template: its text.
        site: of the boundary.
        calls: its calls that are under way.
        environment: what the wrapper uses beside, classes among it whose name a parameter could hide.
        change: changes the tree, given what the names of the environment begin with.
    """
    function = site.function
    signature = inspect.signature(function)
    prefix = "_healspan_"
    while any(name.startswith(prefix) for name in signature.parameters):
        prefix += "_"
    parameters, arguments, defaults = _written(signature, prefix)
    positional = [text for kind, text, _ in arguments if kind != "keyword"]
    keywords = [(kind, text, name) for kind, text, name in arguments if kind == "keyword"]
    asynchronous = inspect.iscoroutinefunction(function)
    source = template.format(
        p=prefix,
        define="async def" if asynchronous else "def",
        wait="await " if asynchronous else "",
        names=", ".join(f"{prefix}{name}" for name in ("function", *environment)),
        parameters=", ".join(parameters),
        args=f"({', '.join(positional)}{',' if positional else ''})",
        kwargs="{" + ", ".join(text if name is None else f"{name!r}: {name}" for _, text, name in keywords) + "}",
        call=", ".join(text for _, text, _ in arguments),
    )
    # The wrapper's frames are healspan's own, and so belong to no path of a failure.
    namespace: dict[str, Any] = {"__name__": __name__}
    # Only names of the function's own parameters go into the text, and Python has checked those already.
    tree = parse(source)
    if change is not None:
        change(tree, prefix)
    exec(compile(tree, "<healspan boundary>", "exec"), namespace)  # noqa: S102 - our own template
    wrapper: FunctionType = namespace[f"{prefix}make"](function, *environment.values(), defaults)
    functools.update_wrapper(wrapper, function)
    wrapper.__code__ = wrapper.__code__.replace(co_name=f"boundary {site.boundary.name}")
    register_boundary(wrapper.__code__, site.boundary.name, calls)
    return wrapper


def _written(
    signature: inspect.Signature,
    prefix: str,
) -> tuple[list[str], list[tuple[str, str, str | None]], list[Any]]:
    """Return the parameters as written in a definition, the arguments as written in a call, and the defaults.

    An argument is (``positional`` or ``keyword``, text, name); the name is None for ``**``.
    """
    parameters: list[str] = []
    arguments: list[tuple[str, str, str | None]] = []
    defaults: list[Any] = []
    slash = star = False
    for name, parameter in signature.parameters.items():
        text = name
        if parameter.default is not parameter.empty:
            text = f"{name}={prefix}defaults[{len(defaults)}]"
            defaults.append(parameter.default)
        if slash and parameter.kind is not parameter.POSITIONAL_ONLY:
            parameters.append("/")
        slash = parameter.kind is parameter.POSITIONAL_ONLY
        match parameter.kind:
            case parameter.POSITIONAL_ONLY | parameter.POSITIONAL_OR_KEYWORD:
                arguments.append(("positional", name, name))
            case parameter.VAR_POSITIONAL:
                text, star = f"*{name}", True
                arguments.append(("positional", text, name))
            case parameter.KEYWORD_ONLY:
                if not star:
                    parameters.append("*")
                    star = True
                arguments.append(("keyword", f"{name}={name}", name))
            case parameter.VAR_KEYWORD:
                text = f"**{name}"
                arguments.append(("keyword", text, None))
        parameters.append(text)
    if slash:
        parameters.append("/")
    return parameters, arguments, defaults
