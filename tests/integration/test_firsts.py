"""Where a fix was applied first: read from the store by every process, whoever applied it, and when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from tests.observe import wait_until
from tests.world import World

from healspan.remediation.errors import StoreUnavailable
from healspan.remediation.fix import FixState
from healspan.remediation.outcome import FirstApplication
from healspan.remediation.store.database import Database
from healspan.remediation.store.firsts import Firsts
from healspan.remediation.store.index import FixIndex
from healspan.remediation.store.index_loader import first_applications

FIRST = FirstApplication(trace_id="1" * 32, span_id="1" * 16)


def test_it_is_the_earliest_that_gave_a_result_whatever_came_to_the_store_first(world: World) -> None:
    fix, never, unseen = world.fix("price"), world.fix("stock"), world.fix("offer")
    world.application(fix, ago=timedelta(hours=1), span=("3" * 32, "3" * 16))
    world.application(fix, ago=timedelta(hours=3), reward=0, span=("4" * 32, "4" * 16))
    world.application(fix, ago=timedelta(hours=2), span=("1" * 32, "1" * 16))
    world.application(unseen, ago=timedelta(hours=2))
    world.application(unseen, ago=timedelta(hours=1), span=("5" * 32, "5" * 16))
    found = first_applications(Database.for_tool(world.settings), [fix.fix_id, never.fix_id, unseen.fix_id])
    assert found == {fix.fix_id: FIRST, unseen.fix_id: None}


def test_every_process_comes_to_know_of_it(world: World) -> None:
    fix = world.fix("price", state=FixState.ACTIVE)
    index = FixIndex(world.settings, trust=lambda fix, change: None)
    index.start()
    wait_until(lambda: index.snapshot.candidates, "the fix to serve")
    assert index.firsts.get(fix.fix_id) is None
    world.application(fix, span=("1" * 32, "1" * 16))
    wait_until(lambda: index.firsts.get(fix.fix_id) == FIRST, "the first application")
    world.application(fix, ago=timedelta(hours=-1), span=("2" * 32, "2" * 16))
    restarted = FixIndex(world.settings, trust=lambda fix, change: None)
    restarted.start()
    wait_until(lambda: restarted.firsts.get(fix.fix_id) == FIRST, "the first application, after a restart")
    restarted.stop()
    index.stop()


def test_it_is_asked_once_again_where_the_store_was_away_and_never_once_it_is_known() -> None:
    firsts, asked = Firsts(), []

    def away(ids: Collection[str]) -> dict[str, FirstApplication | None]:
        asked.append(set(ids))
        raise StoreUnavailable("it is away")

    def there(ids: Collection[str]) -> dict[str, FirstApplication | None]:
        asked.append(set(ids))
        return {one: FIRST if one == "a" else None for one in ids}

    firsts.look({"a", "gone"}, {"a", "b", "c"}, away)
    firsts.look({"b"}, {"a", "b", "c"}, there)
    firsts.look({"a", "b"}, {"a", "b", "c"}, there)
    assert asked == [{"a"}, {"a", "b"}]
    assert (firsts.get("a"), firsts.get("b")) == (FIRST, None)


def test_of_fixes_that_serve_no_more_nothing_is_kept_for_ever() -> None:
    firsts = Firsts()
    firsts.look({str(n) for n in range(1_000)}, {str(n) for n in range(1_000)}, lambda ids: dict.fromkeys(ids, FIRST))
    firsts.look({"0"}, {"0"}, lambda ids: {})
    assert firsts.get("0") == FIRST
    assert firsts.get("999") is None
