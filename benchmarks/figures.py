"""What the benchmarks' command lines have in common: what they are told, and the figures as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["command_line", "filings_data", "tell"]


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows ``--out``, for a benchmark whose docstring says the rest."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    return parser


def filings_data(parser: argparse.ArgumentParser, folder: Path, holds: str = "index.csv") -> Path:
    """Return the folder with the filings data, or end with what is wrong with it."""
    if not (folder / holds).is_file():
        parser.error(f"{folder} has no {holds}; give the folder with the filings data as --data")
    return folder


def tell(figures: dict[str, Any], out: Path | None, *, aloud: bool = True) -> None:
    """Print the figures as JSON unless it is to be quiet, and write them to a file if one is named."""
    text = json.dumps(figures, indent=2)
    if aloud:
        print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
