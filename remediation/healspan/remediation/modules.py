"""The names of modules, equal in every process: a script is ``__main__`` only to itself.

What a fix holds (targets, frames, ways, types of exceptions) names a module as others import it, so that a fix learned
by ``python service.py`` is the known fix of everybody who imports ``service``, and the other way round.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

__all__ = ["NAMELESS", "importable_name", "live_module"]

NAMELESS = frozenset({"__main__", "__mp_main__"})
"""What Python calls the program that runs, and its copy in a process that `multiprocessing` has spawned."""


def importable_name(name: str) -> str:
    """Return the name under which a module of this process can be imported elsewhere; as it is where none is known.

    ``python -m package.module`` says it itself. A script has the name of its file, if an import by that name would find
    this very file; with ``python -c``, ``python -P`` or a file that is no module's, nobody can import it.
    """
    if name not in NAMELESS:
        return name
    module = sys.modules.get(name)
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    return _found(name, getattr(spec, "name", None), file if isinstance(file, str) else None)


def live_module(name: str) -> ModuleType | None:
    """Return the module of this process that is known by a name; the program that runs, before a second copy of it."""
    for own in NAMELESS:
        if own in sys.modules and importable_name(own) == name:
            return sys.modules[own]
    return sys.modules.get(name)


@lru_cache(maxsize=64)
def _found(name: str, specified: str | None, file: str | None) -> str:
    """Look once for each program, so that its name never changes, whatever becomes of `sys.path`."""
    if specified is not None and specified not in NAMELESS:
        # One of Python's own runs somebody else's program, under this name too: ``python -m cProfile service.py``.
        return name if specified.partition(".")[0] in sys.stdlib_module_names else specified
    stem = Path(file).stem if file is not None else ""
    if file is None or not stem.isidentifier() or stem in NAMELESS or stem in sys.stdlib_module_names:
        return name
    try:
        found = PathFinder.find_spec(stem)
        same = found is not None and found.origin is not None and Path(found.origin).samefile(file)
    except (OSError, ImportError, ValueError):
        return name
    return stem if same else name
