"""The wrapper of a boundary, compiled for the one signature it stands in front of.

A wrapper that takes ``*args, **kwargs`` spends most of its time packing and unpacking them. One with the
function's own parameters calls it straight through.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any

from healspan.instrumentation.generators import AsyncItems, Items
from healspan.instrumentation.hook import BoundaryHook
from healspan.instrumentation.site import Site
from healspan.remediation.repair import RunningCalls, enclose, placeholders, register_boundary

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
        {p}items = {p}Items({p}function({call}), {p}site, {args}, {kwargs}, {p}frame())
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
        {p}items = {p}Items({p}function({call}), {p}site, {args}, {kwargs}, {p}frame())
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
    environment = {
        "Items": AsyncItems if asynchronous else Items,
        "site": site,
        "frame": sys._getframe,
        "BaseException": BaseException,
        "GeneratorExit": GeneratorExit,
        "StopAsyncIteration": StopAsyncIteration,
    }
    template = _ASYNC_GENERATOR if asynchronous else _GENERATOR
    wrapper = _made(template, site.function, environment, _compiled)
    return _known(wrapper, site, RunningCalls())


def call_wrapper(site: Site) -> FunctionType:
    """Return a wrapper that calls the function, with the instructions around it that also stand inside functions."""
    hook = BoundaryHook(site, wrapping=True)

    def with_boundary(tree: ast.Module) -> CodeType:
        [definition] = (node for node in ast.walk(tree) if getattr(node, "name", None) == "wrapper")
        assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101 - the template's
        enclose(definition, definition.lineno, hook.enclosure)
        return _compiled(tree)

    wrapper = _made(_CALL, site.function, {}, with_boundary)
    objects = placeholders(hook.enclosure)
    wrapper.__code__ = wrapper.__code__.replace(
        co_consts=tuple(
            objects.get(each, each) if isinstance(each, str) else each for each in wrapper.__code__.co_consts
        ),
    )
    return _known(wrapper, site, hook.enclosure.calls)


def _compiled(tree: ast.Module) -> CodeType:
    return compile(tree, "<healspan boundary>", "exec")


def _known(wrapper: FunctionType, site: Site, calls: RunningCalls) -> FunctionType:
    """Give a wrapper a code object of its own, by which the guard knows this boundary on a stack."""
    wrapper.__code__ = wrapper.__code__.replace(co_name=f"boundary {site.boundary.name}")
    register_boundary(wrapper.__code__, site.boundary.name, calls)
    return wrapper


def _made(
    template: str,
    function: Callable[..., Any],
    environment: Mapping[str, Any],
    compiled: Callable[[ast.Module], CodeType],
) -> FunctionType:
    """Return a wrapper with the function's own parameters.

    Args:
        template: its text.
        function: the boundary's function.
        environment: what the template uses beside, classes among it whose name a parameter could hide.
        compiled: compiles the tree.
    """
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
    namespace: dict[str, Any] = {"__name__": __name__}
    # Only names of the function's own parameters go into the text, and Python has checked those already.
    exec(compiled(ast.parse(source)), namespace)  # noqa: S102
    wrapper: FunctionType = namespace[f"{prefix}make"](function, *environment.values(), defaults)
    functools.update_wrapper(wrapper, function)
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
