"""Keys and signatures: who vouches for a fix, and for each change of its state.

A machine key (HMAC-SHA256, a 0600 file made in the data directory) is good for low risk only. A human's
approval is an Ed25519 signature; a service holds public keys only. What was approved is what runs: the
loader checks the content address and both signatures every time it takes a fix from the store.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from healspan.remediation.errors import ConfigurationError, SignatureRefused
from healspan.remediation.fix import (
    SERVING_STATES,
    Fix,
    FixState,
    Match,
    RiskLevel,
    Signature,
    SignedRecord,
    StateChange,
)

__all__ = ["KeyRing", "Reviewer", "enrol"]

logger = logging.getLogger("healspan.signing")

_MACHINE = "machine.key"

_Signed = TypeVar("_Signed", bound=SignedRecord)


def _key_id(prefix: str, material: bytes) -> str:
    return f"{prefix}:{hashlib.sha256(material).hexdigest()[:16]}"


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _write_private(path: Path, data: bytes) -> bool:
    """Create a 0600 file complete or not at all; False if somebody else created it first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink(missing_ok=True)
    return True


def _read(path: Path) -> bytes:
    """Read a key; whoever opens a pipe that stands in its place waits for ever.

    Raises:
        OSError: it is no file, or cannot be read.
    """
    if not path.is_file():
        raise OSError(f"{path} is no file")
    return path.read_bytes()


def _read_trusted(directory: Path) -> dict[str, Ed25519PublicKey]:
    trusted: dict[str, Ed25519PublicKey] = {}
    for path in (directory.parent, directory, *directory.glob("*.pem")):
        if path.exists() and path.stat().st_mode & stat.S_IWOTH:
            logger.error("no reviewer is trusted: anybody can write to %s; run chmod o-w on it", path)
            return trusted
    for file in sorted(directory.glob("*.pem")):
        key = serialization.load_pem_public_key(_read(file))
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(f"{file} is no Ed25519 public key; remove it or enrol it again")
        trusted[_key_id("human", _raw(key))] = key
    return trusted


class KeyRing:
    """The machine key and the public keys that this host trusts.

    Args:
        machine_keys: secret by key id, the newest first; the first one signs, all of them verify.
        trusted: reads the Ed25519 public keys, by key id; asked again when an unknown one turns up, since a
            reviewer may be enrolled while a service runs.
    """

    def __init__(
        self,
        machine_keys: Mapping[str, bytes],
        trusted: Callable[[], Mapping[str, Ed25519PublicKey]] = dict,
    ) -> None:
        if not machine_keys:
            raise ConfigurationError("a key ring needs a machine key; open one with KeyRing.open(directory)")
        self._machine = dict(machine_keys)
        self._read_trusted = trusted
        self._trusted = dict(trusted())

    @classmethod
    def open(cls, directory: Path) -> KeyRing:
        """Load ``machine*.key`` and ``trusted/*.pem`` from a directory; make the machine key if there is none.

        Rotation: rename ``machine.key`` to ``machine-<anything>.key``; it goes on verifying what it signed.

        Raises:
            ConfigurationError: the directory cannot be used, or holds something that is no key.
        """
        try:
            path = directory / _MACHINE
            if not path.exists():
                _write_private(path, secrets.token_bytes(32))
            files = [path, *sorted(p for p in directory.glob("machine-*.key") if p != path)]
            machine = {_key_id("machine", data): data for data in map(_read, files)}
            return cls(machine, functools.partial(_read_trusted, directory / "trusted"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the key directory {directory} cannot be used ({error}); give HEALSPAN_DATA_DIR a directory "
                "that this user can write",
            ) from error

    @property
    def trusted_ids(self) -> tuple[str, ...]:
        """Key ids of the humans this host trusts."""
        return tuple(self._trusted)

    def knows(self, signature: Signature) -> bool:
        """Whether the key of a signature is in this ring, and so can tell a true signature from an altered one."""
        keys = self._machine if signature.algorithm == "hmac-sha256" else self._trusted
        return signature.key_id in keys

    def sign(self, data: bytes) -> Signature:
        """Sign with the machine key."""
        key_id, secret = next(iter(self._machine.items()))
        value = hmac.new(secret, data, hashlib.sha256).hexdigest()
        return Signature(algorithm="hmac-sha256", key_id=key_id, value=value)

    def sign_fix(self, fix: Fix) -> Fix:
        """Return the fix signed by this machine."""
        return fix.model_copy(update={"signature": self.sign(fix.signed_bytes())})

    def sign_change(self, change: StateChange) -> StateChange:
        """Return the state change signed by this machine."""
        return self.sign_record(change)

    def sign_record(self, record: _Signed) -> _Signed:
        """Return a record signed by this machine."""
        return record.model_copy(update={"signature": self.sign(record.signed_bytes())})

    def verify(self, data: bytes, signature: Signature | None) -> None:
        """Check that a key of this ring signed these bytes.

        Raises:
            SignatureRefused: there is no signature, its key is unknown here, or the bytes were altered.
        """
        if signature is None:
            raise SignatureRefused("it carries no signature; have it approved with 'healspan review approve'")
        if signature.algorithm == "hmac-sha256":
            secret = self._machine.get(signature.key_id)
            if secret is None:
                raise SignatureRefused(
                    f"machine key {signature.key_id} is not of this host; approve the fix with a reviewer's key",
                )
            expected = hmac.new(secret, data, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(expected, signature.value):
                raise SignatureRefused("its bytes were altered after they were signed; retire it and look who did")
            return
        if signature.key_id not in self._trusted:
            self._trusted = dict(self._read_trusted())
        key = self._trusted.get(signature.key_id)
        if key is None:
            raise SignatureRefused(
                f"reviewer key {signature.key_id} is not trusted here; enrol its public key in keys/trusted",
            )
        try:
            key.verify(bytes.fromhex(signature.value), data)
        except (InvalidSignature, ValueError) as error:
            raise SignatureRefused(
                "its bytes were altered after a reviewer signed them; retire it and look who did",
            ) from error

    def trust(self, fix: Fix, change: StateChange) -> None:
        """Check that this fix, in the state that this change gives it, may be believed.

        Raises:
            SignatureRefused: it may not; the message says why and what to do.
        """
        if fix.address() != fix.fix_id:
            raise SignatureRefused("its content does not give its fix_id: it was altered; retire it")
        if change.fix_id != fix.fix_id:
            raise SignatureRefused("the state change is of another fix; look who wrote it")
        self.verify(fix.signed_bytes(), fix.signature)
        self.verify(change.signed_bytes(), change.signature)
        if not change.by_human and change.state in SERVING_STATES:
            if change.previous is FixState.SUSPENDED:
                raise SignatureRefused("it was suspended, and a machine key never brings a fix back; a human must")
            if fix.risk_level is not RiskLevel.LOW:
                raise SignatureRefused(
                    f"a machine key is good for low risk only and this fix is {fix.risk_level}; a human must approve",
                )
            if fix.scope.match is Match.BOUNDARY:
                raise SignatureRefused("a fix for a whole boundary needs a human's approval")


_MAKE_ONE = "make one with 'healspan review keygen', or set HEALSPAN_REVIEWER_KEY"


class Reviewer:
    """A human's signing key; lives where the human works, never in a service."""

    def __init__(self, key: Ed25519PrivateKey, name: str) -> None:
        self._key = key
        self.name = name
        self.key_id = _key_id("human", _raw(key.public_key()))

    @classmethod
    def open(cls, path: Path, *, name: str, create: bool = False) -> Reviewer:
        """Load the reviewer's private key.

        Raises:
            ConfigurationError: there is none (and `create` is false), or it cannot be read.
        """
        try:
            if create and not path.exists():
                pem = Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                _write_private(path, pem)
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError as error:
            advice = "set HEALSPAN_REVIEWER_KEY to a place that you can write" if create else _MAKE_ONE
            raise ConfigurationError(f"there is no reviewer key at {path}; {advice}") from error
        except (OSError, ValueError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no private key in PEM form"
            raise ConfigurationError(
                f"the reviewer key {path} cannot be used ({why}); set HEALSPAN_REVIEWER_KEY to yours, or to where "
                "one may be made with 'healspan review keygen'",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"{path} is no Ed25519 key; set HEALSPAN_REVIEWER_KEY to yours")
        return cls(key, name)

    def public_pem(self) -> bytes:
        """Return the public key as PEM, to be put into ``keys/trusted`` of the services."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )

    def sign(self, data: bytes) -> Signature:
        """Sign bytes."""
        return Signature(algorithm="ed25519", key_id=self.key_id, value=self._key.sign(data).hex())

    def sign_fix(self, fix: Fix) -> Fix:
        """Return the fix signed by this human."""
        return fix.model_copy(update={"signature": self.sign(fix.signed_bytes())})

    def sign_change(self, change: StateChange) -> StateChange:
        """Return the state change signed by this human."""
        return change.model_copy(update={"signature": self.sign(change.signed_bytes())})


def enrol(directory: Path, reviewer: Reviewer) -> bool:
    """Make a host's key directory trust a reviewer; True if it did not before."""
    path = directory / "trusted" / f"{reviewer.key_id.replace(':', '-')}.pem"
    enrolled = _write_private(path, reviewer.public_pem())
    if enrolled:
        logger.warning("reviewer %s (%s) is now trusted in %s", reviewer.name, reviewer.key_id, directory)
    return enrolled
