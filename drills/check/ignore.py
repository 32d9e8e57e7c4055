"""``# drills: ignore cilium/<rule> reason``: one finding silenced where it stands, with the reason beside it.

The comment stands at the end of the finding's line or on a line of its own above it. One that gives no reason, names no
rule, or silences nothing is itself a finding: a silence that nobody can explain outlives what it was for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.check.finding import Finding, Level, Rule
from drills.check.world import World
from drills.errors import InputError, Place
from drills.playbook.nearest import did_you_mean
from drills.source import read_text

_COMMENT = re.compile(r"(?:^|\s)#\s*drills:\s*ignore\b[ \t]*(?P<rule>\S*)[ \t]*(?P<reason>.*)$")
_ALONE = re.compile(r"^\s*#")
_POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: backend}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
"""

UNREASONED = Rule(
    name="check/ignore-without-reason",
    level=Level.ERROR,
    title="An ignore comment gives no reason",
    problem="`# drills: ignore RULE` must be followed by why the finding is accepted.",
    effect="The finding is not silenced.",
    fix="Write the reason behind the rule's name, or remove the comment.",
    wrong=_POLICY + "  # drills: ignore playbook/invalid\n",
    right=_POLICY,
    source="drills check",
)
UNKNOWN = Rule(
    name="check/ignore-unknown",
    level=Level.ERROR,
    title="An ignore comment names a rule that does not exist",
    problem="The rule's name is misspelt, or the rule is gone.",
    effect="Nothing is silenced.",
    fix="Use a name that `drills check` prints; `drills explain` lists them.",
    wrong=_POLICY + "  # drills: ignore cilium/no-such-rule the platform team accepts it\n",
    right=_POLICY,
    source="drills check",
)
UNUSED = Rule(
    name="check/ignore-unused",
    level=Level.WARNING,
    title="An ignore comment silences nothing",
    problem="The finding that it was written for is gone, or stands on another line. The comment belongs at the end of "
    "the finding's line, or alone on the line above it.",
    effect="The comment would silence a new mistake at this place that nobody has looked at.",
    fix="Remove the comment, or move it to the line that the finding names.",
    wrong=_POLICY + "  # drills: ignore playbook/invalid the platform team accepts it\n",
    right=_POLICY,
    source="drills check",
)
RULES = (UNREASONED, UNKNOWN, UNUSED)


@dataclass(frozen=True, slots=True)
class _Comment:
    place: Place
    rule: str
    reason: str
    line: int  # the line that it speaks of
    span: int


def silence(found: Iterable[Finding], world: World, rules: Mapping[str, Rule]) -> list[Finding]:
    """The findings that no comment silences, and what is wrong with the comments."""
    left = list(found)
    complaints: list[Finding] = []
    for comment in (each for file in _files(world, left) for each in _comments(file)):
        if comment.rule not in rules:
            hint = did_you_mean(comment.rule, sorted(rules), "rules")
            complaints.append(
                UNKNOWN.at(comment.place, f'no rule is called "{comment.rule}"; {hint}', span=comment.span)
            )
        elif not comment.reason:
            complaints.append(UNREASONED.at(comment.place, f"why is {comment.rule} ignored here?", span=comment.span))
        else:
            rest = [each for each in left if not _meant(comment, each)]
            if len(rest) == len(left):
                text = f"{comment.rule} is not found here"
                complaints.append(UNUSED.at(comment.place, text, span=comment.span))
            left = rest
    return left + complaints


def _meant(comment: _Comment, finding: Finding) -> bool:
    here = (finding.rule, str(finding.place.file), finding.place.line)
    return here == (comment.rule, str(comment.place.file), comment.line)


def _files(world: World, found: Sequence[Finding]) -> Iterator[Path]:
    documents = [*(each.document for each in world.objects), *(each.document for each in world.playbooks)]
    files = [each.file for each in (*documents, *world.rule_files, *world.alertmanagers)]
    for file in dict.fromkeys([*files, *(each.place.file for each in found)]):
        if isinstance(file, Path) and os.path.isfile(file):  # noqa: PTH113 - is_file raises where it may not look
            yield file


def _comments(file: Path) -> Iterator[_Comment]:
    text = _text(file)
    if "drills:" not in text:
        return
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        match = _COMMENT.search(line)
        if match is None:
            continue
        column = line.index("#", match.start()) + 1
        speaks_of = _next_line(lines, number) if _ALONE.match(line) else number
        yield _Comment(
            Place(file, number, column), match["rule"], match["reason"].strip(), speaks_of, len(line) - column + 1
        )


def _next_line(lines: Sequence[str], number: int) -> int:
    """The first line below that is no comment and not empty."""
    for below in range(number, len(lines)):
        if lines[below].strip() and not _ALONE.match(lines[below]):
            return below + 1
    return number


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except InputError:  # it is a finding already
        return ""
