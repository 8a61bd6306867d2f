"""``healspan claude``: what Claude may cost, has cost today, and why it is not asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from healspan.remediation.cli.output import AsJson, print_heading, print_json, print_line, print_table, short, when
from healspan.remediation.cli.tools import open_store, settings
from healspan.remediation.errors import ConfigurationError

if TYPE_CHECKING:
    from healspan.remediation.claude.budget import Limits
    from healspan.remediation.store.spending import Spend
    from healspan.remediation.store.views import Amount, BreakerReport

__all__ = ["app"]

app = typer.Typer(
    help="Claude: what it may cost, what it has cost, and when it is not asked.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _claude() -> None:
    pass


@app.command("budget")
def budget(as_json: AsJson = False) -> None:
    """Show today's budgets of all processes of this store: what is spent, what is left, and what was refused.

    Days are days in UTC. A request under way, or one that was killed, counts with the most that it could cost. Money is
    counted where the price of the model is known.
    """
    from healspan.remediation.claude.budget import Limits
    from healspan.remediation.claude.service import why_never_asked
    from healspan.remediation.store.spending import Spend, Spent

    known = settings()
    limits, now = Limits.of(known), datetime.now(UTC)
    try:
        off = why_never_asked(known)
    except ConfigurationError as error:  # prices that cannot be read; what was spent can be
        off = str(error)
    with open_store(known) as store:
        if store is None:
            day = now.date()
            spend = Spend(day=day, total=Spent(), patterns=(), boundaries={}, refusals=(), breakers=())
        else:
            spend = store.spending.today(now=now)
    if as_json:
        print_json({**_as_json(limits, spend, now), "off": off})
        return
    if off is not None:
        print_line(f"Under the settings of this command, {off}.", style="yellow")
        print_line()
    _print_budgets(limits, spend, now)
    _print_patterns(limits, spend)
    _print_refusals(spend)
    _print_breakers(spend, now, "" if off else ": the server is asked")


def _as_json(limits: Limits, spend: Spend, now: datetime) -> dict[str, Any]:
    from healspan.remediation.claude.budget import end_of_day, left_of

    return {
        "day": spend.day.isoformat(),
        "until": end_of_day(now),
        "limits": {"request": limits.request, "pattern": limits.pattern, "day": limits.day},
        "spent": spend.total,
        "left": left_of(limits.day, spend.total),
        "boundaries": spend.boundaries,
        "patterns": [
            {**one.model_dump(mode="json"), "left": left_of(limits.pattern, one.spent)} for one in spend.patterns
        ],
        "refusals": spend.refusals,
        "breakers": [{**one.model_dump(mode="json"), "state": _state(one, now)} for one in spend.breakers],
    }


def _state(report: BreakerReport, now: datetime) -> str:
    return "open" if report.until > now else "half_open"


def _print_budgets(limits: Limits, spend: Spend, now: datetime) -> None:
    from healspan.remediation.claude.budget import end_of_day, left_of

    rows = [
        ("a day", *_row(limits.day, spend.total, left_of(limits.day, spend.total))),
        ("a pattern, a day", *_row(limits.pattern, None, None)),
        ("a request", *_row(limits.request, None, None)),
    ]
    right = ("tokens", "spent", "left", "USD", "spent USD", "left USD")
    print_table(("budget of", *right), rows, right=right)
    total = spend.total
    noun = "request" if total.requests == 1 else "requests"
    print_line(f"{total.requests} {noun} on {spend.day}; the budgets begin anew at {when(end_of_day(now))} UTC.")
    if total.unsettled:
        print_line(
            f"Counted with the most that it could cost, as it is under way or ended without a word: {total.unsettled}.",
            style="dim",
        )
    if total.unpriced:
        print_line(
            f"Counted in tokens only, as the price of its model is not known: {total.unpriced}.",
            style="yellow",
        )


def _row(budget: Amount, spent: Amount | None, left: Amount | None) -> tuple[str, ...]:
    return (*(_tokens(one) for one in (budget, spent, left)), *(_usd(one) for one in (budget, spent, left)))


def _tokens(amount: Amount | None) -> str:
    return "" if amount is None else f"{amount.tokens:,}"


def _usd(amount: Amount | None) -> str:
    return "" if amount is None or amount.micro_usd is None else f"{amount.micro_usd / 1e6:,.4f}"


def _print_patterns(limits: Limits, spend: Spend) -> None:
    from healspan.remediation.claude.budget import left_of

    if not spend.patterns:
        return
    print_heading("Patterns")
    rows = []
    for one in spend.patterns:
        left = left_of(limits.pattern, one.spent)
        amounts = (one.spent.requests, _tokens(one.spent), _tokens(left), _usd(one.spent), _usd(left))
        rows.append((short(one.exact), one.boundary, one.state or "", *amounts, when(one.rests_until)))
    right = ("requests", "tokens", "left", "USD", "left USD")
    print_table(("pattern", "boundary", "last", *right, "rests until (UTC)"), rows, right=right)


def _print_refusals(spend: Spend) -> None:
    if not spend.refusals:
        return
    print_heading("Not asked")
    rows = [
        (one.state, one.refusals, one.boundary, short(one.exact) if one.exact else "others", when(one.at), one.reason)
        for one in spend.refusals
    ]
    print_table(("why", "times", "boundary", "pattern", "last (UTC)", "reason of the last"), rows, right=("times",))


def _print_breakers(spend: Spend, now: datetime, told: str) -> None:
    print_heading("Circuit breakers")
    if not spend.breakers:
        print_line(f"  closed in every process{told}")
        return
    rows = [
        (one.instance, _state(one, now).replace("_", "-"), one.failures, one.last, when(one.until))
        for one in spend.breakers
    ]
    print_table(("process", "state", "failures", "the last", "until (UTC)"), rows, right=("failures",))
