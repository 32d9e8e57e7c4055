"""From what a drill saw to its result: asks Prometheus and Alertmanager, once, for what the verdicts still need.

The verdicts themselves are pure (`verdict`, `detection`). What can no longer be asked is *not judged*; it is
never a failure and never a success.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from drills.engine import alerting, enforcing, faulted, flooded
from drills.engine.collateral import collateral
from drills.engine.period import Period
from drills.engine.quietness import judge_quietness
from drills.engine.result import Alert, Control, Drill, Enforcement, Quiet, Recovery
from drills.engine.seen import Expected, Seen
from drills.engine.verdict import judge_drill
from drills.engine.watch import Sources
from drills.playbook import Drill as Spec
from drills.playbook import WireguardInjection


def judge(
    spec: Spec, seen: Seen, expected: Sequence[Expected], quiet: Sequence[Expected], sources: Sources, period: Period
) -> Drill:
    """The drill's result."""
    control = enforcing.control(spec, seen)
    under = [] if seen.load is None else flooded.during(seen, seen.load, control)
    if seen.load is not None:
        enforcement = flooded.enforcement(seen, seen.load, under)
    elif seen.fault is None:
        enforcement = enforcing.enforcement(spec, seen, control)
    else:
        enforcement = faulted.enforcement(spec, seen, seen.fault, control)
    alerts = [alerting.judge(one, seen, enforcement, sources, period) for one in expected]
    quiets = [judge_quietness(one, seen, enforcement, sources, period) for one in quiet]
    recovery = seen.recovery or Recovery(verdict="not-verified", seconds=None, reason="the undo did not run")
    verdict, reasons = judge_drill(enforcement, control, alerts, quiets, recovery, period.aborted)
    return Drill(
        name=spec.name,
        verdict=verdict,
        reasons=reasons,
        started_at=_instant(seen.started),
        first_attempt_at=_instant(seen.attack_began) if seen.attacked else None,
        last_attempt_at=_instant(seen.attack_ended),
        finished_at=_instant(seen.observed_until),
        enforcement=enforcement,
        control=control,
        alerts=alerts,
        quiet=quiets,
        collateral=collateral([*expected, *quiet], seen, sources, period),
        recovery=recovery,
        during=under,
        flood=None if seen.load is None else flooded.numbers(seen.load),
    )


def lost(spec: Spec, seen: Seen, reason: str) -> Drill:
    """The result of a drill that broke off: nothing of it is judged, and whether all is put back is not known."""
    planned = 0 if isinstance(spec.injection, WireguardInjection) else spec.injection.attempts
    enforcement = Enforcement(
        verdict="inconclusive", reason=reason, attempts=0, planned=planned, denied=0, leaked=0, outcomes={}
    )
    control = Control(verdict="broken", reason=reason, attempts=0, succeeded=0)
    alerts = [
        Alert(
            name=one.name,
            verdict="not-judged",
            reason=reason,
            within_seconds=one.within,
            resolves_within_seconds=one.resolves_within,
        )
        for one in spec.expect.alerts
    ]
    quiets = [Quiet(name=name, verdict="not-judged", reason=reason) for name in spec.expect.quiet]
    recovery = seen.recovery or Recovery(verdict="not-verified", seconds=None, reason=reason)
    verdict, reasons = judge_drill(enforcement, control, alerts, quiets, recovery, None)
    return Drill(
        name=spec.name,
        verdict=verdict,
        reasons=reasons,
        started_at=_instant(seen.started),
        finished_at=_instant(time.time()),
        enforcement=enforcement,
        control=control,
        alerts=alerts,
        quiet=quiets,
        recovery=recovery,
    )


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
