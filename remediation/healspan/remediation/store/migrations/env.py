"""Alembic's entry: runs migrations on the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from healspan.remediation.store.migrate import VERSION_TABLE
from healspan.remediation.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
