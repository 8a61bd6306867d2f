"""A seeded corpus of secrets in the places where services leak them.

Every canary has a secret of its own, so a leak names its way: give the values to a boundary as arguments, locals,
messages or records, then ask `leaks` about whatever was written.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Canary", "canaries", "leaks"]

Case = tuple[str, str, Any]
"""Name, secret, value."""

_ALNUM = string.ascii_letters + string.digits
_PART = 8
"""A piece of a secret this long, left anywhere, is a leak."""

_DIGITS = 12
"""Likewise of what ids and times are made of: eight such characters stand by chance among all those of a store."""
_AS_IN_AN_ID = re.compile(r"[0-9a-f-]*")


@dataclass(frozen=True)
class Canary:
    """One secret and the value it hides in."""

    name: str
    secret: str
    value: Any
    """Plain data: text, or a nesting of dicts, lists and tuples."""

    @property
    def is_text(self) -> bool:
        """Whether it can be an error message."""
        return isinstance(self.value, str)


def canaries(seed: int = 7) -> list[Canary]:
    """Return the corpus; equal seeds give equal corpora, and no secret occurs twice."""
    rng = random.Random(seed)
    return [Canary(name, secret, value) for name, secret, value in _cases(rng)]


def leaks(written: str | bytes, corpus: Iterable[Canary]) -> list[str]:
    """Return the names of the canaries of whose secret a recognisable part is in what was written."""
    text = written.decode("utf-8", "replace") if isinstance(written, bytes) else written
    return [canary.name for canary in corpus if any(part in text for part in _parts(canary.secret))]


def _parts(secret: str) -> Iterator[str]:
    if len(secret) <= _PART:
        yield secret
    for start in range(len(secret) - _PART + 1):
        part = secret[start : start + _PART]
        if not _AS_IN_AN_ID.fullmatch(part):
            yield part
    longer = min(_DIGITS, len(secret))
    for start in range(len(secret) - longer + 1):
        yield secret[start : start + longer]


def _cases(rng: random.Random) -> Iterator[Case]:
    yield from _under_keys(rng)
    yield from _by_form(rng)
    for name, secret, text in _by_form(rng):
        yield f"{name}, in a sentence", secret, f"request by user failed: {text} was refused (code 7)"
    for name, secret, text in _by_form(rng):
        yield f"{name}, in a list", secret, {"items": ["a", text]}
    yield from _urls(rng)
    yield from _messages(rng)
    yield from _nested(rng)
    yield from _json_and_reprs(rng)
    yield from _beside(rng)


def _beside(rng: random.Random) -> Iterator[Case]:
    """Secrets that only what stands beside them tells: options, headers, tags, a name on the line above."""
    secret = _word(rng)
    yield "item after an option", secret, ["psql", "-U", "bob", "--password", secret]
    secret = _word(rng)
    yield "option in the repr of a command", secret, f"Command '['psql', '-U', 'bob', '--password', '{secret}']' failed"
    secret = _word(rng)
    yield "name and password of a command", secret, f"Command '['curl', '-u', 'bob:{secret}', 'https://h']' failed"
    secret = _word(rng)
    yield "headers in a row", secret, ["Accept", "*/*", "X-Api-Key", secret, "Host", "h"]
    secret = _word(rng)
    yield "pair with a flag", secret, {"cookies": [("session", secret, True)]}
    secret = _word(rng)
    yield "tag", secret, [{"Key": "DB_PASSWORD", "Value": secret}]
    secret = _word(rng)
    yield "line below its name", secret, f"db:\n  user: bob\n  password:\n    {secret}\n  port: 5432"
    secret = _word(rng)
    yield "block below its name", secret, f"password: >-\n  {secret}\n"
    secret = _word(rng)
    yield "quoted URL", secret, f"next=https%3A%2F%2Fbob%3A{secret}%40host%2Fpath"
    secret = _word(rng)
    yield "name in wide letters", secret, f"\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44={secret}"
    secret = _word(rng)
    yield "name with a blank of no width in it", secret, f"p\u200bassword={secret}"
    secret = _word(rng)
    yield "name with a hyphen that nobody sees", secret, {"db": {"pass\u00adword": secret}}
    secret = _word(rng)
    yield "name with Cyrillic letters", secret, f"login failed: \u0440\u0430ssword='{secret}', code 7"
    secret = _word(rng)
    yield "name with a Greek letter, in a row", secret, ["t\u03bfken", secret]
    secret = _word(rng)
    yield "line of a password file", secret, f"db.internal:5432:orders:bob:{secret}"
    secret = _word(rng)
    yield "password file", secret, f"# primary\n*:*:*:backup:{secret}\n/run/postgresql:5433:orders:bob:\n"
    secret = _word(rng)
    yield "line of a password file, in a sentence", secret, f'bad line "localhost:5432:*:bob:{secret}" in .pgpass'
    card = _card(rng)
    yield "card in a column with gaps", card, {"number": float(card)}


def _word(rng: random.Random, size: int = 14, alphabet: str = _ALNUM) -> str:
    # Starts and ends with a letter and holds a digit, so that no rule for numbers or words applies by chance.
    inner = "".join(rng.choice(alphabet) for _ in range(size - 3))
    return rng.choice(string.ascii_lowercase) + inner + rng.choice(string.digits) + rng.choice("bcdfgh")


def _under_keys(rng: random.Random) -> Iterator[Case]:
    for key in (
        "password", "db_password", "dbPassword", "DB-PASSWORD", "mysql_pwd", "passphrase", "access_token",
        "accessToken", "stripe_key", "api.key", "X-Api-Key", "Authorization", "client secret", "session",
        "sessionid", "cookie", "csrf_token", "jwt", "saml", "otp", "pin", "sid", "privateKey", "credentials", "auth",
    ):  # fmt: skip
        secret = _word(rng)
        yield f"key {key}", secret, {key: secret}
    secret = str(rng.randrange(10**9, 10**10))
    yield "key with a number", secret, {"pin": int(secret)}
    secret = _word(rng)
    yield "key above a list", secret, {"credentials": [{"user": "bob"}, secret]}


def _by_form(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for prefix in ("sk-", "sk-ant-api03-", "ghp_", "gho_", "github_pat_", "xoxb-", "AIza", "glpat-", "sk_live_"):
        yield f"form {prefix}", (body := _word(rng, 30)), prefix + body
    for prefix in ("AKIA", "ASIA"):
        body = "".join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(16))
        yield f"form {prefix}", body, prefix + body
    body = _word(rng, 26)
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "n": rng.random()}).encode()).decode().rstrip("=")
    yield "form jwt", body, f"{head}.{_word(rng, 24)}.{body}"
    pem = "\n".join("".join(rng.choice(_ALNUM + "+/") for _ in range(28)) for _ in range(6))
    yield "form pem", pem, f"-----BEGIN RSA PRIVATE KEY-----\n{pem}\n-----END RSA PRIVATE KEY-----"
    yield "form bearer", (body := _word(rng, 20)), f"Bearer {body}"
    encoded = base64.b64encode(f"bob:{_word(rng)}".encode()).decode()
    yield "form basic", encoded.rstrip("="), f"Basic {encoded}"
    yield "form card", (card := _card(rng)), card
    yield "form card in groups", (card := _grouped(_card(rng), " ")), card
    yield "form card with dashes", (card := _grouped(_card(rng), "-")), card
    yield "form iban", (iban := _iban(rng)), iban
    yield "form iban in groups", (iban := _grouped(_iban(rng), " ")), iban
    ssn = f"{rng.randrange(100, 600)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"
    yield "form ssn", ssn, ssn
    yield "form e-mail", (local := _word(rng, 10).lower()), f"{local}@mail.example.org"
    yield "form random", (body := _word(rng, 43)), body
    yield "form random base64", (body := base64.b64encode(rng.randbytes(36)).decode()), body


def _urls(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for shape in (
        "https://bob:{}@host.example/path?x=1",
        "postgresql+psycopg://app:{}@db:5432/prod",
        "redis://:{}@cache/0",
        "amqp://bob:{}%2F@queue/vhost",
        "https://{}@git.example/repo.git",
        "https://host.example/cb?access_token={}&state=1",
        "https://host.example/x?a=1&api_key={}",
        "https://host.example/file?X-Amz-Signature={}",
        "https://host.example/#id_token={}",
    ):
        secret = _word(rng, 16)
        yield f"url {shape}", secret, shape.format(secret)


def _messages(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for shape in (
        "login failed for bob with password={}",
        "login failed (password: {})",
        "could not connect: Server=db;User Id=sa;Password={};Encrypt=yes",
        "password '{}' was refused",
        "the token was {} and has expired",
        "api key: {}",
        "Authorization: Bearer {}",
        "Cookie: theme=dark; id={}; lang=en",
        "curl -H 'X-Api-Key: {}' https://host.example",
        "mysql --password {} --host db",
        "<config><password>{}</password></config>",
        "INSERT INTO users (name, password) VALUES ('bob', '{}')",
        "[SQL: UPDATE users SET password=%s WHERE id=%s]\n[parameters: ('{}', 3)]",
        "ALTER USER bob IDENTIFIED BY '{}'",
        "SELECT * FROM t WHERE token IN ('a', '{}')",
        "duplicate key: Key (session_id)=({}) already exists",
        "export SECRET_KEY='{}'",
        'secret_key: "{}',
        "AccountName=x;AccountKey={}==;EndpointSuffix=core",
    ):
        secret = _word(rng, 16)
        yield f"message {shape}", secret, shape.format(secret)


def _nested(rng: random.Random) -> Iterator[Case]:
    secret = _word(rng)
    yield "nested dict", secret, {"a": {"b": {"password": secret}}}
    secret = _word(rng)
    yield "nested header", secret, {"request": {"headers": {"Authorization": f"Token {secret}"}}}
    secret = _word(rng)
    yield "header pairs", secret, {"headers": [("accept", "*/*"), ("authorization", secret)]}
    secret = _word(rng)
    yield "name and value", secret, {"env": [{"name": "DB_PASSWORD", "value": secret}]}
    secret = _word(rng)
    yield "list of texts", secret, ["--verbose", f"--token={secret}"]
    secret = _word(rng, 10).lower()
    yield "e-mail as a dict key", secret, {f"{secret}@example.org": 1}


def _json_and_reprs(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    wrap: tuple[tuple[str, Callable[[Any], str]], ...] = (
        ("json", json.dumps),
        ("json in json", lambda value: json.dumps({"body": json.dumps(value)})),
        ("json twice in json", lambda value: json.dumps({"b": json.dumps({"c": json.dumps(value)})})),
        ("json in a message", lambda value: f"bad response: {json.dumps(value)} from host"),
        ("json cut short", lambda value: json.dumps(value)[:-2]),
        ("repr", repr),
        ("repr in json", lambda value: json.dumps({"value": repr(value)})),
        ("repr of headers", lambda value: repr([(b"x-api-key", value["password"].encode())])),
        ("object repr", lambda value: f"<Config host='db' password='{value['password']}' port=1>"),
        ("call repr", lambda value: f"Client(url='x', api_key='{value['password']}', retries=3)"),
        ("escaped key", lambda value: '{"pass\\u0077ord": "' + value["password"] + '"}'),
        ("form body", lambda value: f"user=bob&password={value['password']}&go=1"),
        ("percent encoded", lambda value: f"user%3Dbob%26password%3D{value['password']}"),
        ("yaml", lambda value: f"user: bob\npassword: {value['password']}\nport: 1"),
        ("env file", lambda value: f"USER=bob\nDB_PASSWORD={value['password']}\nPORT=1"),
    )
    for name, shape in wrap:
        secret = _word(rng, 16)
        yield name, secret, shape({"user": "bob", "password": secret})


def _grouped(text: str, separator: str) -> str:
    return separator.join(text[place : place + 4] for place in range(0, len(text), 4))


def _card(rng: random.Random) -> str:
    body = "4" + "".join(rng.choice(string.digits) for _ in range(14))
    doubled = [sum(divmod(2 * int(d), 10)) if place % 2 == 0 else int(d) for place, d in enumerate(body)]
    return body + str(-sum(doubled) % 10)


def _iban(rng: random.Random) -> str:
    account = "".join(rng.choice(string.digits) for _ in range(18))
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"
