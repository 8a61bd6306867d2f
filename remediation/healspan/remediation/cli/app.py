"""The application: finds commands by name, loading the one that is asked for, and tells errors in one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from healspan.remediation.cli.output import say_error
from healspan.remediation.errors import HealspanError

__all__ = ["app", "run"]

_HERE = "healspan.remediation.cli"
_COMMANDS = {
    "incidents": "incidents:app",
    "fixes": "fixes:app",
    "review": "review:app",
    "replay": "replay:replay",
    "scrub": "scrub:scrub",
    "doctor": "doctor:doctor",
    "uninstall": "switch:uninstall",
    "enable": "switch:enable",
    "purge": "purge:purge",
    "claude": "claude:app",
}
"""Our own, in the order of the help; those of other parts follow."""

_GROUP = "healspan.commands"

_STANDARD_ERROR = 2
"""The highest number of the three streams."""


class _Commands(TyperGroup):
    """Imports the module of a command when the command is asked for."""

    def __init__(self, **declared: Any) -> None:
        """Take what Typer declares, with a help that flows."""
        super().__init__(**declared)
        self.help = _flowing(self.help)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return [*_COMMANDS, *sorted(_plugins().keys() - _COMMANDS.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command; None if there is none of that name."""
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name].partition(":")
            return _as_command(cmd_name, getattr(import_module(f"{_HERE}.{module}"), attribute))
        entry = _plugins().get(cmd_name)
        if entry is None:
            return None
        try:
            return _as_command(cmd_name, entry.load())
        except Exception as error:
            return _as_command(cmd_name, _unavailable(cmd_name, error))


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def _as_command(name: str, found: typer.Typer | Callable[..., Any]) -> Any:
    """Make a click command of a typer group or a plain function."""
    if not isinstance(found, typer.Typer):
        holder = typer.Typer(add_completion=False)
        holder.command(name)(found)
        found = holder
    command = typer.main.get_command(found)
    command.name = name
    for each in (command, *getattr(command, "commands", {}).values()):
        each.help = _flowing(each.help)
    return command


def _flowing(text: str | None) -> str:
    """Return a help whose paragraphs are one line each: Typer breaks them again, as wide as the terminal is."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text or "").split("\n\n"))


def _unavailable(name: str, error: Exception) -> Callable[[], None]:
    """Return a command that says why another could not be loaded: a broken part must not take the others along."""
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
    advice = f"{missing} is not installed; install 'healspan[all]'" if missing else f"{type(error).__name__}: {error}"

    def unavailable() -> None:
        raise HealspanError(f"'healspan {name}' cannot be loaded: {advice}")

    unavailable.__doc__ = f"(Not available here: {advice}.)"
    return unavailable


app = typer.Typer(
    cls=_Commands,
    name="healspan",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"healspan {version('healspan')}")
        raise typer.Exit


@app.callback()
def _root(
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours (as NO_COLOR=1).")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Healspan heals runtime failures of Python services: look at what failed, what fixed it, and decide.

    Start with 'healspan demo', then 'healspan incidents', 'healspan review list' and 'healspan doctor'.

    Commands read the store that HEALSPAN_DATA_DIR (or HEALSPAN_DATABASE_URL) names. Exit codes: 0 ok, 1 the answer is
    no or it failed, 2 not used as meant.
    """
    if no_color:
        # For every console of this process, also those of other parts' commands.
        os.environ["NO_COLOR"] = "1"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors become one line on stderr and an exit code."""
    _open_closed_streams()
    if any(map(_is_no_text, sys.argv[1:] if arguments is None else arguments)):
        say_error("an argument is not valid text in the encoding of this terminal; write it in UTF-8")
        return 2
    try:
        code = app(None if arguments is None else list(arguments), prog_name="healspan", standalone_mode=False)
        sys.stdout.flush()
    except HealspanError as error:
        say_error(str(error))
        return 1
    except BrokenPipeError:
        return _reader_is_gone()
    except SystemExit as stop:
        # What click makes of a broken pipe.
        if isinstance(stop.__context__, BrokenPipeError):
            return _reader_is_gone()
        raise
    except typer.Abort:
        say_error("not confirmed; nothing was done")
        return 1
    except KeyboardInterrupt:
        say_error("stopped; what was done before is kept")
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say_error(f"{where}{error.strerror or error}; check that it is there and that this user may read and write it")
        return 1
    except Exception as error:
        return _usage(error)
    return code if isinstance(code, int) else 0


def _open_closed_streams() -> None:
    """Stand in for streams that the caller has closed ('>&-'), before the store is given one of their numbers."""
    with contextlib.suppress(OSError):
        while (opened := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
            pass
        os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _is_no_text(argument: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in argument)


def _reader_is_gone() -> int:
    """Say nothing more to a reader that has seen enough ('| head'), not even by a flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    return 0


def _usage(error: Exception) -> int:
    """Tell an error of usage, which click raises, or one that nobody foresaw."""
    tell = getattr(error, "format_message", None)
    if tell is None:
        say_error(f"{type(error).__name__}: {error}; nobody foresaw this: please report it with the command you ran")
        return 1
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "healspan"
    message = str(tell()).strip().rstrip(".")
    if message:
        say_error(f"{message}; see '{path} --help'")
    return int(getattr(error, "exit_code", 2))
