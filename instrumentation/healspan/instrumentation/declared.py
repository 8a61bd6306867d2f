"""What a declaration may say: a wrong argument is told where it is written, not at the first failure.

Refused is only what can never work, whatever the call. What an application may well start with is left to `healspan
doctor`.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from healspan.instrumentation.contract import Check, Contract
from healspan.remediation.boundary import UNSET, Between, OneOf
from healspan.remediation.currency import DEFAULT, is_code
from healspan.remediation.errors import ConfigurationError

__all__ = ["broken_fallback", "fit_checks", "reckoned_in", "refuse_unfit", "refuse_unfit_strategy", "why_unfit"]

_NO_TYPES = (bool, int, float, complex, bytes, list, tuple, dict, set, frozenset)
"""Values of these, given for a type, pydantic takes for no restriction at all."""

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def reckoned_in(name: str, currency: object, environment: Mapping[str, str] = os.environ) -> str:
    """Return the currency of a boundary: what it declares, else what the service reckons in.

    Args:
        name: of the boundary.
        currency: what it declares; None for nothing.
        environment: ``HEALSPAN_CURRENCY``. Read here, as no settings are loaded before the first failure; where they
            refuse it, they say so.

    Raises:
        ConfigurationError: what is declared is no code.
    """
    if currency is None:
        served = environment.get("HEALSPAN_CURRENCY", "")
        return served if is_code(served) else DEFAULT
    if not isinstance(currency, str) or not is_code(currency):
        raise ConfigurationError(
            f"boundary {name!r}: currency must be a code of three capital letters, not {currency!r:.40}; write "
            "currency='EUR'"
        )
    return currency


def refuse_unfit(
    name: str,
    *,
    output: object,
    context: object,
    tunable: object,
    fallback: object,
    partial_output: object,
    in_app: object,
) -> None:
    """Refuse arguments of `error_boundary` that cannot work.

    Raises:
        ConfigurationError: says which one, and what it should be.
    """
    if type(output) in _NO_TYPES or inspect.isroutine(output) or inspect.ismodule(output):
        raise ConfigurationError(
            f"boundary {name!r}: output must be a type, not {output!r:.40}: anything would pass it; write output=float"
        )
    if context is not None and not callable(context):
        raise ConfigurationError(
            f"boundary {name!r}: context must be a function from the call's arguments to a dict of short texts, not "
            f"{context!r:.40}; write context=lambda ...: {{...}}, or give what holds for a whole run to pipeline()",
        )
    _refuse_unfit_tunable(name, tunable)
    if fallback is not UNSET and callable(fallback) and not inspect.iscoroutinefunction(fallback):
        _refuse_unfit_fallback(name, fallback)
    if partial_output is not None and not isinstance(partial_output, str):
        raise ConfigurationError(
            f"boundary {name!r}: partial_output is the name of a variable, not {partial_output!r:.40}"
        )
    if isinstance(in_app, str):
        raise ConfigurationError(f"boundary {name!r}: in_app is a list of packages; write in_app=[{in_app!r}]")


def fit_checks(name: str, checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return the checks of a boundary.

    Raises:
        ConfigurationError: they are no functions, or cannot be asked.
    """
    if not isinstance(checks, Iterable):
        raise ConfigurationError(f"boundary {name!r}: checks must be a list of functions, not {checks!r:.40}")
    fit = tuple(checks)
    for check in fit:
        _refuse_unfit_check(name, check)
    return fit


def refuse_unfit_strategy(
    boundary: str,
    signature: inspect.Signature,
    name: object,
    function: object,
) -> None:
    """Refuse a strategy that no call of its boundary could be handed to.

    Args:
        boundary: its name.
        signature: of the boundary's function.
        name: of the strategy.
        function: the alternative; keyword-only parameters are set by fixes.

    Raises:
        ConfigurationError: says what it cannot take.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"boundary {boundary!r}: a strategy needs a name, e.g. @....strategy('prose'), not {name!r:.40}"
        )
    if not callable(function):
        raise ConfigurationError(
            f"boundary {boundary!r}: strategy {name!r} must be a function, not {function!r:.40}; put it below "
            "@staticmethod or @classmethod",
        )
    reason = why_unfit(signature, function)
    if reason is not None:
        raise ConfigurationError(
            f"boundary {boundary!r}: strategy {name!r} cannot take the arguments of the boundary ({reason}); it is "
            f"called as the boundary is, {signature}; what only a fix sets must be keyword-only",
        )


def why_unfit(signature: inspect.Signature, function: Callable[..., Any]) -> str | None:
    """Return why a function can be called in none of the ways that a signature allows; None if it can in one.

    Keyword-only parameters that the signature does not have are set by fixes.
    """
    if any(one.kind in _VARIADIC for one in signature.parameters.values()):
        return None  # what it is called with stands nowhere
    try:
        taken = inspect.signature(function)
    except (TypeError, ValueError):
        return None  # written in C, and silent about its parameters
    set_by_fixes = {
        one.name: None
        for one in taken.parameters.values()
        if one.kind is one.KEYWORD_ONLY and one.default is one.empty and one.name not in signature.parameters
    }
    reasons = []
    for everything, by_name in itertools.product((False, True), repeat=2):
        args, kwargs = _call(signature, everything=everything, by_name=by_name)
        try:
            taken.bind(*args, **{**set_by_fixes, **kwargs})
        except TypeError as error:
            reasons.append(str(error))
        else:
            return None
    return reasons[0]


def broken_fallback(function: Callable[..., Any], output: Any, fallback: object) -> str | None:
    """Return why a fallback breaks the type that is declared for a result; None if it keeps it, or nobody can tell yet.

    Annotations may name what is defined further down: then nothing is said.
    """
    if fallback is UNSET or callable(fallback):
        return None
    try:
        result = Contract(function, output).verify(fallback, {})
    except Exception:  # annotations and validators are the application's code
        return None
    return result.reason if result.valid is False else None


def _call(signature: inspect.Signature, *, everything: bool, by_name: bool) -> tuple[list[None], dict[str, None]]:
    """Return a call that a signature allows: with all its arguments, or with those that have no default."""
    args: list[None] = []
    kwargs: dict[str, None] = {}
    for one in signature.parameters.values():
        if not everything and one.default is not one.empty:
            continue
        if one.kind is one.KEYWORD_ONLY or (by_name and one.kind is one.POSITIONAL_OR_KEYWORD):
            kwargs[one.name] = None
        else:
            args.append(None)
    return args, kwargs


def _refuse_unfit_check(boundary: str, check: object) -> None:
    """Refuse a check that cannot be asked: every good call would break a contract that nobody can keep."""
    if not callable(check):
        raise ConfigurationError(f"boundary {boundary!r}: checks must be a list of functions, not of {check!r:.40}")
    try:
        inspect.signature(check).bind(None, {})
    except ValueError:
        return  # written in C, and silent about its parameters
    except TypeError as error:
        called = getattr(check, "__name__", "check")
        raise ConfigurationError(
            f"boundary {boundary!r}: check {called} must take (result, arguments): {error}",
        ) from error


def _refuse_unfit_tunable(boundary: str, tunable: object) -> None:
    if tunable is None:
        return
    if not isinstance(tunable, Mapping):
        raise ConfigurationError(
            f"boundary {boundary!r}: tunable must be a dict from names of arguments to OneOf or Between, not "
            f"{tunable!r:.40}",
        )
    for name, bounds in tunable.items():
        if not isinstance(bounds, OneOf | Between):
            meant = f"OneOf({bounds!r:.60})" if isinstance(bounds, tuple) else "OneOf((...)) or Between(low, high)"
            raise ConfigurationError(
                f"boundary {boundary!r}: {name!r} is declared tunable as {bounds!r:.60}; write {meant}, from "
                "healspan.instrumentation",
            )


def _refuse_unfit_fallback(boundary: str, fallback: Callable[..., Any]) -> None:
    try:
        inspect.signature(fallback).bind()
    except ValueError:
        return  # written in C, and silent about its parameters
    except TypeError as error:
        raise ConfigurationError(
            f"boundary {boundary!r}: a fallback that is a function is called without arguments: {error}; a strategy "
            "gets the call's arguments",
        ) from error
