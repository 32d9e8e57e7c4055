"""What ran: the versions behind a verdict, each asked of what runs it, and a sentence for each that would not tell."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import drills
from drills.engine.target import Target
from drills.engine.watch import Sources
from drills.errors import WorldError


def ask(target: Target, sources: Sources, nodes: Sequence[str]) -> tuple[dict[str, str | None], list[str]]:
    """Versions by name, None for one that nobody tells, and why it is so. ``nodes``: those of the attack."""
    cluster, alertmanager = target.cluster, sources.alertmanager
    questions: list[tuple[str, Callable[[], str]]] = [
        ("kernel", lambda: cluster.kernels(nodes)),
        ("kubernetes", cluster.version),
        ("cilium", cluster.cilium_version),
        ("envoy", lambda: cluster.envoy_version(nodes)),
        ("prometheus", lambda: sources.prometheus.buildinfo().version),
    ]
    if alertmanager is not None:
        questions.append(("alertmanager", lambda: alertmanager.status().version))
    found: dict[str, str | None] = {"drills": drills.__version__, "python": platform.python_version()}
    if commit := _commit():
        found["commit"] = commit
    lacking = []
    for name, question in questions:
        try:
            found[name] = question() or None
            why = "nothing that runs there says so"
        except WorldError as error:
            found[name], why = None, str(error)
        if found[name] is None:
            lacking.append(f"the version of {name}: {why}")
    return found, lacking


def _commit() -> str | None:
    """The commit of a checkout that this package runs from; None for an installed one."""
    root = Path(drills.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
