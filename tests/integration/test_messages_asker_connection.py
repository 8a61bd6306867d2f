"""The way to the server: time-outs, names, what nobody listens at, encryption."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from tests.asking import KEY, answer, asker, failure_of, prompt

from healspan.remediation.claude.messages import MessagesAsker
from healspan.remediation.testing import (
    Drips,
    FakeClaude,
    Hangs,
    Move,
    Script,
)


@pytest.mark.parametrize("move", [Hangs(), Drips(), Drips(of="headers"), Hangs(latency=0.1)], ids=lambda move: move.do)
def test_the_timeout_holds_for_the_whole_call(move: Move) -> None:
    with FakeClaude(move) as server:
        asker(server).count(prompt())  # brings the SDK
        began = time.monotonic()
        failed = failure_of(asker(server, timeout=0.6))
        took = time.monotonic() - began
    assert failed.kind == "timeout"
    assert failed.usage is None
    # A drip of 4 KB would take minutes, a read time-out of its own would never come.
    assert took < 20


def test_a_call_that_timed_out_leaves_nothing_behind() -> None:
    # The headers alone take longer than this test waits.
    with FakeClaude(Drips(of="headers", every=0.3)) as server:
        asker(server).count(prompt())
        failure_of(asker(server, timeout=0.7))
        until = time.monotonic() + 60
        while _asking_threads() and time.monotonic() < until:
            time.sleep(0.02)
        assert not _asking_threads()


def _asking_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "healspan-ask"]


def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=address, retries=0)
        failed = failure_of(asking)
    assert failed.kind == "unreachable"
    assert "ConnectionRefusedError" in failed.detail


def test_a_name_that_nobody_has() -> None:
    failed = failure_of(MessagesAsker(model="m", api_key=SecretStr(KEY), base_url="http://claude.invalid", retries=0))
    assert failed.kind == "unreachable"
    assert "gaierror" in failed.detail


def test_a_resolver_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    with FakeClaude(answer()) as server:
        asker(server).count(prompt())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait(60))
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url="http://claude.invalid", timeout=0.5)
        failed = failure_of(asking)
        assert not let_go.is_set()
        let_go.set()
    assert failed.kind == "timeout"


class _Encrypted(FakeClaude):
    """With a certificate of its own."""

    def __init__(self, script: Script, folder: Path) -> None:
        super().__init__(script)
        self.certificate = folder / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256())
        )
        written = folder / "key.pem"
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        written.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, written)

    def __enter__(self) -> Self:
        super().__enter__()
        assert self._server is not None
        self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        return self

    @property
    def url(self) -> str:
        return super().url.replace("http://", "https://")


class TestEncryption:
    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        from healspan.remediation.claude.connection import _tls

        _tls.cache_clear()
        yield
        _tls.cache_clear()

    def test_a_certificate_that_nobody_vouches_for(self, tmp_path: Path) -> None:
        with _Encrypted(answer(), tmp_path) as server:
            failed = failure_of(asker(server))
        assert failed.kind == "unreachable"
        assert "SSLCertVerificationError" in failed.detail

    def test_one_that_the_environment_vouches_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with _Encrypted([answer(), Drips(of="headers", every=0.3), Hangs()], tmp_path) as server:
            monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
            assert asker(server).ask(prompt()).answer == answer()
            for _ in range(2):
                assert failure_of(asker(server, timeout=0.7)).kind == "timeout"
            until = time.monotonic() + 60
            while _asking_threads() and time.monotonic() < until:
                time.sleep(0.02)
            assert not _asking_threads(), "a call that was left ends, encrypted or not"
