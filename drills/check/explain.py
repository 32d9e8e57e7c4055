"""A rule's documentation, made from the rule itself: what ``drills explain`` prints and docs/findings holds."""

from __future__ import annotations

from collections.abc import Iterable

from drills.check.finding import Rule


def page(rule: Rule) -> str:
    """The documentation page of a rule, in Markdown."""
    return f"""\
# {rule.name}

{rule.title}. Level: {rule.level}.

## What is wrong

{rule.problem}

## What the cluster really does

{rule.effect}

## How to mend it

{rule.fix}

## Wrong

```yaml
{rule.wrong.strip()}
```

## Right

```yaml
{rule.right.strip()}
```

## Source

{rule.source}

To accept a finding at one place, write `# drills: ignore {rule.name} REASON` at the end of its line, or alone on the
line above it.
"""


def index(rules: Iterable[Rule]) -> str:
    """The page that lists them all, in Markdown."""
    rows = "\n".join(f"| [{each.name}]({each.name}.md) | {each.level} | {each.title} |" for each in rules)
    return f"# What `drills check` finds\n\n| rule | level | what |\n|---|---|---|\n{rows}\n"


def listing(rules: Iterable[Rule]) -> str:
    """Every rule in a line, for a terminal."""
    known = list(rules)
    width = max(len(each.name) for each in known)
    return "\n".join(f"{each.name:<{width}}  {each.level:<7}  {each.title}" for each in known)
