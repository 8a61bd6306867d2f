"""Real tracebacks as failures that retrieval can look up: the material of `retrieval.py` and `fit_retrieval.py`.

A row has a group (same program, same line, same exception) and a task (what the program was written for; many programs
are written for one task). It is read as healspan would have captured it. A traceback names no boundary, so the module
of the first frame that is the application's stands for it.
"""

from __future__ import annotations

import builtins
import gzip
import hashlib
import json
import keyword
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from healspan.remediation.fingerprint import fingerprint
from healspan.remediation.incident import Frame
from healspan.remediation.retrieval import Document

__all__ = ["EDITS", "Failure", "is_measured", "read"]

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)$')
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
_APPLICATION = "/srv/"
_MEASURED = 0.6
"""Share of the tasks that are measured; nothing is fitted on them."""


@dataclass(frozen=True)
class Failure:
    """One failure, with what is known of it."""

    id: str
    group: str
    task: str
    near_duplicate: bool
    error_type: str
    message: str
    frames: tuple[Frame, ...]
    boundary: str
    """Stays what it is through all edits: a boundary's name is chosen for it."""

    @cached_property
    def exact(self) -> str:
        """Our exact key."""
        return fingerprint(self.error_type, self.message, self.frames, (), self.boundary).exact

    @cached_property
    def line(self) -> tuple[str, str, str]:
        """Type, function and source line: the plain key to beat."""
        last = self.frames[-1]
        return self.error_type, last.function, last.source_line

    @cached_property
    def kind(self) -> tuple[str, ...]:
        """What makes two failures one for whoever has to fix them: see `retrieval.py`."""
        return (self.task, *self.line, *(() if self.line[2] else (self.message,)))

    def document(self, group_id: str = "") -> Document:
        """Return it as retrieval sees it. Its id takes the place of the pattern's: equal failures are kept apart."""
        return Document.of_failure(
            self.id, self.error_type, self.message, self.frames, boundary=self.boundary, group_id=group_id
        )


def read(path: Path) -> list[Failure]:
    """Return the failures of a file with one JSON object per line, gzipped or not."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    return [_failure(json.loads(line)) for line in lines]


def is_measured(task: str) -> bool:
    """Whether a task, with all its programs and groups, belongs to what is measured and not to what is fitted on."""
    return _share(task) < _MEASURED


def _share(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32


def _failure(row: dict[str, Any]) -> Failure:
    name = row["exception_type"]
    frames = tuple(_frames(row["traceback"]))
    return Failure(
        id=row["trace_id"],
        group=row["group"],
        task=row["task"],
        near_duplicate=row["near_duplicate_program"],
        error_type=f"builtins.{name}" if hasattr(builtins, name) else name,
        message=row["exception_message"],
        frames=frames,
        boundary=next((frame.module for frame in frames if frame.in_app), ""),
    )


def _frames(traceback: str) -> Iterator[Frame]:
    lines = traceback.split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := _FRAME.match(line):
            file = match["file"]
            yield Frame(
                module=file.removeprefix(_APPLICATION).removesuffix(".py").replace("/", "."),
                function=match["function"],
                file=file,
                line=int(match["line"]),
                source_line=following.strip() if following.startswith("    ") else "",
                in_app=file.startswith(_APPLICATION),
            )


# The same failure after an edit of the program


def _moved(failure: Failure) -> Failure | None:
    """Return it as it is after its module was given another name."""
    frames = tuple(
        frame.model_copy(update={"module": f"{frame.module}_v2"}) if frame.in_app else frame for frame in failure.frames
    )
    return replace(failure, frames=frames)


def _renamed(failure: Failure) -> Failure | None:
    """Return it as it is after the innermost function was given another name."""
    old = failure.frames[-1].function
    if not failure.frames[-1].in_app or not old.isidentifier():
        return None
    new = f"{old}_v2"

    def edited(frame: Frame) -> Frame:
        line = re.sub(rf"\b{old}\b", new, frame.source_line)
        return frame.model_copy(
            update={"function": new if frame.function == old else frame.function, "source_line": line}
        )

    return replace(failure, frames=tuple(map(edited, failure.frames)))


def _called_otherwise(failure: Failure) -> Failure | None:
    """Return it as it is when another function has been put between the caller and the first function."""
    first = next((place for place, frame in enumerate(failure.frames) if frame.in_app), None)
    if first is None:
        return None
    frames = list(failure.frames)
    called = frames[first].function
    between = {"function": f"safe_{called}", "source_line": f"return {called}(*args, **kwargs)", "line": 1}
    return replace(failure, frames=(*frames[:first], frames[first].model_copy(update=between), *frames[first:]))


def _rewritten(failure: Failure) -> Failure | None:
    """Return it as it is after one local name in the failing line was given another one; not what is said to fail."""
    last = failure.frames[-1]
    fixed = {*dir(builtins), *keyword.kwlist, *_NAME.findall(failure.message), last.function}
    names = sorted({name for name in _NAME.findall(last.source_line) if name not in fixed})
    if not last.in_app or not names:
        return None
    old = names[int(_share(failure.id) * len(names))]
    line = re.sub(rf"\b{old}\b", f"{old}_value", last.source_line)
    return replace(failure, frames=(*failure.frames[:-1], last.model_copy(update={"source_line": line})))


EDITS: dict[str, Callable[[Failure], Failure | None]] = {
    "module_renamed": _moved,
    "function_renamed": _renamed,
    "called_otherwise": _called_otherwise,
    "line_rewritten": _rewritten,
}
"""Edits after which a fix would still be the right one; None where there is nothing to edit."""
