"""`error_boundary`: a function, coroutine function or ``with`` block whose failures healspan may heal.

This module is the declaration; `healspan.instrumentation.site` is what runs at each call.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, get_args

from healspan.instrumentation.contract import Check
from healspan.instrumentation.declared import fit_checks, reckoned_in, refuse_unfit
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.form import with_boundary
from healspan.instrumentation.passing import passes_over, storm_of_blocks
from healspan.instrumentation.site import ContextFunction, Site
from healspan.instrumentation.storm import raised_at
from healspan.remediation.boundary import UNSET, Boundary, BoundaryMode, Tunable
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.modules import importable_name
from healspan.remediation.own_errors import internal_error
from healspan.remediation.run import current_run
from healspan.remediation.runtime import runtime, start_soon

__all__ = ["BoundaryFunction", "error_boundary"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class BoundaryFunction(Protocol[P, R_co]):
    """A function wrapped by `error_boundary`."""

    @property
    def boundary(self) -> Boundary:
        """The declaration."""

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function itself."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function; its failures may be healed."""

    def strategy(
        self,
        name: str,
        *,
        automatic: bool = True,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a named alternative that takes the same arguments.

        Its keyword-only parameters are tunables that a fix may set. With ``automatic=False`` only a fix that
        a human approved may choose it.
        """

    def golden(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Make one call that is known to be good, and keep it as a golden sample; failures are not healed.

        Raises:
            ContractViolation: its result breaks the boundary's contract.
        """


class error_boundary:  # noqa: N801 - used as a decorator and a context manager, like contextlib's
    """Declare a boundary.

    Args:
        name: unique in the process; the ``module`` of its incidents.
        output: what the result must be, checked strictly; default: the return annotation. Not for generators, which
            are healed until their first item is handed out, and observed after that.
        checks: ``check(result, arguments)``, each must be True of a result. Not for generators.
        retry_safe: True declares that the call neither mutates its arguments nor has effects that cannot be
            repeated; ``"snapshot"`` copies the arguments before each call. Otherwise nothing calls it again.
        context: low-cardinality context keys from the call's arguments, e.g. ``document_type``.
        tunable: arguments for which a fix may choose other values, each `Between` two numbers or `OneOf` some
            values.
        currency: code of the currency that amounts are in; default: ``HEALSPAN_CURRENCY``, else ``USD``. An amount with
            the sign of another one is read by no fix that a human has not approved.
        fallback: a value, or a function without parameters, to return degraded when nothing else is left.
        mode: ``heal``; ``background``, where a call for which no fix is known yet fails as it would have, and the fix
            is looked for afterwards, for the next one; or ``observe`` to capture only.
        capture_locals: take skeletons of local variables into incidents.
        partial_output: name of a local variable of the function whose value at the failure is kept.
        in_app: further top-level packages whose frames count as the application's.
        golden: the share of good calls to keep as golden samples, against which new fixes are tried; a bounded number
            is kept, and only calls that are sampled anyway are looked at: all of the first 256, then one in 64.
    """

    def __init__(
        self,
        name: str,
        *,
        output: Any = UNSET,
        checks: Sequence[Check] = (),
        retry_safe: bool | Literal["snapshot"] = False,
        context: ContextFunction | None = None,
        tunable: Mapping[str, Tunable] | None = None,
        currency: str | None = None,
        fallback: Any = UNSET,
        mode: BoundaryMode = "heal",
        capture_locals: bool = False,
        partial_output: str | None = None,
        in_app: Sequence[str] = (),
        golden: float | None = None,
    ) -> None:
        if not name or not isinstance(name, str):
            raise ConfigurationError("error_boundary needs a name, e.g. @error_boundary('revenue_extraction')")
        if mode not in get_args(BoundaryMode):
            modes = ", ".join(map(repr, get_args(BoundaryMode)))
            raise ConfigurationError(f"boundary {name!r}: mode must be one of {modes}, not {mode!r}")
        if retry_safe not in (True, False, "snapshot"):
            raise ConfigurationError(f"boundary {name!r}: retry_safe must be True, False or 'snapshot'")
        if golden is not None and not (isinstance(golden, int | float) and 0 <= golden <= 1):
            raise ConfigurationError(f"boundary {name!r}: golden is the share of good calls to keep, from 0 to 1")
        self.golden = golden
        refuse_unfit(
            name,
            output=output,
            context=context,
            tunable=tunable,
            fallback=fallback,
            partial_output=partial_output,
            in_app=in_app,
        )
        self.name = name
        self.output = output
        self.checks = fit_checks(name, checks)
        self.retry_safe = retry_safe
        self.context = context
        self.tunable = dict(tunable or {})
        self.currency = reckoned_in(name, currency)
        self.fallback = fallback
        self.mode = mode
        self.capture_locals = capture_locals
        self.partial_output = partial_output
        self.in_app = tuple(in_app)

    def __call__(self, function: Callable[P, R]) -> BoundaryFunction[P, R]:
        """Give a function, coroutine function or generator function its boundary."""
        if not inspect.isfunction(function):
            raise ConfigurationError(
                f"boundary {self.name!r} needs a function; put @error_boundary below @staticmethod or @classmethod",
            )
        site = Site(
            function,
            name=self.name,
            output=self.output,
            checks=self.checks,
            retry_safe=self.retry_safe,
            context=self.context,
            tunable=self.tunable,
            currency=self.currency,
            fallback=self.fallback,
            mode=self.mode,
            capture_locals=self.capture_locals,
            partial_output=self.partial_output,
            in_app=self.in_app,
            golden=self.golden,
        )
        return cast("BoundaryFunction[P, R]", with_boundary(site))

    def __enter__(self) -> error_boundary:
        """Observe a block: its failure is captured and goes on."""
        start_soon()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Capture what left the block; never swallow it."""
        if isinstance(error, Exception):
            caller = sys._getframe(1)
            target = f"{importable_name(str(caller.f_globals.get('__name__', '?')))}:{caller.f_code.co_qualname}"
            with internal_error("observe"):
                boundary = Boundary(name=self.name, function=None, target=target, mode="observe")
                storm = storm_of_blocks(self.name)
                if passes_over(storm, boundary, error):
                    return False
                failure = Failure(
                    boundary,
                    error,
                    traceback,
                    arguments={},
                    run=current_run.get(),
                    in_app=self.in_app,
                    capture_locals=self.capture_locals,
                )
                failure.observe(runtime())
                storm.ended(raised_at(error), failure.incident.pattern)
        return False
