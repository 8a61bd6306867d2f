"""Golden samples as a boundary takes them: from its sampled calls, and from calls that are known to be good."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Coroutine
from types import FunctionType
from typing import Any

from healspan.instrumentation.contract import Arguments, Contract
from healspan.instrumentation.errors import ContractViolation
from healspan.remediation.boundary import Boundary
from healspan.remediation.own_errors import internal_error
from healspan.remediation.reservoir import Reservoir
from healspan.remediation.runtime import start_soon, switched_off

__all__ = ["GoldenSamples"]

logger = logging.getLogger("healspan")

Call = tuple[tuple[Any, ...], dict[str, Any]]


class GoldenSamples:
    """The good calls of one boundary.

    Args:
        boundary: its declaration, which holds the reservoir.
        function: makes a call that is not healed.
        signature: of the function.
        contract: what every result must keep.
        rate: share of the sampled calls to keep; None if the boundary asks for none.
    """

    def __init__(
        self,
        boundary: Boundary,
        function: FunctionType,
        signature: inspect.Signature,
        contract: Contract,
        rate: float | None,
    ) -> None:
        self._boundary = boundary
        self._function = function
        self._signature = signature
        self._contract = contract
        self.sampled = bool(rate)
        """Whether calls that the application makes are kept."""
        if rate is not None:
            boundary.golden = Reservoir(signature, rate)

    def copied(self, weight: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Return copies of a sampled call's arguments if it is to be kept, should it turn out good."""
        reservoir = self._boundary.golden
        if reservoir is None or not reservoir.wants(weight) or switched_off():
            return None
        with internal_error("golden"):
            return reservoir.copied(args, kwargs)
        return None

    def keep(self, call: Call, result: object) -> None:
        """Keep a sampled call that turned out good."""
        reservoir = self._boundary.golden
        if reservoir is not None:
            with internal_error("golden"):
                reservoir.keep(call, result)

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """Make one call that is known to be good, and keep it."""
        if self._boundary.golden is None:
            self._boundary.golden = Reservoir(self._signature)
        start_soon()
        call = self._boundary.golden.copied(args, kwargs)
        result = self._function(*args, **kwargs)
        if inspect.iscoroutine(result):
            return self._made_async(call, result, args, kwargs)
        return self._made(call, result, args, kwargs)

    async def _made_async(
        self,
        call: Call | None,
        result: Coroutine[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        return self._made(call, await result, args, kwargs)

    def _made(self, call: Call | None, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = self._boundary.name
        verdict = self._contract.verify(result, Arguments(self._signature, args, kwargs))
        if verdict.valid is False:
            raise ContractViolation(f"{name}: a call that is to be known as good is not: {verdict.reason}")
        reservoir = self._boundary.golden
        if reservoir is not None and (call is None or not reservoir.keep(call, result)):
            logger.warning("a good call of boundary %s is not kept: %s", name, reservoir.problem or "no room")
        return result
