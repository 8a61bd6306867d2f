"""What instrumentation adds to the command line: ``healspan demo``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from healspan.remediation.errors import ConfigurationError, StoreUnavailable

__all__ = ["demo", "examples_directory"]


def demo(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep what the demo learns here, beside what is there. Default: a place of its own."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Start with what earlier demos have learned.")] = False,
    filings: Annotated[int | None, typer.Option(min=1, help="Read only the first so many.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Run a small pipeline over real SEC filings twice, and watch its failures being healed.

    It was written after reading three filings; the others are production. The first run meets failures that nobody
    has seen, the second knows them. Needs no network and no key, and leaves your own store alone. Each
    demo starts afresh, unless --keep is given or somebody has reviewed fixes in its store.
    """
    from healspan.remediation.runtime import shut_down
    from healspan.remediation.settings import load_settings, private_directory, why_unusable

    examples = examples_directory()
    home = data_dir.absolute() if data_dir is not None else load_settings().data_dir.absolute() / "demo"
    if os.environ.get("HEALSPAN_DISABLED", "").lower() in {"1", "true", "yes", "on"}:
        typer.echo("HEALSPAN_DISABLED is set: nothing will be healed.", err=True)
    if data_dir is None and not keep and (home / "keys" / "trusted").is_dir():
        keep = True
        typer.echo(f"Somebody has reviewed fixes in {home}: going on with them. Remove it to start afresh.", err=True)
    unusable = why_unusable(home)
    if unusable is not None:
        raise StoreUnavailable(f"the demo has no place to keep what it learns: {unusable}")
    if data_dir is None:
        private_directory(home.parent)
    if data_dir is None and not keep and home.exists():
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise StoreUnavailable(
                f"the earlier demo in {home} cannot be removed ({error.strerror}); remove it, or run with --keep",
            ) from error
    private_directory(home)
    os.environ["HEALSPAN_DATA_DIR"] = str(home)
    os.environ.pop("HEALSPAN_DATABASE_URL", None)
    os.environ.setdefault("HEALSPAN_SERVICE_NAME", "filings")
    in_app = os.environ.get("HEALSPAN_IN_APP")
    os.environ["HEALSPAN_IN_APP"] = f"{in_app},filings" if in_app else "filings"
    shut_down()  # what runs already has read other settings
    if str(examples) not in sys.path:
        sys.path.insert(0, str(examples))
    try:
        from filings.demo import main
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs {error.name}, which is not installed; run pip install 'healspan[examples]'",
        ) from error
    code = main(filings=filings, as_json=as_json)
    shut_down()
    if not as_json:
        _say_next(home, examples)
    if code:
        raise typer.Exit(code)


def _say_next(home: Path, examples: Path) -> None:
    typer.echo(f"\nEverything is in {home}. Look at it:\n")
    typer.echo(f"  export HEALSPAN_DATA_DIR={home} PYTHONPATH={examples}")
    for command, what in (
        ("healspan incidents", "what failed, and how it ended"),
        ("healspan fixes", "what was learned; 'healspan fixes explain ID' says why"),
        ("healspan review list", "what waits for a human"),
        ("healspan console", "the same in a browser"),
    ):
        typer.echo(f"  {command:<22} {what}")
    typer.echo("\nThen take the human's turn with fixes that an engineer wrote, and run it once more:\n")
    typer.echo(f"  healspan review import {examples / 'filings' / 'reviewed_fixes'} --app filings.valuation")
    typer.echo(f"  healspan demo --data-dir {home}")


def examples_directory() -> Path:
    """Return the directory of the examples: in the installed package, or in a checkout.

    Raises:
        ConfigurationError: they are in neither.
    """
    here = Path(__file__).resolve()
    places = [here.parents[level] / "examples" for level in (1, 3) if len(here.parents) > level]
    for place in places:
        if (place / "filings" / "demo.py").is_file():
            return place
    raise ConfigurationError(f"the examples are not in {' or '.join(map(str, places))}; install healspan from a wheel")
