"""Identifiers rise."""

from __future__ import annotations

import os
import threading

from healspan.remediation.ids import IdSource, uuid7

MS = 1_700_000_000_123


def test_the_form_is_rfc_9562_version_7() -> None:
    made = IdSource(lambda: MS * 1_000_000, lambda n: b"\xff" * n)()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == MS


def test_they_rise_while_the_clock_stands_still_or_goes_back() -> None:
    times = iter([MS * 1_000_000] * 5000 + [(MS - 1000) * 1_000_000] * 5)
    source = IdSource(lambda: next(times))
    made = [source() for _ in range(5005)]
    assert made == sorted(set(made))


def test_threads_get_different_ids() -> None:
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.extend(uuid7() for _ in range(200))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1600


def test_a_fork_does_not_inherit_a_held_lock() -> None:
    source = IdSource()
    with source._lock:
        pid = os.fork()
        if pid == 0:
            source()
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_system_is_asked_for_random_bytes_once_for_many() -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    source = IdSource(random=random)
    made = {source().int & ((1 << 62) - 1) for _ in range(600)}
    assert len(made) == 600, "each has random bits of its own"
    assert len(asked) <= 3


def test_a_child_s_ids_have_other_random_bits() -> None:
    source = IdSource(lambda: MS * 1_000_000)
    source()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, source().bytes)
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 16) != source().bytes
    os.close(reader)
    os.close(writer)
