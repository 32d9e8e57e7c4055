"""The same findings in every format; what stands in a file cannot steer a terminal, a workflow or a viewer."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from drills.check.checks import RULES
from drills.check.finding import Finding
from drills.check.output import FORMATS, github, plain, sarif, text
from drills.errors import Place

SARIF_SCHEMA = json.loads((Path(__file__).parent / "sarif-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SARIF_SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)
UNREADABLE = RULES["check/unreadable"]


def finding(
    file: Path | str = "policy.yaml", line: int = 2, column: int = 7, message: str = "wrong", span: int = 4
) -> Finding:
    return UNREADABLE.at(Place(file, line, column), message, span=span)


def test_the_contract_of_json() -> None:
    (found,) = json.loads(plain.render([finding()]))
    assert found == {
        "rule": "check/unreadable", "level": "error", "file": "policy.yaml", "line": 2, "column": 7,
        "message": "wrong", "effect": UNREADABLE.effect, "fix": UNREADABLE.fix,
    }  # fmt: skip


def test_nothing_wrong_is_an_empty_list() -> None:
    assert json.loads(plain.render([])) == []


@pytest.mark.parametrize(
    "found",
    [
        [],
        [finding()],
        [finding(message='<script>\n"quotes" \\ \u2028 ☃'), finding(file="a b/ü#?.yaml")],
        [finding(file=Path("/abs/p.yaml"))],
        [rule.at(Place("p.yaml", 1, 1), rule.title) for rule in RULES.values()],
    ],
    ids=["none", "one", "odd", "absolute", "every rule"],
)
def test_sarif_is_valid_against_its_schema(found: list[Finding]) -> None:
    log = json.loads(sarif.render(found))
    assert [error.message for error in VALIDATOR.iter_errors(log)] == []
    (run,) = log["runs"]
    assert [each["ruleId"] for each in run["results"]] == [each.rule for each in found]
    ids = [each["id"] for each in run["tool"]["driver"]["rules"]]
    assert all(ids[each["ruleIndex"]] == each["ruleId"] for each in run["results"])


def test_the_schema_refuses_what_is_no_sarif() -> None:
    log = json.loads(sarif.render([finding()]))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not VALIDATOR.is_valid(log)


def test_a_caret_stands_under_what_is_meant(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("a: 1\nspec: oops here\n")
    shown = text.render([finding(file)]).splitlines()
    assert shown[1:3] == ["  2 | spec: oops here", "    |       ^^^^"]


def test_the_caret_follows_a_line_that_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text("x" * 500 + "WRONG" + "y" * 500)
    _, source, caret, *_ = text.render([finding(file, 1, 501, span=5)]).splitlines()
    assert source[caret.index("^") :].startswith("WRONG")
    assert caret.count("^") == 5


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("a: b\n# \x1b[2Jhidden\n")
    assert "\x1b" not in text.render([finding(file, message="\x1b]0;title\x07")])


def test_a_workflow_command_cannot_be_broken_out_of() -> None:
    said = github.render([finding(file="a,b:c.yaml", message="one\n::error::two % done")])
    assert said.count("\n") == 1
    assert said.startswith(
        "::error file=a%2Cb%3Ac.yaml,line=2,col=7,title=check/unreadable::one%0A::error::two %25 done"
    )


def test_every_format_of_the_command_is_there() -> None:
    assert list(FORMATS) == ["text", "json", "sarif", "github"]
