"""``healspan uninstall`` and ``enable``: the stored kill switch, and the proof that processes obeyed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from healspan.remediation.cli.output import AsJson, print_json, print_line, print_table, when
from healspan.remediation.cli.tools import is_empty, settings

if TYPE_CHECKING:
    from healspan.remediation.switch import SwitchState

__all__ = ["enable", "uninstall"]

_LOOK_SECONDS = 0.1


def uninstall(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; verify that processes obeyed.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the processes of this host.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Take every repair out of every process and stop healing, until 'healspan enable'.

    Each process restores the original code objects within half a second and writes down that it did. Shown are the
    processes that answered, and those living on this host, known by their spools, that did not. A process of another
    host, or one that never recorded anything, shows once it answers. Exit code 1: the switch is off, a process did not
    answer, or a function is not original.
    """
    from healspan.remediation.reviewers import user_name
    from healspan.remediation.store import drain_all
    from healspan.remediation.store.repository import Store
    from healspan.remediation.switch import SwitchState, switch_state

    known = settings()
    if check and is_empty(known):
        _tell(SwitchState(disabled=False), as_json=as_json)
        return
    with Store.open(known) as store:
        if not check and not store.controls.is_disabled():
            store.controls.set_disabled(True, actor=f"human:{user_name()}")
        drain_all(known)
        state = switch_state(store, known)
        deadline = time.monotonic() + wait
        while state.disabled and state.waiting and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            state = switch_state(store, known)
    _tell(state, as_json=as_json)


def _tell(state: SwitchState, *, as_json: bool) -> None:
    if as_json:
        print_json({**state.model_dump(mode="json"), "proven": state.is_proven})
    else:
        _print_state(state)
    if not state.is_proven:
        raise typer.Exit(1)


def _print_state(state: SwitchState) -> None:
    if not state.disabled:
        print_line("The stored switch is off: processes heal and may carry repairs. 'healspan uninstall' turns it on.")
        return
    print_line(f"Healing is switched off since {when(state.since)} UTC by {state.actor}.")
    rows = [
        (one.instance, "original" if not one.not_original else f"not original: {', '.join(one.not_original)}")
        for one in state.answers
    ]
    rows += [(instance, "no answer yet") for instance in state.waiting]
    if rows:
        print_table(("process", "its functions"), rows)
    else:
        print_line("No process is known on this host; any that starts finds the switch on.")
    if state.is_proven:
        print_line("Every process that is known has its original code.", style="green")
    else:
        print_line("Not every process is proven to have its original code; restart those above.", style="red")


def enable() -> None:
    """Turn healing on again after 'healspan uninstall'."""
    from healspan.remediation.reviewers import user_name
    from healspan.remediation.store.repository import Store

    known = settings()
    with Store.open(known) as store:
        if not store.controls.is_disabled():
            print_line("The stored switch is off already: nothing to do.")
            return
        store.controls.set_disabled(False, actor=f"human:{user_name()}")
    print_line("Healing is on again; every process follows within half a second.")
    if known.disabled:
        print_line("HEALSPAN_DISABLED is set in this environment: processes started with it stay off.", style="yellow")
