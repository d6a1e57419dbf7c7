"""Command-line options of a measurement in rounds."""

import argparse
from pathlib import Path


def read(program: str, description: str | None, *, licenses: int, choice: bool = False) -> argparse.Namespace:
    """`licenses`: default number. `choice`: whether contenders may be left out."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each contender is loaded in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--licenses", type=int, default=licenses)
    if choice:
        only = "contenders with this in their name, and the first; may be given several times"
        parser.add_argument("--only", action="append", default=[], metavar="WORD", help=only)
    parser.add_argument("--json", type=Path, help="where to write the figures of every round")
    return parser.parse_args()
