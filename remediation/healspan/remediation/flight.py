"""Single flight: of many equal failures at once, one is diagnosed and the others wait for what it finds."""

from __future__ import annotations

import threading

__all__ = ["Flight", "Flights"]


class Flight:
    """One diagnosis under way."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.found = False


class Flights:
    """The diagnoses under way in this process, by exact pattern."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._flights: dict[str, Flight] = {}

    def join(self, pattern: str) -> tuple[Flight, bool]:
        """Return the flight of a pattern, and whether the caller leads it."""
        with self._lock:
            flight = self._flights.get(pattern)
            if flight is not None:
                return flight, False
            flight = self._flights[pattern] = Flight()
            return flight, True

    def land(self, pattern: str, flight: Flight, *, found: bool) -> None:
        """End a flight; everybody who waits goes on."""
        with self._lock:
            self._flights.pop(pattern, None)
        flight.found = found
        flight.landed.set()
