"""No YAML makes ``drills check`` fall over: 10,000 documents, grown from good ones by random damage."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.check import checks, reading
from drills.check.output import FORMATS
from drills.check.world import Options
from drills.source import load_documents

pytestmark = pytest.mark.lab  # promtool is asked, too

ROOT = Path(__file__).parents[2]
SEEDS = [
    document.data
    for folder in ("playbooks", "alerts/rules", "alerts/scenarios", "tests/unit/cilium", "tests/unit/playbook")
    for file in sorted((ROOT / folder).rglob("*.yaml"))
    for document in load_documents(file)
]
EXAMPLES = [
    data
    for rule in checks.RULES.values()
    if rule.name != "check/unreadable"
    for text in (rule.wrong, rule.right)
    for data in yaml.safe_load_all(text)
]
DOCUMENTS = 10_000
BATCH = 500  # documents in a file
JUNK: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**70, float("inf"), float("nan"), "", " ", "x", "*", "a" * 300, "\u0000", "☃",
    "0.0.0.0/0", "10.0.0.0/99", "53", "65536", "-1", "(?=x)", "[", "{{ x }}", "sum(rate(x[5m]))", "rate(x[", "5m",
    "1e9y", "true",
    [], {}, [None], [[]], [{}], {"": None}, {"a": {"b": []}}, ["x", 1, None, {}],
]  # fmt: skip


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with a key or index into it."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield data, key
            yield from places(value)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield data, index
            yield from places(value)


def damaged(data: Any, chance: random.Random, spare: list[Any]) -> Any:
    """A copy with one to four values replaced, taken from elsewhere, removed, or put under another key."""
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 4)):
        known = [
            (into, key) for into, key in places(data) if key not in ("apiVersion", "kind") or chance.random() < 0.1
        ]
        if not known:
            break
        into, key = chance.choice(known)
        match chance.randrange(4):
            case 0:
                into[key] = copy.deepcopy(chance.choice(JUNK))
            case 1:
                other, at = chance.choice(list(places(chance.choice(spare))) or [([None], 0)])
                into[key] = copy.deepcopy(other[at])
            case 2:
                del into[key]
            case _ if isinstance(into, dict):
                into[chance.choice(["ingress", "rules", "expr", "x", "spec", "match", "labels"])] = into.pop(key)
    return data


def test_nothing_makes_it_fall_over(tmp_path: Path) -> None:
    chance = random.Random(20261122)
    seeds = [each for each in [*SEEDS, *EXAMPLES] if isinstance(each, dict | list)]
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    for batch in range(DOCUMENTS // BATCH):
        documents = [damaged(chance.choice(seeds), chance, seeds) for _ in range(BATCH)]
        file = tmp_path / f"{batch}.yaml"
        file.write_text(yaml.dump_all(documents, Dumper=dumper, allow_unicode=True))
        found = checks.findings(reading.read([file], Options()))
        for render in FORMATS.values():
            render(found)
