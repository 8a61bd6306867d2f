"""The tree of errors: whoever catches one finds it drawn, exported and explained in one place."""

from __future__ import annotations

import importlib
import pkgutil
import re

import healspan.remediation
from healspan.remediation import errors
from healspan.remediation.errors import HealspanError


def below(kind: type[HealspanError]) -> set[type[HealspanError]]:
    return {kind}.union(*map(below, kind.__subclasses__()))


def test_every_error_is_drawn_where_it_stands_exported_and_explained() -> None:
    for module in pkgutil.walk_packages(healspan.remediation.__path__, "healspan.remediation."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)
    tree = errors.__doc__ or ""
    found = {one for one in below(HealspanError) if one.__module__.startswith("healspan.remediation.")}
    assert {one.__name__ for one in found} == set(errors.__all__)
    for one in found:
        assert one.__module__ == errors.__name__
        assert one.__doc__
        depth = len(one.__mro__) - len(HealspanError.__mro__)
        drawn = re.search(rf"^ {{4}}(?:[│├└─ ]{{{4 * depth}}}){one.__name__}\b", tree, re.MULTILINE)
        assert drawn, f"{one.__name__} is not drawn at its depth"
