"""The value tests: secrets that their own form gives away, wherever they stand.

Each rule finds spans in a text; none replaces anything, so rules cannot disturb one another. A rule first
asks a cheap question (`gate`) that almost every text answers with no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from healspan.remediation.scrubbing.checks import (
    iban_end,
    is_basic_credential,
    is_bearer_credential,
    is_card,
    looks_random,
)

__all__ = ["VALUE_RULES", "Rule", "pattern_rule"]

Span = tuple[int, int]


class Rule(NamedTuple):
    """One value test."""

    name: str
    why: str
    gate: Callable[[str, str], object]
    """Given a text and the same in lower case: cheap, and never false where `find` would find something."""
    find: Callable[[str], Iterator[Span]]


def _any_of(*needles: str) -> Callable[[str, str], bool]:
    def gate(text: str, _lower: str) -> bool:
        for needle in needles:  # noqa: SIM110 - half the time of any() with a generator
            if needle in text:
                return True
        return False

    return gate


def _matches(pattern: re.Pattern[str]) -> Callable[[str, str], object]:
    return lambda text, _lower: pattern.search(text)


def pattern_rule(name: str, why: str, pattern: str) -> Rule:
    """Make a rule of one regular expression; every match is secret. Raises `re.error`."""
    compiled = re.compile(pattern)
    return Rule(name, why, _matches(compiled), lambda text: (m.span() for m in compiled.finditer(text)))


_PREFIXED = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_\-]{10,} | [sr]k_(?:live|test)_[A-Za-z0-9]{8,} | whsec_[A-Za-z0-9+/=]{8,}
      | gh[pousr]_[A-Za-z0-9]{10,} | github_pat_\w{10,} | glpat-[\w\-]{10,}
      | xox[abeprs]-[A-Za-z0-9\-]{8,} | xapp-[A-Za-z0-9\-]{8,} | hooks\.slack\.com/services/[\w/]{8,}
      | (?:AKIA|ASIA)[A-Z0-9]{12,} | AIza[\w\-]{20,} | ya29\.[\w\-.]{10,} | GOCSPX-[\w\-]{10,}
      | SG\.[\w\-]{10,}\.[\w\-]{10,} | hf_[A-Za-z0-9]{16,} | npm_[A-Za-z0-9]{16,} | pypi-[\w\-]{16,}
      | dop_v1_[a-f0-9]{16,} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,} | dckr_pat_[\w\-]{10,} | lin_api_\w{10,}
    )""",
    re.VERBOSE,
)
_PREFIXES = tuple(
    needle
    for line in (
        "sk- k_live_ k_test_ whsec_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox xapp- hooks.slack AKIA ASIA",
        "AIza ya29 GOCSPX SG. hf_ npm_ pypi- dop_v1_ shp dckr_ lin_api_",
    )
    for needle in line.split()
)
_JWT = re.compile(r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{6,}+(?:\.[A-Za-z0-9_\-]*+){1,4}")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}-----")
_PEM_PUBLIC = frozenset(("-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----"))
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_SCHEME = re.compile(
    r"(?<![A-Za-z0-9])(?P<scheme>bearer|basic)[ \t]++(?P<token>[A-Za-z0-9._~+/=\-]{6,}+)",
    re.IGNORECASE,
)
_PGPASS = re.compile(
    r""":(?:[1-9]\d{3,4}|\*):(?:(?:[^\W\d]|\*)(?:[^\s:\\"'`]|\\[:\\]){0,127}+:){2}
        (?P<password>(?!\\+[nr])[^\s"'`])""",
    re.VERBOSE,
)
"""Port, database and user, as behind the host in a password file. Ports have four digits at least, as line numbers of
logs and groups of other addresses rarely do."""
_HOST_BACKWARDS = re.compile(r"""(?:[^\s:\\"'`]|:\\){1,255}""")
_PGPASS_COLONS = 4
_WORD_END = re.compile(r"[\s\"'`]|\\+n")
_LINE_END = re.compile(r"[\r\n]|\Z")
_ADDRESS = re.compile(r"[0-9a-fA-F]{0,4}+(?::[0-9a-fA-F]{0,4}+){4,7}")
"""Of version 6, or of an interface."""
_TWELVE_DIGITS = re.compile(r"\d(?:[ \-]?\d){11}")
_CARD = re.compile(r"(?<![\d.])\d(?:[ \-]?\d){11,18}+(?![\d])")
_SSN = re.compile(r"(?<![\d\-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d\-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ \-]?[A-Za-z0-9]{3})")
_AUTHORITY = re.compile(r"(?:\\?/){2}(?P<run>[^\s\"'<>]++)")
_QUOTED_AUTHORITY = re.compile(r"%2[Ff]%2[Ff](?P<run>[^\s\"'<>&]{1,256}?)%40")
_PORT = re.compile(r"[^\s:/@]*+:\d{1,5}(?:[/?#]|$)")
_LOCAL_PART = re.compile(r"[\w.%+\-]++")
_DOMAIN = re.compile(r"(?:@|%40)[\w\-]{1,255}+(?:\.[\w\-]{1,255}+){1,32}+")
_LONG_RUN = re.compile(r"(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{32,}+={0,2}")


def _pem(text: str) -> Iterator[Span]:
    place = 0
    while begin := _PEM.search(text, place):
        end = _PEM_END.search(text, begin.end())
        place = end.end() if end else len(text)
        if begin.group() not in _PEM_PUBLIC:
            yield begin.start(), place


def _scheme(name: str, check: Callable[[str], bool]) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        for match in _SCHEME.finditer(text):
            if match["scheme"].lower() == name and check(match["token"]):
                yield match.span("token")

    return find


def _pgpass(text: str) -> Iterator[Span]:
    """The password of ``host:port:database:user:password``: the rest of a line of such a file, or of the word."""
    for match in _PGPASS.finditer(text):
        host = _HOST_BACKWARDS.match(text[max(0, match.start() - 256) : match.start()][::-1])
        if host is None:
            continue
        first, start = match.start() - host.end(), match.start("password")
        before = text[max(0, first - 1) : first]
        if before == "\\" and text[first] == "n":  # the end of a line, as representations spell it
            first += 1
        elif before and not before.isspace() and before not in "\"'`":
            continue
        found = (_LINE_END if not before or before in "\r\n" else _WORD_END).search(text, start)
        end = found.start() if found else len(text)
        if not _ADDRESS.fullmatch(text, first, end):
            yield start, end


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        if is_card(match.group().replace(" ", "").replace("-", "")):
            yield match.span()


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        if end := iban_end(text, match.start()):
            yield match.start(), end


def _url_credentials(text: str) -> Iterator[Span]:
    """User and password of ``//user:password@host``, even where the password holds a slash or an @."""
    for match in _AUTHORITY.finditer(text):
        run, start = match["run"], match.start("run")
        authority = re.split(r"[/?#]", run, maxsplit=1)[0]
        cut = authority.rfind("@")
        if ":" in authority[: cut if cut > 0 else None] and not _PORT.match(run):
            cut = run.rfind("@")
        if cut > 0:
            yield start, start + cut
    if "%40" in text:
        yield from (match.span("run") for match in _QUOTED_AUTHORITY.finditer(text))


def _emails(text: str) -> Iterator[Span]:
    for match in _DOMAIN.finditer(text):
        before = text[max(0, match.start() - 256) : match.start()][::-1]
        if local := _LOCAL_PART.match(before):
            yield match.start() - local.end(), match.end()


def _random_runs(text: str) -> Iterator[Span]:
    for match in _LONG_RUN.finditer(text):
        if looks_random(match.group()):
            yield match.span()


VALUE_RULES: tuple[Rule, ...] = (
    Rule("pem", "a block of key material", _any_of("-----BEGIN"), _pem),
    Rule("url_credentials", "user and password of a URL", _any_of("//", "\\/", "%2F", "%2f"), _url_credentials),
    Rule(
        "api_key",
        "the prefix that an issuer gives its keys",
        _any_of(*_PREFIXES),
        lambda text: (match.span() for match in _PREFIXED.finditer(text)),
    ),
    Rule(
        "jwt",
        "a JSON web token",
        _any_of("eyJ"),
        lambda text: (match.span() for match in _JWT.finditer(text)),
    ),
    Rule("bearer", "what follows Bearer", lambda _, lower: "bearer" in lower, _scheme("bearer", is_bearer_credential)),
    Rule("basic", "what follows Basic", lambda _, lower: "basic" in lower, _scheme("basic", is_basic_credential)),
    Rule("pgpass", "a line of a PostgreSQL password file", lambda text, _: text.count(":") >= _PGPASS_COLONS, _pgpass),
    Rule("card", "a card number with its check digit", _matches(_TWELVE_DIGITS), _cards),
    Rule("iban", "an IBAN with its check digits", _matches(_IBAN), _ibans),
    Rule(
        "ssn",
        "the form of a US social security number",
        _matches(_SSN),
        lambda text: (match.span() for match in _SSN.finditer(text)),
    ),
    Rule("email", "an e-mail address", _any_of("@", "%40"), _emails),
    Rule("entropy", "32 or more characters that look random", _matches(_LONG_RUN), _random_runs),
)
"""In order of precedence: where spans overlap, the earlier rule names the marker."""
