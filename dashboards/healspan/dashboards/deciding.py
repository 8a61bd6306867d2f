"""What a human decides on a page: why, which button, and what is said of it afterwards."""

from __future__ import annotations

import streamlit as st

from healspan.dashboards import cached
from healspan.dashboards.decisions import Decision, close_alarm, decide, is_loopback
from healspan.dashboards.parts import plain, short
from healspan.remediation.errors import HealspanError

__all__ = ["ask_whether_it_may_stay", "ask_whether_to_serve", "ask_whether_to_suspend", "may_decide"]


def may_decide() -> bool:
    """Tell whether this console may decide; where it may not, say so."""
    if is_loopback(_address()):
        return True
    st.warning(
        "This console is open to the network and cannot tell who you are: decide with `healspan review`.",
        icon=":material/lock:",
    )
    return False


def _reason(key: str, *, decidable: bool) -> None:
    st.text_input(
        "Reason",
        key=key,
        placeholder="Why? It goes into the audit.",
        label_visibility="collapsed",
        disabled=not decidable,
        width="stretch",
    )


def ask_whether_to_serve(fix_id: str, seen: int, *, decidable: bool) -> None:
    """Let a human approve or reject a fix.

    Args:
        fix_id: which.
        seen: sequence of the state change that the page shows.
        decidable: whether this console may decide.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _reason(f"reason-{fix_id}", decidable=decidable)
        st.button(
            "Approve",
            key=f"approve-{fix_id}",
            type="primary",
            icon=":material/check:",
            on_click=_decide,
            args=("approve", fix_id, seen),
            disabled=not decidable,
            help="Sign it with your key: it serves in every process within half a second.",
        )
        # An approval can be taken back, a rejection cannot: it takes a second click.
        # Without a key of its own it would stand open at the next fix, under the hand that has just rejected this one.
        with st.popover(
            "Reject",
            key=f"really-{fix_id}",
            icon=":material/close:",
            disabled=not decidable,
            help="Retire it for good.",
        ):
            st.markdown("A rejected fix never comes back.")
            st.button(
                "Retire it for good",
                key=f"reject-{fix_id}",
                on_click=_decide,
                args=("reject", fix_id, seen),
                disabled=not decidable,
            )


def _decide(decision: Decision, fix_id: str, seen: int) -> None:
    reason = str(st.session_state.get(f"reason-{fix_id}", ""))
    try:
        decided = decide(
            cached.store(),
            cached.settings(),
            decision,
            fix_id,
            reason=reason,
            seen=seen,
            address=_address(),
        )
    except HealspanError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")
    else:
        st.toast(f"{plain(short(fix_id))} is {decided.change.state} now.", icon=":material/task_alt:")
        if decided.enrolled:
            st.toast(
                "Nobody was trusted on this host; from now on your key is. `healspan review keygen` adds others.",
                icon=":material/key:",
                duration="long",
            )
    finally:
        cached.forget()


def ask_whether_to_suspend(fix_id: str, seen: int, *, decidable: bool) -> None:
    """Let a human take a fix out of service.

    Args:
        fix_id: which.
        seen: sequence of the state change that the page shows.
        decidable: whether this console may decide.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _reason(f"reason-{fix_id}", decidable=decidable)
        st.button(
            "Suspend",
            key=f"suspend-{fix_id}",
            icon=":material/block:",
            on_click=_decide,
            args=("suspend", fix_id, seen),
            disabled=not decidable,
            help="Take it out of service in every process; an approval brings it back.",
        )


def ask_whether_it_may_stay(fix_id: str, *, decidable: bool) -> None:
    """Let a human answer for a fix that hides a fault.

    Args:
        fix_id: which.
        decidable: whether this console may decide.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _reason(f"answer-{fix_id}", decidable=decidable)
        st.button(
            "It may stay",
            key=f"stay-{fix_id}",
            icon=":material/check:",
            on_click=_answer,
            args=(fix_id,),
            disabled=not decidable,
            help="Close the alarm until the share grows; the fix serves as before.",
        )


def _answer(fix_id: str) -> None:
    reason = str(st.session_state.get(f"answer-{fix_id}", ""))
    try:
        close_alarm(cached.store(), fix_id, reason=reason, address=_address())
    except HealspanError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")
    else:
        st.toast(f"{plain(short(fix_id))} may stay until it heals a larger share.", icon=":material/task_alt:")
    finally:
        cached.forget()


def _address() -> str:
    return str(st.get_option("server.address") or "")
