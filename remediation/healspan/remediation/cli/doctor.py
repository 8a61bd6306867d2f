"""``healspan doctor``: looks at everything that can be wrong with an installation."""

from __future__ import annotations

import os

import typer

from healspan.remediation.cli.output import AsJson, print_heading, print_json, print_line, print_table
from healspan.remediation.cli.tools import AppModules, import_application, settings

__all__ = ["doctor"]


def doctor(
    app: AppModules = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Check settings, permissions, keys, spools, the store, fixes and extras; change nothing.

    With --app MODULE also the boundaries of the application, and whether the fixes that serve still fit its source.
    Exit code 1: there is a problem; its line says what to do. Healing that is switched off is one.
    """
    from healspan.remediation.boundary import boundaries
    from healspan.remediation.cli.checks import run_checks, setting_lines

    known = settings()
    import_application(app, bare=True)  # a check of its own tells of a file that cannot be used
    lines = list(setting_lines(known, os.environ))
    checks = list(run_checks(known, boundaries() if app else {}, os.environ, imported=bool(app)))
    problems = sum(check.status == "problem" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    if as_json:
        print_json({"settings": lines, "checks": checks, "problems": problems, "warnings": warnings})
    else:
        print_line("Settings", style="bold")
        print_table(("setting", "value", "from"), [(one.name, one.value, one.source) for one in lines])
        print_heading("Checks")
        print_table(("", "what", "finding"), [(one.status, one.name, one.detail) for one in checks])
        if problems:
            print_line(f"{problems} problem{'' if problems == 1 else 's'} found.", style="red")
        elif warnings:
            print_line(f"No problem, but {warnings} warning{'' if warnings == 1 else 's'}.", style="yellow")
        else:
            print_line("Nothing is wrong.", style="green")
    if problems:
        raise typer.Exit(1)
