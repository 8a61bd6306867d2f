"""Characters that nobody sees, and spaces that look like a space: shared by the repairers of text."""

from __future__ import annotations

__all__ = ["HARD_SPACES", "INVISIBLE", "JOINERS", "SOFT_SPACES"]

JOINERS = "\u200c\u200d"
"""Without a width of their own, but they tell words apart in Persian, in Indic scripts and in emoji."""
# Invisible characters go; overrides of the writing direction are not among them: they change what is seen.
INVISIBLE = f"\u00ad\u061c\u200b{JOINERS}\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Soft hyphen, zero-width characters, marks of the writing direction, byte order mark."""
HARD_SPACES = "\u00a0\u2007\u2008\u2009\u202f"
"""Spaces that do not break a line, or that group digits."""
SOFT_SPACES = "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u200a\u205f\u3000"
"""Spaces of other widths."""
