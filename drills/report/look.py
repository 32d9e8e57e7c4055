"""What to look at when something failed: for each way in which a drill fails, the next step of whoever is on call."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.stopped import StoppedAt
from drills.engine.result import Alert, Control, Drill, Enforcement, Recovery

STOPPED: dict[StoppedAt, str] = {
    "rule-not-loaded": "Is the PrometheusRule applied, in a namespace and with labels that Prometheus selects? "
    "kubectl get prometheusrules -A",
    "rule-error": "Prometheus refuses the rule: its Rules page shows the error, promtool check rules the line.",
    "no-series": "Compare the metric's name with what the agents export, and see that their scrape targets are up.",
    "no-match": "The metric is there, the label values are not: compare the rule's selectors with the series' labels.",
    "birth": "The attack gave birth to the series, and increase() misses a first value: make the rule newborn-safe.",
    "below-threshold": "The expression stayed below its threshold: lower it, or attack at the rate it is meant for.",
    "condition-too-short": "The condition held for less than the rule's `for`: shorten `for`, or widen the range.",
    "pending": "The alert was still pending when the drill stopped waiting: compare the rule's `for` with `within`.",
    "not-at-alertmanager": "Prometheus fires and Alertmanager does not know: see Prometheus's alerting section.",
    "silenced": "A silence covers the alert: amtool silence query; who made it, and until when?",
    "inhibited": "Another alert inhibits this one: see inhibit_rules in Alertmanager's configuration.",
    "time-muted": "The route is muted at this time: see mute_time_intervals and active_time_intervals.",
    "wrong-receiver": "The alert is routed to another receiver: amtool config routes test, with the alert's labels.",
    "receiver-failed": "The receiver does not take the notification: see Alertmanager's log and its address.",
    "deduplicated": "The group had been notified already: see group_by, group_interval and repeat_interval.",
    "unknown": "No single cause was found: the journal has every stage that was seen.",
}


CLEAR = (
    "What do the nodes say (cilium-dbg encrypt status), and by which route do pod packets leave without the tunnel? "
    "Cilium's strict mode (encryption.strictMode) drops them instead."
)
PAGED = (
    "Compare the alert's labels at Alertmanager with those of the silence in journal.jsonl: alert_relabel_configs may "
    "have changed them."
)
NOISY = "What fired it? Its rule is too wide, or something else happens."


def enforcement_hints(enforcement: Enforcement, control: Control) -> Iterator[str]:
    """For a policy that did not hold, or of which nothing is known."""
    if any(one.kind == "capture" for one in enforcement.evidence):
        if enforcement.verdict != "held":
            yield CLEAR
        return
    if enforcement.verdict == "breached":
        yield (
            "Does a policy select the target's pods, is it VALID, and does none allow more than it should? "
            "kubectl get cnp,ccnp -A"
        )
        if not enforcement.leaked:
            yield "Something behind the policy answers like a denial: the application, a proxy or a mesh."
    elif enforcement.verdict == "inconclusive" and control.verdict == "up":
        yield "Are the agents' metrics and Hubble readable, and did nothing else stop the attempts? See the evidence."


SMALL_LOAD = (
    "What limits the load: Locust's pods, the way, or the target? See its numbers. In the lab a smaller --time-lapse "
    "asks for fewer requests a second of the machine."
)


def control_hints(control: Control) -> Iterator[str]:
    """For a path that was not up."""
    if control.verdict != "up":
        yield (
            "Are the target's pods ready, has its Service endpoints, does the name resolve, and does a policy allow "
            "the control?"
        )


def alert_hints(alert: Alert) -> Iterator[str]:
    """For an alert that did not come as it should."""
    if alert.stopped_at is not None:
        yield STOPPED[alert.stopped_at]
    elif alert.verdict == "premature":
        yield "What made it fire before? Let it resolve, or raise its threshold above the usual background."
    elif alert.verdict == "late":
        yield "See `for`, the range and the evaluation interval of its rule, and group_wait of its route."
    if alert.resolution in {"too-late", "not-resolved"}:
        yield "See what keeps the condition true: the rule's range, keep_firing_for, or somebody else's denials."


def recovery_hints(recovery: Recovery) -> Iterator[str]:
    """For something that was left behind."""
    if recovery.verdict in {"not-restored", "not-verified"}:
        yield "drills recover undoes what is left; journal.jsonl lists every change."


def hints(drill: Drill) -> list[str]:
    """Everything to look at for a drill, without repetition."""
    found = [
        *((SMALL_LOAD,) if drill.flood is not None and drill.flood.reason and drill.verdict != "aborted" else ()),
        *(enforcement_hints(drill.enforcement, drill.control) if drill.verdict != "aborted" else ()),
        *(control_hints(drill.control) if drill.verdict != "aborted" else ()),
        *(hint for alert in drill.alerts for hint in alert_hints(alert)),
        *((PAGED,) if any("paged" in alert.flags for alert in drill.alerts) else ()),
        *(NOISY for quiet in drill.quiet if quiet.verdict == "noisy"),
        *recovery_hints(drill.recovery),
    ]
    return list(dict.fromkeys(found))
