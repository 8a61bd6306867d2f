"""What analytics has worked out about fixes and boundaries; rebuilt from facts at any time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from healspan.remediation.store.changes import next_revision
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import FixScore, Hotspot, encode
from healspan.remediation.store.tables import FixScoreRow, HotspotRow, table_of
from healspan.remediation.store.upsert import insert_into

__all__ = ["Projections"]

_SCORE, _HOTSPOT = table_of(FixScoreRow), table_of(HotspotRow)


_HOTSPOTS = select(_HOTSPOT.c.body).order_by(_HOTSPOT.c.expected.desc(), _HOTSPOT.c.boundary, _HOTSPOT.c.context)


class Projections:
    """Scores of fixes, and hotspots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write_scores(self, scores: Sequence[FixScore]) -> None:
        """Put these scores in the place of the earlier ones of the same fixes; every process takes them up.

        Raises:
            StoreUnavailable, StoreCorrupt: nothing was written.
        """
        if not scores:
            return
        with self._database.writing() as connection:
            revision = next_revision(connection)
            insert = insert_into(_SCORE, connection.dialect.name)
            fresh = {name: insert.excluded[name] for name in _SCORE.c.keys() if name != "fix_id"}  # noqa: SIM118 - no dict
            connection.execute(
                insert.on_conflict_do_update(index_elements=[_SCORE.c.fix_id], set_=fresh),
                [
                    {
                        "fix_id": score.fix_id,
                        "reward_score": score.reward_score,
                        "bucket": score.bucket,
                        "formula": score.formula,
                        "updated_at": score.updated_at,
                        "revision": revision,
                        "body": encode(score),
                    }
                    for score in scores
                ],
            )

    def scores(self) -> tuple[FixScore, ...]:
        """Return the scores, best first."""
        query = select(_SCORE.c.body).order_by(_SCORE.c.reward_score.desc(), _SCORE.c.fix_id)
        with self._database.reading() as connection:
            return tuple(FixScore.model_validate_json(body) for body in connection.execute(query).scalars())

    def write_hotspots(self, hotspots: Sequence[Hotspot]) -> None:
        """Put these hotspots in the place of all earlier ones.

        Raises:
            StoreUnavailable, StoreCorrupt: the earlier ones are still there.
        """
        with self._database.writing() as connection:
            connection.execute(delete(_HOTSPOT))
            if hotspots:
                connection.execute(
                    _HOTSPOT.insert(),
                    [
                        {
                            "boundary": hotspot.boundary,
                            "context": hotspot.context,
                            "expected": hotspot.expected,
                            "rate": hotspot.rate,
                            "updated_at": hotspot.updated_at,
                            "body": encode(hotspot),
                        }
                        for hotspot in hotspots
                    ],
                )

    def hotspots(self, *, limit: int | None = None) -> tuple[Hotspot, ...]:
        """Return the hotspots, most expected failures first."""
        with self._database.reading() as connection:
            bodies = connection.execute(_HOTSPOTS if limit is None else _HOTSPOTS.limit(limit)).scalars()
            return tuple(Hotspot.model_validate_json(body) for body in bodies)
