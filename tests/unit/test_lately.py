"""What was noted lately: the newest some are there, and no more than twice as many."""

from __future__ import annotations

from healspan.instrumentation.lately import Lately


def test_what_was_noted_is_there_until_it_is_taken() -> None:
    noted = Lately(10)
    noted.put(1, 7)
    noted.put(2, 0)
    assert (noted.get(1), noted.get(2), noted.get(3), noted.get(None)) == (7, 0, None, None)
    assert (noted.pop(1), noted.pop(1), noted.pop(2)) == (7, None, 0)
    assert not noted


def test_what_is_noted_anew_has_the_newer_value() -> None:
    noted = Lately(2)
    for value in range(4):
        noted.put(1, value)
        noted.put(value + 10, value)
        assert noted.get(1) == value
    assert noted.pop(1) == 3
    assert noted.get(1) is None


def test_the_oldest_are_forgotten() -> None:
    noted = Lately(10)
    for number in range(1_000):
        noted.put(number, number)
        assert all(noted.get(one) == one for one in range(max(0, number - 9), number + 1))
        assert len(noted) <= 20
    assert noted.get(900) is None
