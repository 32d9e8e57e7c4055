"""What would have to change where a drill did not pass: each problem beside the steps of whoever is to see to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drills.engine.result import Drill, Provenance, Quiet
from drills.report import look
from drills.report.proven import (
    Statement,
    Tone,
    of_alert,
    of_collateral,
    of_enforcement,
    of_paging,
    of_quiet,
    of_recovery,
    of_remarks,
    of_resolution,
)
from drills.report.record import DrillRecord
from drills.report.text import sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, what to do about it, and the expression of the alert rule that it is about ("" for none)."""

    tone: Tone
    problem: str
    steps: tuple[str, ...]
    rule: str = ""


def findings(drill: Drill, record: DrillRecord, provenance: Provenance) -> list[Finding]:
    """Everything that is not as it should be: what failed first, then what is not known, then what was not asked."""
    found = [
        *_stopped(drill),
        *_enforcement(drill, record, provenance),
        *_alerts(drill, provenance),
        *(one for quiet in drill.quiet for one in _quiet(quiet, provenance)),
        *_recovery(drill, record),
        *(
            _of(one, "Name it in the playbook if it belongs to the attack; else see what it tells of.")
            for one in of_collateral(drill)
        ),
    ]
    return sorted(found, key=lambda one: one.tone not in ("bad", "stop"))


def _of(statement: Statement, *steps: str, rule: str = "") -> Finding:
    return Finding(statement.tone, statement.text, tuple(dict.fromkeys(steps)), rule)


def _stopped(drill: Drill) -> Iterator[Finding]:
    if drill.verdict == "aborted":
        reasons = "; ".join(drill.reasons) or "no reason was recorded"
        yield Finding("stop", f"The drill was stopped: {reasons}.", ("See to what stopped it, then run it again.",))


def _enforcement(drill: Drill, record: DrillRecord, provenance: Provenance) -> Iterator[Finding]:
    yield from (_of(one, "The verdict does not rest on it, but somebody may.") for one in of_remarks(drill))
    statement = of_enforcement(drill)
    if statement.tone == "good" or (drill.verdict == "aborted" and statement.tone == "doubt"):
        return
    steps = [*look.enforcement_hints(drill.enforcement, drill.control), *look.control_hints(drill.control)]
    if statement.tone == "bad":
        steps = [*_deny(record), *_refused(provenance), *steps]
    yield _of(statement, *steps)


def _deny(record: DrillRecord) -> Iterator[str]:
    """What the policy must deny, as the playbook tried it."""
    if record.plan is not None and record.plan.attack:
        yield f"A policy must deny this: {record.plan.attack}."


def _refused(provenance: Provenance) -> Iterator[str]:
    """Policies that stand in the API and do nothing."""
    for policy in provenance.inputs.policies:
        if policy.valid is False:
            name = f"{policy.kind} {policy.namespace}/{policy.name}".replace(" /", " ")
            why = f": {sentence(policy.message)}" if policy.message else ""
            yield f"Cilium refuses {name}, so that it has no effect{why}."


def _alerts(drill: Drill, provenance: Provenance) -> Iterator[Finding]:
    for alert in drill.alerts:
        statement, rule = of_alert(alert), _rule(alert.name, provenance)
        hints = list(look.alert_hints(alert))
        late = list(of_resolution(alert))
        if statement.tone == "bad":
            yield _of(statement, *hints[: len(hints) - len(late)], rule=rule)
        elif statement.tone == "doubt":
            yield _of(statement, *(hints or ["It will be judged once everything above is in order."]))
        for one in late:
            yield _of(one, hints[-1], rule=rule)
        for one in of_paging(alert):
            yield _of(one, look.PAGED, rule=rule)
        if "marginal" in alert.flags:
            yield Finding(
                "doubt",
                f"{alert.name} was near its threshold: another time it may fall on the other side.",
                ("Attack at a higher rate, or move the threshold away from it and from the usual background.",),
                rule,
            )


def _quiet(quiet: Quiet, provenance: Provenance) -> Iterator[Finding]:
    statement = of_quiet(quiet)
    if statement.tone == "bad":
        yield _of(statement, look.NOISY, rule=_rule(quiet.name, provenance))
    elif statement.tone == "doubt":
        yield _of(statement, "It will be judged once the attack was made and its metrics were there throughout.")


def _recovery(drill: Drill, record: DrillRecord) -> Iterator[Finding]:
    statement = of_recovery(drill)
    if statement.tone != "good":
        left = [f"Still to be undone: {one.what}" for one in record.changes if one.undone is None]
        yield _of(statement, *left, *look.recovery_hints(drill.recovery))


def _rule(name: str, provenance: Provenance) -> str:
    rule = next((one for one in provenance.inputs.rules if one.name == name), None)
    return "" if rule is None else rule.original or rule.evaluated
