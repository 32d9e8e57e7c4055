"""Findings as text, JSON, SARIF and GitHub annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from drills.check.finding import Finding
from drills.check.output import github, plain, sarif, text

FORMATS: Final[Mapping[str, Callable[[Sequence[Finding]], str]]] = MappingProxyType(
    {"text": text.render, "json": plain.render, "sarif": sarif.render, "github": github.render}
)
