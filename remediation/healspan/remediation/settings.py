"""The settings: one documented class, read from the environment once per runtime.

Every setting is an environment variable with the prefix ``HEALSPAN_``, e.g. ``HEALSPAN_POLICY=suggest``.
Lists are written with commas.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from healspan.remediation.currency import DEFAULT, is_code
from healspan.remediation.errors import ConfigurationError, StoreUnavailable
from healspan.remediation.resource import resource_attributes

__all__ = ["UNNAMED", "Settings", "load_settings", "private_directory", "private_file", "why_unusable"]

UNNAMED = "unknown_service"
"""The service's name where nobody gives it one."""

_PAGE = re.compile(r"https?://[^\s{}<>\"'`\\]+")
_FILLED = re.compile(r"\{(?:trace|span)_id\}")
_HEX = re.compile(r"[0-9a-f]{16,32}")

Names = Annotated[tuple[str, ...], NoDecode]
"""Written as one string with commas in the environment."""


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path("~/.local/share")) / "healspan"


def private_directory(path: Path) -> None:
    """Create a directory that only this user can enter (0700), with its parents.

    Raises:
        StoreUnavailable: it cannot be made, or something else is in its place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the directory {path} cannot be made ({error.strerror}); set HEALSPAN_DATA_DIR to a directory that "
            "this user can write",
        ) from error


def why_unusable(path: Path) -> str | None:
    """Return why a directory that this user has to work in cannot be used; None if it can, or can be made.

    Nothing is left behind. What the rights say is not asked where the directory has to be made: read-only and foreign
    file systems know better, so one is made beside it, and removed.
    """
    advice = "set HEALSPAN_DATA_DIR to a directory that this user can read and write"
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        ancestor = next(one for one in path.absolute().parents if os.path.lexists(one))
        try:
            if path.is_symlink():
                return f"{path} is a link that leads nowhere; {advice}"
            Path(tempfile.mkdtemp(prefix=".healspan.", dir=ancestor)).rmdir()
        except OSError as error:
            return f"{path} cannot be made in {ancestor} ({error.strerror}); {advice}"
        return None
    except OSError as error:
        return f"{path} cannot be looked at ({error.strerror}); {advice}"
    if not stat.S_ISDIR(mode):
        return f"{path} is no directory; {advice}"
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return f"{path} cannot be read and written by this user; give it the right, or {advice}"
    return None


def private_file(path: Path) -> None:
    """Create an empty file that only this user can read (0600), unless there is one.

    A file that is there is never opened: where it is a SQLite database, closing any descriptor of it drops the
    locks that this process's connections hold on it, and the next process to leave would take itself for the
    last one and delete the log that the others are writing to.

    Raises:
        OSError: it cannot be created, or what is there cannot be written.
    """
    if path.exists():
        _refuse_unusable(path)
        return
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        # Closed before it has its name, so that no connection can be open to it yet.
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.link(scratch, path)
    except FileExistsError:
        _refuse_unusable(path)
    finally:
        scratch.unlink(missing_ok=True)


def _refuse_unusable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


class Settings(BaseSettings):
    """What an operator can decide."""

    model_config = SettingsConfigDict(env_prefix="HEALSPAN_", frozen=True, populate_by_name=True, extra="ignore")

    disabled: bool = False
    """The kill switch of this process: boundaries call straight through. `healspan` has a stored one as well."""

    policy: Literal["suggest", "guarded", "autonomous"] = "guarded"
    """``suggest`` never applies a fix; ``guarded`` applies low risk; ``autonomous`` also medium risk on trial."""

    adoptions_per_day: int = Field(default=100, ge=0)
    """New fixes that one boundary may put into trial by itself in 24 hours; beyond it they wait for a human. A boundary
    that learns more kinds of failure in a day than this does not fail in patterns. Never unlimited."""

    compiled_boundaries: bool = True
    """Whether boundaries are compiled into their functions where that is safe; read where the application declares
    them, so it has to be in the environment by then. ``healspan doctor`` says which form each one has, and why."""

    currency: str = DEFAULT
    """Code of the currency that the service reckons in, where a boundary names no other; read where the application
    declares its boundaries. An amount with the sign of another one waits for a human."""

    config: str = ""
    """File that declares boundaries; default: ``healspan.toml``, or ``pyproject.toml``, of the working directory."""

    uncaught: bool = False
    """Whether exceptions that nobody catches are made incidents of too, in an instrumented service."""

    # Where things are kept

    data_dir: Path = Field(default_factory=_default_data_dir)
    """Holds the store, the spools and the keys; only this user can enter it (0700)."""

    database_url: str = ""
    """SQLAlchemy URL of the store; default: ``healspan.db`` in the data directory. Also PostgreSQL."""

    reviewer_key: Path = Path("~/.config/healspan/reviewer.pem")
    """The private key with which a human approves; only on the machines of reviewers."""

    retention_days: int = Field(default=30, ge=1)
    """Incidents older than this are erased by ``healspan purge``."""

    # Who this is

    service_name: str = Field(
        default_factory=lambda: resource_attributes(os.environ).get("service.name") or UNNAMED,
        validation_alias=AliasChoices("HEALSPAN_SERVICE_NAME", "OTEL_SERVICE_NAME"),
    )
    """``service.name`` on incidents and metrics; default: that of ``OTEL_RESOURCE_ATTRIBUTES``."""

    service_version: str = Field(default_factory=lambda: resource_attributes(os.environ).get("service.version", ""))
    """``service.version`` on incidents; likewise."""

    in_app: Names = ()
    """Top-level packages whose frames are the application's own, besides those of the boundaries."""

    # What leaves the process

    safe_keys: Names = ()
    """Argument names that the scrubber's key test would redact, but that hold no secret."""

    disabled_patterns: Names = ()
    """Names of value patterns of the scrubber that raise false alarms here."""

    # Time and room

    drain_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the drainer looks for work nobody told it of; an append wakes it sooner."""

    refresh_seconds: float = Field(default=0.15, gt=0, le=60)
    """How often a process looks for new and changed fixes."""

    host_busy_ms: int = Field(default=50, ge=0)
    """How long a service waits for another process's lock on a database."""

    busy_ms: int = Field(default=5_000, ge=0)
    """Likewise the worker, the command line and the console."""

    flight_wait_ms: int = Field(default=2_000, ge=0)
    """How long a failing call waits for the diagnosis of an equal failure before it fails as it would have."""

    replay_ms: int = Field(default=50, ge=0)
    """How long the replay of golden samples may take before a new fix acts for the first time; 0: none is replayed."""

    same_failures_per_second: float = Field(default=2.0, ge=1, le=1_000_000)
    """How many of equal failures for which no fix serves are captured, in one process; in a storm the others go on as
    they would have, and are counted."""

    search_ms: int = Field(default=1_000, ge=0)
    """How long one diagnosis may look for fixes of several steps."""

    lesson_minutes: int = Field(default=60, ge=0)
    """How long a fix that would have changed a good call is not tried again on the same kind of failure."""

    start_wait_ms: int = Field(default=2_000, ge=0)
    """How long the first failure of a process waits for the known fixes to be loaded."""

    spool_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Facts one process keeps while the store is away; beyond it counts are dropped first, then new facts."""

    # When a fix that fires often is a symptom

    masking_share: float = Field(default=0.05, gt=0, lt=1)
    """A fix that is sure to heal more than this share of its boundary's calls hides a fault: a ticket is drafted."""

    masking_heals: int = Field(default=50, ge=1)
    """With fewer healed calls in the window nothing is said."""

    masking_hours: int = Field(default=24, ge=4, le=720)
    """The window."""

    # What failures are compared with

    embedder: str = ""
    """Name of an installed embedder (entry point ``healspan.embedders``) that compares failures too; empty: none."""

    # Where humans look

    trace_url: str = ""
    """Page of a trace, for the console and the command line, e.g. ``https://tempo.example/trace/{trace_id}``;
    ``{span_id}`` is filled in as well."""

    # The sandbox of adapters

    sandbox_seconds: float = Field(default=1.0, gt=0, le=60)
    """An adapter's own time; what it has the host do is not counted."""

    sandbox_memory_mb: int = Field(default=64, ge=16, le=4_096)
    """Memory that an adapter may use."""

    sandbox_host_calls: int = Field(default=1_000, ge=0, le=100_000)
    """How often one adapter may ask the host for something."""

    sandbox_workers: int = Field(default=2, ge=0, le=64)
    """Adapters at once in one process, each in a process of its own; 0 turns adapters off."""

    # Claude, and whoever else speaks the Messages API

    claude_model: str = ""
    """The model that is asked about failures nothing else can fix, e.g. ``claude-opus-5-5``; empty: nobody is asked,
    and nothing of a failure leaves this machine."""

    claude_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("HEALSPAN_CLAUDE_API_KEY", "ANTHROPIC_API_KEY"),
    )
    """Sent to the server and shown to nobody."""

    claude_base_url: str = Field(
        default="",
        validation_alias=AliasChoices("HEALSPAN_CLAUDE_BASE_URL", "ANTHROPIC_BASE_URL"),
    )
    """Of a gateway or a local server, without ``/v1``; empty: Anthropic's own."""

    claude_values: Literal["skeleton", "scrubbed", "full"] = "scrubbed"
    """What is shown of the values of a failure: their types and sizes; as an incident keeps them; whole ones. Source
    text of the functions that failed is shown always; secrets never are."""

    claude_effort: Literal["low", "medium", "high", "xhigh", "max"] | None = "medium"
    """How hard the model thinks; empty where the server knows no such thing."""

    claude_max_tokens: int = Field(default=16_000, ge=256, le=128_000)
    """Tokens that one answer may have, thinking included."""

    claude_timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    """For one request as a whole. A failing call of a boundary in mode ``heal`` waits so long; where it must not, the
    mode is ``background``."""

    claude_retries: int = Field(default=1, ge=0, le=5)
    """Attempts after one that was turned away, within that time."""

    claude_prices: str = ""
    """JSON of prices in US dollars per million tokens by model, e.g. for a gateway; see ``docs/asking.md``."""

    # What Claude may cost. A request is one question to the server; a diagnosis may make a few. Days are days in UTC

    claude_tokens_per_request: int = Field(default=100_000, ge=0, le=10**12)
    """Tokens of one request: its prompt, cached or not, and the longest answer that it allows. 0 turns Claude off."""

    claude_tokens_per_pattern: int = Field(default=500_000, ge=0, le=10**12)
    """Tokens that one kind of failure may use in a day, in all processes."""

    claude_tokens_per_day: int = Field(default=5_000_000, ge=0, le=10**12)
    """Tokens that all processes of this store may use in a day."""

    claude_usd_per_request: Decimal = Field(default=Decimal(1), ge=0, le=1_000_000)
    """US dollars; holds, as those below, where the price of the model is known. Tokens are limited always."""

    claude_usd_per_pattern: Decimal = Field(default=Decimal(3), ge=0, le=1_000_000)
    """US dollars that one kind of failure may cost in a day."""

    claude_usd_per_day: Decimal = Field(default=Decimal(20), ge=0, le=1_000_000)
    """US dollars that all processes of this store may spend in a day."""

    # When Claude is left alone

    claude_concurrent: int = Field(default=2, ge=1, le=64)
    """Diagnoses with Claude at once in one process."""

    claude_breaker_failures: int = Field(default=5, ge=1, le=1_000)
    """After so many failures of the server in a row it is left alone for a while; after a refused key at once."""

    claude_breaker_seconds: float = Field(default=60.0, gt=0, le=3_600)
    """How long a failing server is left alone, unless it says how long; then one request tries whether it is back."""

    claude_cooldown_minutes: float = Field(default=60.0, ge=0, le=10_080)
    """How long a kind of failure is not diagnosed again after a diagnosis that nothing came of."""

    claude_lease_seconds: float = Field(default=300.0, ge=1, le=3_600)
    """How long a process that was killed while diagnosing keeps the others from diagnosing that kind of failure. Each
    request begins it anew: give it more than a request and the trial of its answer can take."""

    # Where it listens

    console_host: str = "127.0.0.1"
    console_port: int = Field(default=8501, ge=0, le=65_535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65_535)
    """Of the exporter, ``healspan metrics`` and ``healspan up``."""

    service_metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Where a service that has no ``/metrics`` publishes its own numbers, on `metrics_host`; 0: nowhere. Not the
    exporter's, which is often set for a whole machine: then every service on it would want that one."""

    @field_validator("claude_effort", "claude_api_key", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("in_app", "safe_keys", "disabled_patterns", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("currency")
    @classmethod
    def _is_code(cls, value: str) -> str:
        if value and not is_code(value):
            raise ValueError("it is no code of three capital letters, such as EUR")
        return value or DEFAULT

    @field_validator("trace_url")
    @classmethod
    def _is_page(cls, value: str) -> str:
        if value and not _PAGE.fullmatch(_FILLED.sub("0", value)):
            raise ValueError("it is no address over http or https in which only {trace_id} is filled in")
        if value and "{trace_id}" not in value:
            raise ValueError("it holds no {trace_id}, as in https://tempo.example/trace/{trace_id}")
        return value

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ValueError("this user has no home directory; give an absolute path") from error

    @field_validator("reviewer_key")
    @classmethod
    def _expand_if_at_home(cls, value: Path) -> Path:
        # A service needs none, and may run as a user without a home.
        with contextlib.suppress(RuntimeError):
            return value.expanduser()
        return value

    @model_validator(mode="after")
    def _locate_store(self) -> Self:
        if not self.database_url:
            # The model is frozen, and a default that depends on another field has no other way in.
            object.__setattr__(self, "database_url", f"sqlite:///{self.data_dir.absolute() / 'healspan.db'}")
        return self

    @property
    def spool_dir(self) -> Path:
        """The spools of this machine's processes."""
        return self.data_dir / "spool"

    @property
    def keys_dir(self) -> Path:
        """The machine key and the trusted public keys."""
        return self.data_dir / "keys"

    @property
    def flight_wait_seconds(self) -> float:
        """`flight_wait_ms` in seconds."""
        return self.flight_wait_ms / 1_000

    @property
    def resource(self) -> dict[str, str]:
        """The service as OpenTelemetry names it."""
        return {
            "service.name": self.service_name,
            "service.version": self.service_version,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }

    def trace_page(self, trace_id: str | None, span_id: str | None = None) -> str | None:
        """Return the address at which a trace can be looked at; None where there is none, or nobody has said where."""
        if not self.trace_url or trace_id is None or not _HEX.fullmatch(trace_id):
            return None
        span = span_id if span_id is not None and _HEX.fullmatch(span_id) else ""
        return self.trace_url.replace("{trace_id}", trace_id).replace("{span_id}", span)

    def why_unusable(self) -> str | None:
        """Return why the data directory, or what is in it, cannot be used; None if it can, or can be made."""
        inside = (one for one in (self.spool_dir, self.keys_dir) if os.path.lexists(one))
        return next((why for one in (self.data_dir, *inside) if (why := why_unusable(one)) is not None), None)

    def prepare(self) -> None:
        """Create the data directory and what is in it.

        Raises:
            StoreUnavailable: it cannot be made; the message names the setting.
        """
        for path in (self.data_dir, self.spool_dir, self.keys_dir):
            private_directory(path)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over the environment.

    Raises:
        ConfigurationError: a value cannot be used; the message names its variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = [(_variable(one["loc"]), one["input"], one["msg"]) for one in error.errors()]
        told = "; ".join(f"{name}={str(value)!r:.80}: {why}" for name, value, why in wrong)
        raise ConfigurationError(f"{told}; correct {'it' if len(wrong) == 1 else 'them'}") from error


def _variable(where: tuple[int | str, ...]) -> str:
    return "HEALSPAN_" + "_".join(str(part) for part in where).upper().removeprefix("HEALSPAN_")
