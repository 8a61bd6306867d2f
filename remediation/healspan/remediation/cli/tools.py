"""What commands need before they can answer: settings, the store, an id, the application, a reviewer."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from healspan.remediation.cli.output import say_error, short
from healspan.remediation.errors import ConfigurationError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from healspan.remediation.settings import Settings
    from healspan.remediation.signing import Reviewer
    from healspan.remediation.store.repository import Store
    from healspan.remediation.store.views import FixView, IncidentView

__all__ = [
    "AppModules",
    "FoundFix",
    "FoundIncident",
    "find_fix",
    "find_incident",
    "import_application",
    "is_empty",
    "nothing_yet",
    "open_store",
    "reviewer_at_work",
    "settings",
]

AppModules = Annotated[
    list[str],
    typer.Option(
        "--app",
        metavar="MODULE",
        help="Import this module of the application first, so that its boundaries and strategies are known; may be "
        "given several times. The current directory is looked in as well.",
    ),
]


_BEFORE_APPLICATION = "healspan.before_application"
"""Entry points: what has to happen before the application is imported."""

_TELLING = 6
"""Characters of an id from which on it is no chance that something begins so."""


def settings() -> Settings:
    """Read the settings; the store's own warnings go where errors go."""
    from healspan.remediation.settings import load_settings

    logging.basicConfig(format="healspan: %(message)s", level=logging.ERROR, stream=sys.stderr)
    return load_settings()


def is_empty(known: Settings) -> bool:
    """Whether nothing was ever captured here; looks, and creates nothing.

    Raises:
        StoreUnavailable: the data directory cannot be used, so what was captured cannot be known.
    """
    unusable = known.why_unusable()
    if unusable is not None:
        raise StoreUnavailable(f"the data directory cannot be used: {unusable}")
    if not known.database_url.startswith("sqlite:"):
        return False
    from healspan.remediation.settings import why_unusable
    from healspan.remediation.store.database import Database

    path = Database.for_tool(known).path
    unusable = None if path is None else why_unusable(path.parent)
    if unusable is not None:
        raise StoreUnavailable(
            f"the store {path} cannot be used: {unusable}, or HEALSPAN_DATABASE_URL to another store"
        )
    spooled = known.spool_dir.is_dir() and any(known.spool_dir.glob("*.db"))
    return path is not None and not path.exists() and not spooled


def nothing_yet(known: Settings) -> str:
    """Say that there is nothing, and what would change that."""
    from healspan.remediation.store.database import Database

    place = Database.for_tool(known).path or known.data_dir
    return (
        f"No store yet at {place}: nothing was captured. Run 'healspan demo', or start your service by "
        "opentelemetry-instrument, or put @error_boundary on one of its functions, and let it fail; HEALSPAN_DATA_DIR "
        "names another place."
    )


@contextlib.contextmanager
def open_store(known: Settings) -> Iterator[Store | None]:
    """Give the store, with what dead processes left in their spools; None where nothing was ever captured.

    Raises:
        StoreUnavailable, StoreCorrupt: it is there and cannot be read.
    """
    if is_empty(known):
        yield None
        return
    from healspan.remediation.store import drain_all
    from healspan.remediation.store.repository import Store

    with Store.open(known) as store:
        try:
            drain_all(known)
        except StoreError as error:
            say_error(f"what dead processes left in {known.spool_dir} is not shown: {error}")
        yield store


class FoundIncident(NamedTuple):
    """An incident, and the store that has it."""

    store: Store
    view: IncidentView


class FoundFix(NamedTuple):
    """A fix, and the store that has it."""

    store: Store
    view: FixView


def find_incident(store: Store | None, text: str) -> FoundIncident:
    """Return the incident with this id, beginning or end of an id.

    Raises:
        ConfigurationError: there is none, or more than one.
    """
    view = None if store is None or not text else store.incidents.get(text)
    if store is None or view is None:
        raise ConfigurationError(
            f"no incident, or more than one, has an id that begins or ends with {text!r:.50}; 'healspan incidents' "
            "lists them, and a few more characters tell them apart",
        )
    return FoundIncident(store, view)


def find_fix(store: Store | None, text: str) -> FoundFix:
    """Return the fix with this id or beginning of an id.

    Raises:
        ConfigurationError: there is none, or more than one.
        InvalidFix: what is stored cannot be read.
    """
    view = None if store is None or not text else store.fixes.get(text)
    if store is None or view is None:
        tried = None if store is None or len(text) < _TELLING else store.incidents.tried(text)
        if tried is not None:
            error_id, decision = tried
            raise ConfigurationError(
                f"{text} was tried out and not kept, so there is nothing to show or approve: {decision.what}; gate "
                f"{decision.gate!r}: {decision.reason}; see 'healspan incidents show {short(error_id)}'",
            )
        raise ConfigurationError(
            f"no fix, or more than one, has an id that begins with {text!r:.50}; 'healspan fixes' lists them, and a "
            "few more characters tell them apart",
        )
    return FoundFix(store, view)


def import_application(modules: Sequence[str], *, bare: bool = False) -> None:
    """Import modules of the application, which declares its boundaries.

    Args:
        modules: their names.
        bare: whether to go on without the boundaries of a file that cannot be used, as the service does.

    Raises:
        ConfigurationError: one cannot be imported, or the file that declares boundaries cannot be used.
    """
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    if modules:
        for entry in entry_points(group=_BEFORE_APPLICATION):
            try:
                entry.load()()
            except ConfigurationError:
                if not bare:
                    raise
    for name in modules:
        if name.endswith(".py") and ("/" in name or Path(name).is_file()):
            meant = name.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")
            raise ConfigurationError(f"{name!r} is a file; give the name of its module, such as --app {meant}")
        try:
            import_module(name)
        except SystemExit as stop:
            raise ConfigurationError(
                f"the application module {name!r} ends the process when it is imported; put what it runs as a program "
                "below if __name__ == '__main__':",
            ) from stop
        except Exception as error:
            raise ConfigurationError(
                f"the application module {name!r} cannot be imported ({type(error).__name__}: {error}); run this where "
                "the application is installed, or set PYTHONPATH",
            ) from error


def reviewer_at_work(known: Settings) -> Reviewer:
    """Return the key of the human at work, telling in one line if it was made, or trusted, just now."""
    from healspan.remediation.reviewers import open_reviewer

    found = open_reviewer(known)
    if found.created or found.enrolled:
        made = f"made the reviewer key {known.reviewer_key}" if found.created else f"took {known.reviewer_key}"
        typer.echo(
            f"Nobody was trusted here yet: {made} and trust it from now on ({found.reviewer.key_id}).",
            err=True,
        )
    return found.reviewer
