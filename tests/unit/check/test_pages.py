"""The documentation pages are those that the checks make, and no page is left of a rule that is gone."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from drills.check import explain
from drills.check.checks import RULES
from drills.cli import cli

DOCS = Path(__file__).parents[3] / "docs/findings"


def test_there_is_a_page_for_every_rule_and_no_other() -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert pages == {"README", *RULES}


def test_the_pages_are_up_to_date() -> None:
    stale = [name for name, rule in RULES.items() if (DOCS / f"{name}.md").read_text() != explain.page(rule)]
    assert stale == [], "run `make docs`"
    assert (DOCS / "README.md").read_text() == explain.index(RULES.values()), "run `make docs`"


def test_explain_prints_the_page() -> None:
    done = CliRunner().invoke(cli, ["explain", "check/unreadable"])
    assert (done.exit_code, done.output) == (0, (DOCS / "check/unreadable.md").read_text())


def test_explain_without_a_name_lists_them_all() -> None:
    done = CliRunner().invoke(cli, ["explain"])
    assert [line.split()[0] for line in done.output.splitlines()] == list(RULES)
