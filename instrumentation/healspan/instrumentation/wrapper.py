"""The wrapper of a boundary without a contract, compiled for the one signature it stands in front of.

A wrapper that takes ``*args, **kwargs`` spends most of its time packing and unpacking them. One with the
function's own parameters calls it straight through, and costs less than a bare try/except by hand.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["compile_wrapper"]

_TEMPLATE = """
def {p}make({names}, {p}defaults):
    def wrapper({parameters}):
        if not {p}tick():
            return {p}watched(0, {args}, {kwargs})
        if {p}open_runs:
            return {p}watched(1, {args}, {kwargs})
        try:
            {p}result = {p}function({call})
        except {p}Exception as {p}error:
            if {p}fired:
                {p}settle({p}frame(), {args}, {kwargs}, result=None)
            {p}healing = {p}heal({p}error, {args}, {kwargs}, {p}frame())
            if {p}healing is None:
                raise
            return {p}healing.value
        except {p}BaseException:
            if {p}fired:
                {p}take_fired({p}frame())
            raise
        if {p}fired:
            {p}settle({p}frame(), {args}, {kwargs}, result=({p}result,))
        return {p}result
    return wrapper
"""


def compile_wrapper(function: Callable[..., Any], environment: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a wrapper with the function's own parameters.

    Args:
        function: the boundary's function.
        environment: what the wrapper uses: ``tick``, ``watched``, ``settle``, ``heal``, ``frame``, ``take_fired``,
            the containers ``open_runs`` and ``fired``, and the classes that a parameter's name could hide.
    """
    signature = inspect.signature(function)
    prefix = "_healspan_"
    while any(name.startswith(prefix) for name in signature.parameters):
        prefix += "_"
    parameters, arguments, defaults = _written(signature, prefix)
    positional = [text for kind, text, _ in arguments if kind != "keyword"]
    keywords = [(kind, text, name) for kind, text, name in arguments if kind == "keyword"]
    source = _TEMPLATE.format(
        p=prefix,
        names=", ".join(f"{prefix}{name}" for name in ("function", *environment)),
        parameters=", ".join(parameters),
        args=f"({', '.join(positional)}{',' if positional else ''})",
        kwargs="{" + ", ".join(text if name is None else f"{name!r}: {name}" for _, text, name in keywords) + "}",
        call=", ".join(text for _, text, _ in arguments),
    )
    # The wrapper's frames are healspan's own, and so belong to no path of a failure.
    namespace: dict[str, Any] = {"__name__": __name__}
    # Only names of the function's own parameters go into the text, and Python has checked those already.
    exec(compile(source, "<healspan boundary>", "exec"), namespace)  # noqa: S102
    wrapper = namespace[f"{prefix}make"](function, *environment.values(), defaults)
    return functools.wraps(function)(wrapper)


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
