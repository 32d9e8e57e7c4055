"""A run of one playbook: its journal, its poller, its drills side by side, its result."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alerts.promql import parse
from alerts.timelapse import scale_expression
from drills.engine import preflight, provenance, schedule
from drills.engine.drill import Context, DrillRun, know
from drills.engine.events import Listener, RunFinished, RunStarted
from drills.engine.flood import locustfile
from drills.engine.following import Following
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.neighbours import Neighbour
from drills.engine.records import Records
from drills.engine.result import Result, TargetSummary
from drills.engine.schedule import Plan
from drills.engine.target import Target
from drills.engine.together import Together
from drills.engine.verdict import run_verdict
from drills.engine.watch import Watch
from drills.errors import InputError
from drills.playbook import Drill, FloodInjection, Playbook

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Job:
    """A playbook to run, and what of it."""

    path: Path
    playbook: Playbook
    only: tuple[str, ...] = ()

    def drills(self) -> tuple[str, ...]:
        """The names of the drills that run."""
        return tuple(one.name for one in self.chosen())

    def chosen(self) -> list[Drill]:
        """The drills that run."""
        return [one for one in self.playbook.drills if not self.only or one.name in self.only]


def select(playbooks: Sequence[tuple[Path, Playbook]], only: Sequence[str]) -> list[Job]:
    """The jobs of a command line; InputError for a drill that is in none of them, or two playbooks of one name."""
    known = {drill.name for _, playbook in playbooks for drill in playbook.drills}
    for name in only:
        if name not in known:
            raise InputError(f"There is no drill {name}; there are {', '.join(sorted(known))}.")
    names = [playbook.name for _, playbook in playbooks]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise InputError(f"Two of the playbooks are called {double}: their results would overwrite each other.")
    jobs = [Job(path, playbook, tuple(only)) for path, playbook in playbooks]
    for job in jobs:
        check_alone(job.playbook, job.chosen())
    return [job for job in jobs if job.drills()]


def check_alone(playbook: Playbook, drills: Sequence[Drill]) -> None:
    """InputError for what a run of these drills would refuse whatever its target is: the playbook alone tells."""
    for drill in drills:
        preflight.check_built(drill)
        preflight.check_namespaces(drill, playbook)
        if isinstance(drill.injection, FloodInjection):
            locustfile(drill.injection)
    conditions(playbook, 1.0)


def check(job: Job, target: Target) -> None:
    """What `run` would refuse before anything is made, and nothing else: InputError, WorldError."""
    watch = Watch(target.poll_sources, conditions(job.playbook, target.time_lapse))  # it never polls
    interrupt = Interrupt(lambda _: None)
    for drill in job.chosen():
        alerts = Following(drill, target, target.sources(), watch, interrupt, lambda *_: None)
        know(drill, job.playbook, target, alerts)


def run(job: Job, target: Target, directory: Path, listener: Listener, interrupt: Interrupt) -> Result:
    """Run one playbook; ``directory`` exists and takes the journal.

    InputError for what could not end well (refused before anything is made), WorldError where the target does not
    answer at all. Whatever happens during a drill ends in its verdict.
    """
    started = datetime.now(UTC)
    name = f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    playbook = job.playbook
    watch = Watch(target.poll_sources, conditions(playbook, target.time_lapse))
    offset = provenance.offset(target.poll_sources())
    with Journal(directory / JOURNAL, _now, Records(target.cluster), name, playbook.name) as journal:
        journal.write("run", run=name, playbook=playbook.name, target=target.name, time_lapse=target.time_lapse)
        listener(RunStarted(name, playbook.name, target.name, target.time_lapse, job.drills()))
        watch.start()
        try:
            context = Context(name, playbook, target, journal, watch, listener, interrupt)
            runs = [DrillRun(drill, context) for drill in job.chosen()]
            for one in runs:
                one.know()  # whatever is wrong with any of them is refused before the first begins
            plan = planned(playbook, [one.drill for one in runs], target)
            journal.write("schedule", **in_words(plan))
            context.neighbours.drills = {
                one.drill.name: Neighbour(plan.footprints[one.drill.name], one.seen, one.drill.expect.alerts)
                for one in runs
            }
            ended = Together(plan, {one.drill.name: one for one in runs}, interrupt).run()
            found = [ended[one.drill.name] for one in runs if one.drill.name in ended]
            verdict = run_verdict(found, cut_short=len(found) < len(runs))
            journal.write("finished", verdict=verdict)
            result = Result(
                run=name,
                playbook=playbook.name,
                verdict=verdict,
                target=TargetSummary(kind=target.kind, time_lapse=target.time_lapse, name=target.name),
                started_at=started,
                finished_at=datetime.now(UTC),
                drills=found,
                provenance=provenance.gather(job.path, target, journal, watch, runs, found, offset),
            )
        finally:
            watch.close()
    listener(RunFinished(result))
    return result


def planned(playbook: Playbook, drills: Sequence[Drill], target: Target) -> Plan:
    """In which order drills begin on a target, by the rules that its Prometheus has. WorldError if it does not say."""
    prometheus = target.sources().prometheus
    scrape_ms = prometheus.config().scrape_interval_ms
    rules = [preflight.watched(rule, scrape_ms) for group in prometheus.rules() for rule in group.rules]
    return schedule.plan(playbook, drills, rules, target.time_lapse)


def in_words(plan: Plan) -> dict[str, Any]:
    """A plan for the journal: the order, what each drill waits for and why, the longest chain, the wall seconds."""
    waits = {
        one.drill: {wait.drill: {"until": wait.conflict.until, "why": wait.conflict.reasons} for wait in one.waits}
        for one in plan.drills
    }
    order = [one.drill for one in plan.drills]
    return {"order": order, "waits": waits, "chain": plan.chain, "seconds": round(plan.seconds, 1)}


def conditions(playbook: Playbook, time_lapse: float) -> tuple[str, ...]:
    """The guards' PromQL on the target's clock; InputError for what is not PromQL or cannot be scaled exactly."""
    for one in playbook.guards.abort_when:
        parse(one)
    return tuple(scale_expression(one, round(time_lapse), "guards.abortWhen") for one in playbook.guards.abort_when)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def default_out() -> Path:
    """Where results go if nobody says: a new directory for every run."""
    return Path("drills-out") / time.strftime("%Y%m%d-%H%M%S")
