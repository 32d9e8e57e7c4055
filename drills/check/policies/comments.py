"""What people write beside a value: a comment at the end of its line, or alone on the line above."""

from __future__ import annotations

import re

from drills.check.output.text import source_lines
from drills.check.world import Manifest
from drills.source import KeyPath


def comment_at(manifest: Manifest, path: KeyPath, wanted: re.Pattern[str]) -> str | None:
    """The words of a comment that matches, beside the value or above it; None where there is none."""
    place = manifest.place(*path)
    lines = source_lines(place.file)
    beside = lines[place.line - 1 : place.line]
    above = [line for line in lines[max(0, place.line - 2) : place.line - 1] if line.lstrip().startswith("#")]
    for line in (*beside, *above):
        found = wanted.search(line)
        if found is not None:
            return line[found.start() :].lstrip("# ").strip()
    return None
