#!/usr/bin/env python3
"""Write docs/findings: one page for everything that ``drills check`` finds, made from the checks themselves.

Run it after changing a rule's texts: ``make docs``. A test says when it was forgotten.
"""

from __future__ import annotations

from pathlib import Path

from drills.check import explain
from drills.check.checks import RULES

OUT = Path(__file__).parent.parent / "docs/findings"


def main() -> None:
    """Write every page, and remove those of rules that are gone."""
    pages = {OUT / f"{name}.md": explain.page(rule) for name, rule in RULES.items()}
    pages[OUT / "README.md"] = explain.index(RULES.values())
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in OUT.rglob("*.md"):
        if path not in pages:
            path.unlink()


if __name__ == "__main__":
    main()
