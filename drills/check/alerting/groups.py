"""The rules of rule files and PrometheusRules, and playbooks' guards: whatever stands there, with its place.

Nothing is refused here. A rule whose expression cannot be parsed has no tree, and the checks that need one pass it by:
promtool is the judge of the syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alerts import promql
from drills.check.columns import NAME, FileText, Texts, word_place
from drills.check.world import Manifest, World
from drills.errors import Place
from drills.source import Document, KeyPath
from drills.units import parse_duration

DEEPEST = 200

_NESTING = re.compile(r"[()]")
_STEPS = {"(": 1, ")": -1}
_OPERATOR = re.compile(r"\b(?:or|and|unless)\b|(?<=\s)[-+*/%^](?=\s)|[-+]{2}")


@dataclass(frozen=True)
class RuleAt:
    """One rule, or a condition of a playbook's guards. ``data`` is a mapping; what is in it may be anything."""

    document: Document
    path: KeyPath  # to the rule
    data: Mapping[str, Any]
    group: Mapping[str, Any]
    text: FileText | None  # None where there is no file
    owner: Manifest | None = None  # the PrometheusRule
    guard: bool = False  # an item of a playbook's guards.abortWhen, which `path` leads to

    @property
    def alerting(self) -> bool:
        return "alert" in self.data

    @property
    def name(self) -> str:
        return str(self.data.get("alert") or self.data.get("record") or "")

    def __str__(self) -> str:
        if self.guard:
            return "the guard"
        return self.name or "a rule without a name"

    @property
    def expr_path(self) -> KeyPath:
        """To the expression."""
        return self.path if self.guard else (*self.path, "expr")

    @property
    def silent(self) -> str:
        """What becomes of it where its expression is always empty."""
        if self.guard:
            return "the guard never stops a run, whatever the attack does"
        if self.alerting:
            return f"{self} never fires, and Prometheus reports the rule as healthy"
        return f"{self} is never recorded, and what reads it is empty, too"

    @property
    def loud(self) -> str:
        """What becomes of it where its expression always has a result."""
        if self.guard:
            return "the guard stops every run before it attacks"
        return f"{self} {'fires' if self.alerting else 'is there'} for ever, whatever happens in the cluster"

    @cached_property
    def expr(self) -> str:
        """The expression; empty where there is none."""
        found = self.data.get("expr")
        if isinstance(found, str):
            return found
        return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""

    @cached_property
    def tree(self) -> Any:
        """The parsed expression; None where it cannot be parsed, or is too deep to be looked at."""
        if not self.expr.strip() or self.deep:
            return None
        try:
            return promql.parse(self.expr)
        except promql.PromqlError:
            return None

    @cached_property
    def deep(self) -> bool:
        """Whether parentheses or operators nest deeper than any rule that somebody wrote: the parser takes minutes."""
        depth = deepest = 0
        for match in _NESTING.finditer(self.expr):
            depth += _STEPS.get(match.group(), 0)
            deepest = max(deepest, depth)
        return deepest + len(_OPERATOR.findall(self.expr)) > DEEPEST

    @property
    def for_ms(self) -> int:
        """``for`` in milliseconds; 0 where it is absent or no duration."""
        return _milliseconds(self.data.get("for"))

    @property
    def interval_ms(self) -> int | None:
        """The group's own interval, if it has one."""
        return _milliseconds(self.group.get("interval")) or None

    def at(self, offset: int, word: str) -> Place:
        """The place in the file of a word that stands at an offset of the expression."""
        return word_place(self.text, self.document, self.expr_path, self.expr, offset, word)

    def place_in(self, line: int, column: int) -> Place:
        """The place in the file of a line and column of the expression, both from 1; of the word that stands there."""
        lines = self.expr.split("\n")
        offset = sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
        before = list(re.finditer(rf"{NAME}+", self.expr[:offset]))
        match = re.compile(rf"{NAME}+").match(self.expr, offset) or (before[-1] if before else None)
        return self.at(match.start(), match.group()) if match else self.document.place_of(self.expr_path)

    @property
    def first_word(self) -> tuple[int, str]:
        """Where the expression's first word stands in it, and the word."""
        match = re.search(rf"{NAME}+", self.expr)
        return (match.start(), match.group()) if match else (0, "")

    def find(self, word: str, number: int = 0) -> int:
        """The offset in the expression of the n-th occurrence (from 0) of a name outside of strings; 0 if none."""
        hits = [match.start() for match in _TOKEN.finditer(self.expr) if match["name"] == word]
        return hits[number] if number < len(hits) else (hits[0] if hits else 0)

    def find_after(self, word: str, offset: int) -> int:
        """The offset of the first occurrence of a name after another offset; that one if there is none."""
        hits = (match.start() for match in _TOKEN.finditer(self.expr, offset) if match["name"] == word)
        return next((hit for hit in hits if hit > offset or offset == 0), offset)


_TOKEN = re.compile(
    r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)""", re.DOTALL
)


def rules(world: World) -> Iterator[RuleAt]:
    """Every rule of the files, in their order."""
    texts = Texts()
    for document in world.rule_files:
        yield from _of_groups(document, ("groups",), document.data.get("groups"), texts, None)
    for manifest in world.prometheus_rules:
        spec = manifest.data.get("spec")
        found = spec.get("groups") if isinstance(spec, dict) else None
        yield from _of_groups(manifest.document, (*manifest.at, "spec", "groups"), found, texts, manifest)


def guards(world: World) -> Iterator[RuleAt]:
    """The conditions on which playbooks stop a run, as if they were rules."""
    texts = Texts()
    for loaded in world.playbooks:
        path: KeyPath = ("spec", "guards", "abortWhen")
        found: Any = loaded.document.data
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        listed = [((*path, index), each) for index, each in enumerate(found)] if isinstance(found, list) else []
        whole: Mapping[str, Any] = {}
        for at, expr in listed or [(path, found)]:
            if isinstance(expr, str):
                data = {"expr": expr}
                yield RuleAt(loaded.document, at, data, whole, texts.of(loaded.document), guard=True)


def _of_groups(
    document: Document, path: KeyPath, groups: Any, texts: Texts, owner: Manifest | None
) -> Iterator[RuleAt]:
    for number, group in enumerate(groups if isinstance(groups, list) else ()):
        found = group.get("rules") if isinstance(group, dict) else None
        for index, rule in enumerate(found if isinstance(found, list) else ()):
            if isinstance(rule, dict):
                yield RuleAt(document, (*path, number, "rules", index), rule, group, texts.of(document), owner)


def _milliseconds(found: Any) -> int:
    try:
        return parse_duration(found) if isinstance(found, str) else 0
    except ValueError:
        return 0
