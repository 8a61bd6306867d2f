"""A human's key on this machine: made at first use, and trusted by the host where nobody is trusted yet."""

from __future__ import annotations

import getpass
from dataclasses import dataclass

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing, Reviewer, enrol

__all__ = ["Keygen", "make_reviewer", "open_reviewer", "user_name"]


@dataclass(frozen=True, slots=True)
class Keygen:
    """A reviewer's key, and what was done to have it."""

    reviewer: Reviewer
    created: bool
    """The private key was made now."""
    enrolled: bool
    """This host trusts it from now on; it did not before."""


def user_name() -> str:
    """Return who is at the keyboard, for ``human:`` entries of the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def make_reviewer(settings: Settings, *, name: str | None = None) -> Keygen:
    """Make the reviewer's key at `Settings.reviewer_key`, if there is none, and let this host trust it.

    Raises:
        ConfigurationError: the key, or the directory of trusted keys, cannot be written or read.
    """
    settings.prepare()
    path = settings.reviewer_key
    created = not path.exists()
    try:
        reviewer = Reviewer.open(path, name=name or user_name(), create=True)
        enrolled = enrol(settings.keys_dir, reviewer)
    except OSError as error:
        raise ConfigurationError(
            f"{settings.keys_dir} cannot be written ({error.strerror}); ask whoever runs the service to put your "
            "public key into its trusted directory",
        ) from error
    return Keygen(reviewer, created, enrolled)


def open_reviewer(settings: Settings, *, name: str | None = None) -> Keygen:
    """Return the key of the human at work.

    Where this host trusts nobody yet, whoever comes first is made its first reviewer: so a new installation
    works at once, and no approval can be slipped in later.

    Raises:
        ConfigurationError: there is no key, or this host trusts others but not this one.
    """
    settings.prepare()
    trusted = KeyRing.open(settings.keys_dir).trusted_ids
    if not trusted:
        return make_reviewer(settings, name=name)
    reviewer = Reviewer.open(settings.reviewer_key, name=name or user_name())
    if reviewer.key_id not in trusted:
        raise ConfigurationError(
            f"your key {reviewer.key_id} is not among the {len(trusted)} that {settings.keys_dir / 'trusted'} holds; "
            "run 'healspan review keygen' as a user who may write there",
        )
    return Keygen(reviewer, created=False, enrolled=False)
