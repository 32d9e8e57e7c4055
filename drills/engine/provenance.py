"""What an auditor asks for: versions, inputs by hash, who, every change with its undo, whose clock."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from drills import __version__
from drills.engine.journal import Journal
from drills.engine.result import Clock, Drill, Inputs, PolicyInput, Provenance, RuleInput
from drills.engine.seen import Seen
from drills.engine.target import Target
from drills.engine.watch import POLL_SECONDS, Sources, Watch
from drills.errors import WorldError

GAP = 4 * POLL_SECONDS  # between two polls: longer ones are told


def gather(
    playbook: Path, target: Target, journal: Journal, watch: Watch, seen: Sequence[Seen], drills: Sequence[Drill]
) -> Provenance:
    """Everything at the end of a run; what cannot be asked is left empty."""
    sources = target.sources()
    return Provenance(
        versions=_versions(target, sources),
        inputs=Inputs(
            playbook=hashlib.sha256(playbook.read_bytes()).hexdigest(),
            policies=_unique(policy for one in seen for policy in one.policies),
            rules=_rules(target, watch, drills),
            alertmanager=_alertmanager_hash(sources),
            sources=[actor for one in seen for actor in one.actors],
        ),
        actor=_actor(target),
        changes=journal.changes(),
        clock=Clock(source="prometheus", offset_seconds=_offset(sources), poll_gaps=_gaps(watch, seen)),
        journal=journal.digest(),
        not_judged=[reason for drill in drills for reason in drill.reasons if "not judged" in reason],
    )


def _versions(target: Target, sources: Sources) -> dict[str, str]:
    found = {"drills": __version__, "python": platform.python_version(), "kernel": platform.release()}
    try:
        found["kubernetes"] = target.cluster.version()
        found["cilium"] = target.cluster.cilium_version()
        found["prometheus"] = sources.prometheus.buildinfo().version
        if sources.alertmanager is not None:
            found["alertmanager"] = sources.alertmanager.status().version
    except WorldError as error:
        found["unknown"] = str(error)
    return found


def _rules(target: Target, watch: Watch, drills: Sequence[Drill]) -> list[RuleInput]:
    """Every rule that a drill names: as its author wrote it, and as Prometheus evaluated it."""
    names = {one.name for drill in drills for one in drill.alerts} | {one.name for d in drills for one in d.quiet}
    try:
        originals = target.cluster.alert_expressions()
    except WorldError:
        originals = {}
    return [
        RuleInput(
            name=rule.name,
            original=originals.get((rule.name, rule.group)),
            evaluated=rule.query,
            sha256=hashlib.sha256(f"{rule.query}\n{rule.for_ms}\n{rule.keep_firing_ms}".encode()).hexdigest(),
        )
        for rule in watch.latest().rules
        if rule.name in names
    ]


def _alertmanager_hash(sources: Sources) -> str:
    if sources.alertmanager is None:
        return ""
    try:
        return hashlib.sha256(sources.alertmanager.status().config.encode()).hexdigest()
    except WorldError:
        return ""


def _actor(target: Target) -> dict[str, str]:
    found = {"user": getpass.getuser(), "host": platform.node(), "context": target.name}
    found |= {key: os.environ[key] for key in ("CI_JOB_URL", "GITHUB_RUN_ID", "BUILD_URL") if key in os.environ}
    try:
        found |= {"clusterUid": target.cluster.uid(), "kubernetesUser": target.cluster.user()}
    except WorldError as error:
        found["unknown"] = str(error)
    return found


def _offset(sources: Sources) -> float | None:
    """Prometheus's clock minus ours, in wall seconds."""
    try:
        before = time.time()
        theirs = sources.prometheus.now()
        return round(theirs - (before + time.time()) / 2, 3)
    except WorldError:
        return None


def _gaps(watch: Watch, seen: Sequence[Seen]) -> list[float]:
    began = min((one.started for one in seen), default=0.0)
    times = [one.at for one in watch.between(began, time.time())]
    return [round(later - earlier, 3) for earlier, later in pairwise(times) if later - earlier > GAP]


def _unique(policies: Iterable[PolicyInput]) -> list[PolicyInput]:
    return list({(one.uid, one.generation): one for one in policies}.values())
