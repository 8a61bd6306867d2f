"""What was noted lately, by number: the newest some, for threads that do not wait for each other."""

from __future__ import annotations

__all__ = ["Lately"]


class Lately:
    """A mapping that forgets the oldest of what it was given, in halves; at least the newest `most` are there.

    Without a lock: each step is one of a dictionary's own.

    Args:
        most: how many are remembered.
    """

    __slots__ = ("_before", "_most", "_now")

    def __init__(self, most: int) -> None:
        self._most = most
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def get(self, number: int | None) -> int | None:
        """Return what was noted of a number."""
        if number is None:
            return None
        found = self._now.get(number)
        return self._before.get(number) if found is None else found

    def put(self, number: int, value: int) -> None:
        """Note a number."""
        if len(self._now) >= self._most:
            self._before, self._now = self._now, {}
        self._now[number] = value

    def pop(self, number: int) -> int | None:
        """Forget a number, and return what was noted of it."""
        found, before = self._now.pop(number, None), self._before.pop(number, None)
        return before if found is None else found
