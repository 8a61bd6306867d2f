"""Approving, rejecting and suspending from the console: the same code as the command line, and who may do it."""

from __future__ import annotations

import ipaddress
from typing import Literal, NamedTuple, assert_never

from healspan.remediation import review
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.fix import StateChange
from healspan.remediation.reviewers import open_reviewer, user_name
from healspan.remediation.settings import Settings
from healspan.remediation.store.repository import Store

__all__ = ["Decided", "Decision", "close_alarm", "decide", "is_loopback", "require_loopback"]

Decision = Literal["approve", "reject", "suspend"]


class Decided(NamedTuple):
    """What a decision did."""

    change: StateChange
    enrolled: bool
    """This host trusted nobody, and trusts the key of whoever runs this console from now on."""


def is_loopback(address: str) -> bool:
    """Tell whether an address that a server listens on is reached from this machine only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def require_loopback(address: str) -> None:
    """Refuse a decision where anybody on the network could have made it.

    Raises:
        ConfigurationError: the console listens on more than this machine.
    """
    if not is_loopback(address):
        raise ConfigurationError(
            f"this console listens on {address or 'every address'} and cannot tell who you are; decide with "
            "'healspan review', or open a console on 127.0.0.1 through an SSH tunnel",
        )


def decide(
    store: Store,
    settings: Settings,
    decision: Decision,
    fix_id: str,
    *,
    reason: str,
    seen: int,
    address: str,
) -> Decided:
    """Approve, reject or suspend a fix with the key of whoever runs this console.

    Args:
        store: where the fix is.
        settings: where the keys are, and the policy in force.
        decision: what was decided.
        fix_id: of which fix.
        reason: for the audit.
        seen: sequence of the state change that the page showed: if somebody was faster, nothing happens.
        address: what the console listens on.

    Raises:
        ConfigurationError: the key is missing or not trusted, or the console is open to the network.
        StateConflict, SignatureRefused, InvalidFix: as `healspan.remediation.review`.
        StoreUnavailable, StoreCorrupt: nothing was written.
    """
    # Asked again here: a page that was drawn earlier must not decide what the server would refuse now.
    require_loopback(address)
    opened = open_reviewer(settings)
    reviewer, why = opened.reviewer, reason.strip() or f"{decision} in the console"
    match decision:
        case "approve":
            change = review.approve(
                store.database,
                fix_id,
                reviewer,
                settings.keys_dir,
                reason=why,
                preset=settings.policy,
                seen=seen,
            )
        case "reject":
            change = review.reject(store.database, fix_id, reviewer, reason=why, preset=settings.policy, seen=seen)
        case "suspend":
            change = review.suspend(store.database, fix_id, reviewer, reason=why, preset=settings.policy, seen=seen)
        case _:
            assert_never(decision)
    return Decided(change, enrolled=opened.enrolled)


def close_alarm(store: Store, fix_id: str, *, reason: str, address: str) -> None:
    """Answer for a fix that hides a fault: it may stay as it is until it heals a larger share.

    Args:
        store: where the alarm is.
        fix_id: of which fix.
        reason: for the audit.
        address: what the console listens on.

    Raises:
        ConfigurationError: there is no such alarm, or the console is open to the network.
        StateConflict: somebody has answered.
        StoreUnavailable, StoreCorrupt: nothing was written.
    """
    require_loopback(address)
    store.masking.answer(fix_id, actor=f"human:{user_name()}", reason=reason.strip() or "answered in the console")
