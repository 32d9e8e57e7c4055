"""What an auditor asks for: versions, inputs by hash, who, every change with its undo, whose clock.

Gathered once, at the end of a run. What cannot be asked any more is left out, and named under ``notJudged``.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from alerts.alertmanager import Alertmanager
from alerts.prometheus import Prometheus
from drills.engine import feasible, unjudged, versions
from drills.engine.drill import DrillRun
from drills.engine.journal import Journal
from drills.engine.result import (
    Clock,
    Drill,
    ImageInput,
    Inputs,
    PolicyInput,
    Provenance,
    ReplicaInput,
    RuleInput,
    TargetInput,
)
from drills.engine.seen import Seen
from drills.engine.target import Target
from drills.engine.watch import POLL_SECONDS, Sources, Watch
from drills.errors import WorldError
from drills.kube import Service

GAP = 4 * POLL_SECONDS  # between two polls: longer ones are told
ACTOR_VARIABLES = ("CI_JOB_URL", "GITHUB_RUN_ID", "BUILD_URL", "DRILLS_REASON")  # reason: a ticket, a game day's name


def gather(
    playbook: Path,
    target: Target,
    journal: Journal,
    watch: Watch,
    runs: Sequence[DrillRun],
    found: Sequence[Drill],
    offset_at_start: float | None,
) -> Provenance:
    """Everything; the journal is complete by now, so that its hash holds."""
    sources = target.sources()
    seen = [one.seen for one in runs]
    unasked = {one.drill.name: one.seen.unasked for one in runs}
    known, lacking = versions.ask(target, sources, sorted({actor.node for one in seen for actor in one.actors}))
    return Provenance(
        versions=known,
        images=_images(seen),
        replicas=_replicas(target, sources),
        inputs=Inputs(
            playbook=hashlib.sha256(playbook.read_bytes()).hexdigest(),
            policies=_unique(policy for one in seen for policy in one.policies),
            rules=_rules(target, watch, runs),
            alertmanager=_alertmanager_hash(sources),
            sources=[actor for one in seen for actor in one.actors],
            targets=_targets(target, runs),
        ),
        actor=_actor(target),
        changes=journal.changes(),
        processes=_processes(watch, seen),
        clock=Clock(
            source=f"Prometheus at {target.addresses.prometheus}",
            offset_at_start=offset_at_start,
            offset_at_end=offset(target.poll_sources()),
            poll_gaps=_gaps(watch, seen),
        ),
        journal=journal.digest(),
        not_judged=[
            *(text for drill in found for text in unjudged.of(drill)),
            *(f"{name}: {text}" for name, texts in unasked.items() for text in texts),
            *lacking,
        ],
    )


def offset(sources: Sources) -> float | None:
    """Prometheus's clock minus ours, in wall seconds; None if it does not answer."""
    try:
        before = time.time()
        theirs = sources.prometheus.now()
        return round(theirs - (before + time.time()) / 2, 3)
    except WorldError:
        return None


def _ask(questions: Iterable[tuple[str, Callable[[], str]]]) -> dict[str, str]:
    found = {}
    for name, question in questions:
        try:
            found[name] = question()
        except WorldError as error:
            found[f"{name} (unknown)"] = str(error)
    return found


def _replicas(target: Target, sources: Sources) -> list[ReplicaInput]:
    """Who was asked about alerts, and which process answered; one that no longer does has neither version nor start."""
    found = [_prometheus(each.prometheus) for each in sources.each()]
    if sources.alertmanager is not None:
        found.append(_alertmanager(sources.alertmanager))
    if target.addresses.receiver is not None:
        found.append(ReplicaInput(kind="receiver", url=target.addresses.receiver))
    return found


def _prometheus(asked: Prometheus) -> ReplicaInput:
    url = asked.url
    try:
        build, runtime = asked.buildinfo(), asked.runtimeinfo()
    except WorldError:
        return ReplicaInput(kind="prometheus", url=url)
    started = datetime.fromtimestamp(runtime.start_time, tz=UTC)
    return ReplicaInput(kind="prometheus", url=url, version=build.version, revision=build.revision, started_at=started)


def _alertmanager(asked: Alertmanager) -> ReplicaInput:
    try:
        status = asked.status()
    except WorldError:
        return ReplicaInput(kind="alertmanager", url=asked.url)
    started = datetime.fromtimestamp(status.started_at, tz=UTC)
    return ReplicaInput(kind="alertmanager", url=asked.url, version=status.version, started_at=started)


def _images(seen: Sequence[Seen]) -> list[ImageInput]:
    """Every image once, with the pods that ran it."""
    pods: dict[tuple[str, str], set[str]] = {}
    for one in seen:
        for image in one.images:
            pods.setdefault((image.image, image.image_id), set()).update(image.pods)
    return [ImageInput(image=image, image_id=known, pods=sorted(of)) for (image, known), of in sorted(pods.items())]


def _rules(target: Target, watch: Watch, runs: Sequence[DrillRun]) -> list[RuleInput]:
    """Every rule that a drill names, and every recording rule behind one: as its author wrote it, and as Prometheus
    evaluated it.
    """
    named = [one for run in runs for one in (*run.expected, *run.quiet)]
    names = {one.wanted.name for one in named}
    try:
        originals = target.cluster.written_rules().expressions
    except WorldError:
        originals = {}
    records = dict.fromkeys(record for one in named for record in one.behind)
    recorded = [
        RuleInput(
            name=record.name,
            original=originals.get((record.name, record.group)),
            evaluated=record.query,
            sha256=hashlib.sha256(repr(record.text).encode()).hexdigest(),
        )
        for record in records
    ]
    return recorded + [
        RuleInput(
            name=rule.name,
            original=originals.get((rule.name, rule.group)),
            evaluated=rule.query,
            for_seconds=rule.for_ms * target.time_lapse / 1000,
            keep_firing_for_seconds=rule.keep_firing_ms * target.time_lapse / 1000,
            sha256=hashlib.sha256(f"{rule.query}\n{rule.for_ms}\n{rule.keep_firing_ms}".encode()).hexdigest(),
        )
        for rule in watch.latest().rules
        if rule.name in names
    ]


def _targets(target: Target, runs: Sequence[DrillRun]) -> list[TargetInput]:
    """Where the attacks and controls went: a Service with what is behind it, or a name outside."""
    hosts = dict(end for run in runs for end in feasible.ends(run.drill))
    attacked = {(one.namespace, one.name): one for run in runs if (one := run.seen.service) is not None}
    return [_target(target, host, service, attacked) for host, service in hosts.items()]


def _target(
    target: Target, host: str, named: tuple[str, str] | None, attacked: Mapping[tuple[str, str], Service]
) -> TargetInput:
    """As it stood when it was attacked; one that only a control went to, as it stands now."""
    service = None if named is None else attacked.get(named)
    try:
        service = target.cluster.service(*named) if service is None and named is not None else service
    except WorldError:
        service = None
    if service is None:
        return TargetInput(host=host, address=None)
    backends = [f"{one.pod or '?'} on {one.node or '?'} at {one.address}" for one in service.backends]
    return TargetInput(host=host, address=service.cluster_ip, backends=backends)


def _alertmanager_hash(sources: Sources) -> str:
    if sources.alertmanager is None:
        return ""
    try:
        return hashlib.sha256(sources.alertmanager.status().config.encode()).hexdigest()
    except WorldError:
        return ""


def _actor(target: Target) -> dict[str, str]:
    found = {"user": _user(), "host": platform.node(), "context": target.name}
    found |= {key: os.environ[key] for key in ACTOR_VARIABLES if key in os.environ}
    return found | _ask([("clusterUid", target.cluster.uid), ("kubernetesUser", target.cluster.user)])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return str(os.getuid())


def _processes(watch: Watch, seen: Sequence[Seen]) -> dict[str, list[datetime]]:
    """When Prometheus and the agents started, as seen at any time of the run."""
    began = min((one.started for one in seen), default=0.0)
    found: dict[str, set[float]] = {"prometheus": set()}
    for snapshot in watch.between(began, time.time()):
        for number, replica in enumerate(snapshot.each(), 1):
            if replica.process is not None:
                name = "prometheus" if number == 1 else f"prometheus {number}"
                found.setdefault(name, set()).add(replica.process.start_time)
    for one in seen:
        for reading in (one.counter_before, one.counter_after):
            for instance, start in reading.starts if reading is not None else ():
                found.setdefault(f"agent {instance}", set()).add(start)
    return {name: [datetime.fromtimestamp(at, tz=UTC) for at in sorted(times)] for name, times in found.items()}


def _gaps(watch: Watch, seen: Sequence[Seen]) -> list[float]:
    began = min((one.started for one in seen), default=0.0)
    times = [one.at for one in watch.between(began, time.time()) if one.answered]
    return [round(later - earlier, 3) for earlier, later in pairwise(times) if later - earlier > GAP]


def _unique(policies: Iterable[PolicyInput]) -> list[PolicyInput]:
    return list({(one.uid, one.generation): one for one in policies}.values())
