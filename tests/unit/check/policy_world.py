"""Policies as ``drills check`` sees them, without a file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from drills.check import policies
from drills.check.finding import Finding
from drills.check.world import Manifest, Options, World
from drills.source import parse_documents

UNIT = Path(__file__).parents[1]


@cache
def documents(name: str) -> dict[str, str]:
    """The documents of a file below tests/unit, by their objects' names, as text."""
    texts = (UNIT / name).read_text().split("\n---\n")
    return {yaml.safe_load(text)["metadata"]["name"]: text for text in texts}


def world(text: str, **options: Any) -> World:
    """The objects of a text."""
    objects = [Manifest(each, each.data) for each in parse_documents(text, "given.yaml") if isinstance(each.data, dict)]
    return World(objects=objects, options=Options(**options))


def check(text: str, **options: Any) -> list[Finding]:
    """What the checks of policies find in a text, in its order."""
    return sorted(policies.check(world(text, **options)), key=lambda each: each.key)


def rules(found: list[Finding]) -> list[str]:
    """Names without their group, in the order of the text."""
    return [each.rule.removeprefix("cilium/") for each in found]
