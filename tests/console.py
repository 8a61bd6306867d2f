"""The console, as a test opens and reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest
from tests.world import World

import healspan.dashboards
from healspan.remediation.fix import FixState

APP = Path(healspan.dashboards.__path__[0]) / "app.py"
REVIEW, FIXES, HOTSPOTS = "views/review.py", "views/fixes.py", "views/hotspots.py"


def opened(page: str | None = None, **query: str) -> AppTest:
    """The console after its first run, at a page."""
    app = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    if page is not None:
        app.switch_page(page).run()
    assert not app.exception
    return app


def addressed(app: AppTest, **query: str) -> AppTest:
    """The page that the console is at, with this in its address; changing pages forgets it, as in a browser."""
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    """Everything a reader can read, apart from tables and charts."""
    kinds = (app.title, app.header, app.subheader, app.markdown, app.caption, app.code, app.text, app.success)
    kinds += (app.warning, app.error, app.info)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def blocks(inside: Any) -> Iterator[Any]:
    """Every container in a container."""
    for child in inside.children.values():
        if hasattr(child, "children"):
            yield child
            yield from blocks(child)


def metric(app: AppTest, label: str) -> str:
    return next(one.value for one in app.metric if one.label == label)


def state_of(world: World, fix: Any) -> FixState | None:
    view = world.store.fixes.get(fix.fix_id)
    assert view is not None
    return view.state
