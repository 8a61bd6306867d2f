"""Drafts of fixes that humans write as JSON files: read, checked against the live application, completed.

A file says what its author has decided: ``"decision": "approve"`` lets the fix serve once it is imported;
``"propose"``, or none as `healspan fixes export` writes it, leaves it to a reviewer.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never, get_args

from pydantic import ValidationError

from healspan.remediation.boundary import Boundary, boundaries
from healspan.remediation.conventions import assumed
from healspan.remediation.errors import ConfigurationError, HealspanError, InvalidFix, StaleFix
from healspan.remediation.fix import FixDraft, RiskLevel, Scope
from healspan.remediation.repair.handled import exception_class
from healspan.remediation.repairers import repairer
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.staleness import live_hashes
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

__all__ = ["CheckedDraft", "DraftDecision", "DraftFile", "check_drafts", "complete_draft", "draft_files", "read_draft"]

DraftDecision = Literal["approve", "propose"]


@dataclass(frozen=True, slots=True)
class DraftFile:
    """What one file holds."""

    draft: FixDraft
    decision: DraftDecision | None
    """None: nobody has decided."""


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """One file, looked at with the live application."""

    path: Path
    file: DraftFile | None
    """Its draft complete; None if it cannot be imported."""
    problem: str = ""


def check_drafts(paths: Iterable[Path]) -> list[CheckedDraft]:
    """Read and check the drafts of files, or of directories of ``*.json``; a bad one is told, and keeps no other back.

    Raises:
        ConfigurationError: a directory holds no file.
    """
    return [_checked(path) for path in draft_files(paths)]


def _checked(path: Path) -> CheckedDraft:
    try:
        read = read_draft(path)
        return CheckedDraft(path, DraftFile(complete_draft(read.draft), read.decision))
    except HealspanError as error:
        return CheckedDraft(path, None, str(error))


def draft_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are meant: each file itself, and the ``*.json`` of each directory in order of name.

    Raises:
        ConfigurationError: a directory holds none.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(path.glob("*.json"))
        if not found:
            raise ConfigurationError(f"{path} holds no *.json file; name the directory that holds the drafts")
        files += found
    return files


def read_draft(path: Path) -> DraftFile:
    """Read one draft, and what was decided about it.

    Raises:
        InvalidFix: the file cannot be read, is not JSON, or is no draft; the message names the field.
    """
    try:
        payload = json.loads(path.read_bytes())
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidFix(
            f"holds half of a character, which no signature can cover ({error.reason}); correct it"
        ) from error
    except OSError as error:
        raise InvalidFix(f"cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InvalidFix(f"is not JSON ({error}); correct it") from error
    if not isinstance(payload, dict):
        raise InvalidFix("holds no JSON object; a draft is one object with the fields of FixDraft")
    decision = payload.pop("decision", None)
    if decision is not None and decision not in get_args(DraftDecision):
        raise InvalidFix(f"its decision {decision!r:.40} is none: write 'approve' or 'propose'")
    try:
        return DraftFile(FixDraft.model_validate(payload), decision)
    except ValidationError as error:
        raise InvalidFix(f"is no draft of a fix: {_told(error)}; correct it") from error


def _told(error: ValidationError) -> str:
    """Say what the first mistake is, and how many there are besides."""
    found = error.errors(include_url=False, include_input=False)
    # Of a list with a wrong part pydantic says as well that it is too short.
    own = [one for one in found if not any(_is_inside(other["loc"], one["loc"]) for other in found)]
    where = ".".join(str(part) for part in own[0]["loc"]) or "draft"
    what = own[0]["msg"].removeprefix("Value error, ").removesuffix("; correct it")
    return f"{where}: {what}" + (f" (and {len(own) - 1} more)" if len(own) > 1 else "")


def _is_inside(place: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def complete_draft(
    draft: FixDraft,
    known: Mapping[str, Boundary] | None = None,
    *,
    sandbox: Sandbox | None = None,
) -> FixDraft:
    """Check a draft against the live application and give it the source hashes of what it touches.

    Args:
        draft: with or without `source_hash`; a hash that is given must be that of the live function.
        known: the boundaries to look in; default: those declared in this process.
        sandbox: checks the types of adapters; default: one of its own, which takes a while to start.

    Raises:
        ConfigurationError: its boundary is not declared here.
        StepInapplicable, InvalidFix, RepairDeclined, UnknownRepairer: a step asks for what is not there.
        StaleFix: it was written for other source than what runs.
    """
    known = boundaries() if known is None else known
    boundary = known.get(draft.scope.module)
    if boundary is None:
        named = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(
            f"boundary {draft.scope.module!r} is not declared in this process (declared: {named}); import the "
            "application first: 'healspan review import --app MODULE'",
        )
    _check_types(draft.scope, draft.steps)
    for step in draft.steps:
        _check_step(step, boundary, sandbox)
    live = live_hashes(draft.steps, boundary)
    for target, digest in draft.source_hash.items():
        if live.get(target, digest) != digest:
            raise StaleFix(f"{target} changed since the draft was written; review it, then leave source_hash out")
    return _as_risky_as_it_is(draft, boundary).model_copy(update={"source_hash": live})


def _as_risky_as_it_is(draft: FixDraft, boundary: Boundary) -> FixDraft:
    """Return a draft as one of high risk, whatever it says, if it reads what its boundary does not declare."""
    said = next(filter(None, (assumed(step, boundary) for step in draft.steps)), None)
    if said is None or draft.risk_level is RiskLevel.HIGH:
        return draft
    words = f"{draft.risk_assessment} But {said}."
    return draft.model_copy(update={"risk_level": RiskLevel.HIGH, "risk_assessment": words})


def _check_types(scope: Scope, steps: Iterable[Step]) -> None:
    """Refuse types of exceptions that nothing can be: the fix would wait for its failure for ever."""
    repaired = {step.error_type for step in steps if isinstance(step, RepairStep)}
    for name in (*scope.error_types, *sorted(repaired)):
        if not _is_failure(name):
            built_in = f"builtins.{name}"
            meant = f"did you mean {built_in!r}?" if _is_failure(built_in) else "'healspan incidents show ID' has it"
            raise InvalidFix(
                f"{name!r} is no exception of a module that is imported here; give the qualified name ({meant}), and "
                "import the module that holds it with --app MODULE",
            )
    if scope.error_types and repaired and not repaired & {*scope.error_types}:
        raise InvalidFix(
            f"scope.error_types lets it act on {', '.join(scope.error_types)} only, but its repairs wait for "
            f"{', '.join(sorted(repaired))}: it would never act; make them agree, or leave error_types empty",
        )


def _is_failure(name: str) -> bool:
    found = exception_class(name)
    return found is not None and issubclass(found, Exception)


def _check_step(step: Step, boundary: Boundary, sandbox: Sandbox | None) -> None:
    match step:
        case StrategyStep():
            _check_strategy(step, boundary)
        case RepairStep():
            _check_repair(step)
        case AdapterStep():
            _check_adapter(step, boundary, sandbox)
        case ParametersStep():
            boundary.tuned(step.arguments)
        case RetryStep():
            if not boundary.retry_safe:
                raise InvalidFix(
                    f"boundary {boundary.name!r} is not retry_safe: nothing may call it again; leave the retry out",
                )
        case FallbackStep():
            if not boundary.has_fallback:
                raise InvalidFix(
                    f"boundary {boundary.name!r} declares no fallback; give it one, or leave the fallback step out",
                )
        case _:
            assert_never(step)


def _check_strategy(step: StrategyStep, boundary: Boundary) -> None:
    strategy = boundary.strategies.get(step.strategy)
    if strategy is None:
        return  # `live_hashes` says so, with the names there are
    try:
        strategy.bind(step.arguments)
    except HealspanError:
        raise
    except Exception as error:
        raise InvalidFix(
            f"the arguments of strategy {step.strategy!r} cannot be checked ({type(error).__name__}: {error}); "
            "correct the annotations of its keyword-only parameters",
        ) from error


def _check_repair(step: RepairStep) -> None:
    chosen = repairer(step.repairer)
    try:
        chosen.parameters.model_validate(step.parameters)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidFix(f"repairer {step.repairer!r} does not take these parameters: {detail}") from error


def _check_adapter(step: AdapterStep, boundary: Boundary, sandbox: Sandbox | None) -> None:
    """Check an adapter against its boundary, and its text by the sandbox's own type checker where there is one."""
    if step.calls and not boundary.retry_safe:
        raise InvalidFix(
            f"boundary {boundary.name!r} is not retry_safe: nothing may call it again; let the adapter compute the "
            "result without 'call'",
        )
    for name in step.repairers:
        repairer(name)
    parameters = () if boundary.function is None else tuple(inspect.signature(boundary.function).parameters)
    for name in step.arguments or ():
        if name not in parameters:
            raise InvalidFix(f"boundary {boundary.name!r} has no argument {name!r}; it has {', '.join(parameters)}")
    checking = sandbox or Sandbox(workers=1)
    try:
        problems = "" if checking.why_off else checking.problems(step.text)
    finally:
        if sandbox is None:
            checking.close()
    if problems:
        raise InvalidFix(f"the adapter does not pass the type check: {problems.strip()}; correct it")
