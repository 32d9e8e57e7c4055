"""What is looked for where a playbook's drills and the given alert rules meet, with the documentation of each."""

from __future__ import annotations

from typing import Final

from drills.check.finding import Level, Rule

_SOURCE = (
    "Prometheus rules/alerting.go and promtool's unit tests, over the series that Cilium 1.20 exports: "
    "pkg/metrics/metrics.go, pkg/maps/metricsmap/metricsmap.go"
)


def _rule_file(expr: str, wait: str = "1m", name: str = "RequestsDenied") -> str:
    return f"""\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {{name: denied, namespace: monitoring}}
spec:
  groups:
  - name: denied
    rules:
    - alert: {name}
      expr: {expr}
      for: {wait}
      labels: {{severity: warning}}
      annotations: {{summary: A policy denies requests}}
"""


def _playbook(expect: str, fault: str = "") -> str:
    attack = """\
    inject: {http: {from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}, """
    broken = f"""\
    inject: {{wireguard: {fault}}}
    control: {{http: {{from: web, url: "http://api.shop/"}}}}
    expect: {{path: closed, """
    return f"""\
---
apiVersion: drills/v1
kind: Playbook
metadata: {{name: shop}}
spec:
  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: admin-path
{broken if fault else attack}{expect}}}
"""


_DENIED = 'sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 10'
_GOOD = _rule_file(_DENIED) + _playbook("alerts: [{name: RequestsDenied, within: 4m, resolvesWithin: 12m}]")
_PATH = "max(max_over_time(cilium_unreachable_health_endpoints[1m])) > 0"
_METHOD = """\
  - name: method
    inject: {http: {from: web, url: "http://api.shop/", method: DELETE, rate: 5/s, duration: 3m}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}, quiet: [RequestsDenied]}
"""
_REPLACED = "{node: worker-1, fault: key-replaced, duration: 5m}"

DOES_NOT_FIRE: Final = Rule(
    name="alert/does-not-fire",
    level=Level.ERROR,
    title="An alert does not fire for the attack that a drill expects it for",
    problem="The drill's injection was turned into the series that Cilium would export meanwhile, and promtool "
    "evaluated the rule over them, at three phases of scrape and evaluation and with the denials spread over as many "
    "nodes as the target's pods can be. In at least one of these cases the alert never fired.",
    effect="The attack goes unnoticed.",
    fix="Lower the threshold, sum over the nodes, count newborn series, or wait for a shorter time; the message says "
    "where the rule stops. If the drill is what is wrong, let it attack for longer or at a higher rate.",
    wrong=_rule_file(_DENIED.replace("> 10", "> 1000"))
    + _playbook("alerts: [{name: RequestsDenied, within: 4m, resolvesWithin: 12m}]"),
    right=_GOOD,
    source=_SOURCE,
)
TOO_LATE: Final = Rule(
    name="alert/too-late",
    level=Level.ERROR,
    title="An alert fires later than the playbook allows",
    problem="In the worst of the cases that were tried the alert fires after `within`, which counts from the first "
    "attempt. Scrape and evaluation do not wait for each other: the worst case is a scrape and an evaluation later "
    "than the best one.",
    effect="`drills run` says *late* whenever scrapes and evaluations happen to fall so; somebody is told too late.",
    fix="Ask for the time that the message names, or shorten the rule's `for` or its group's interval.",
    wrong=_rule_file(_DENIED) + _playbook("alerts: [{name: RequestsDenied, within: 70s, resolvesWithin: 12m}]"),
    right=_GOOD,
    source=_SOURCE,
)
WITHOUT_ATTACK: Final = Rule(
    name="alert/fires-without-attack",
    level=Level.ERROR,
    title="An alert fires although nothing is attacked",
    problem="The rule was evaluated over a healthy cluster: no denials, no drops by policy, every node reachable, the "
    "drill's control as its only traffic. It fires all the same.",
    effect="Its firing proves nothing and nobody will look at it; `drills run` says *premature*.",
    fix="Compare with what a healthy cluster shows; count what the attack changes.",
    wrong=_rule_file('sum(cilium_policy_endpoint_enforcement_status{enforcement="both"}) > 0')
    + _playbook("alerts: [{name: RequestsDenied, within: 4m}]"),
    right=_GOOD,
    source=_SOURCE,
)
DOES_NOT_RESOLVE: Final = Rule(
    name="alert/does-not-resolve",
    level=Level.ERROR,
    title="An alert resolves later than the playbook allows, or never",
    problem="`resolvesWithin` counts from the end of the attack. An alert on `increase(x[5m])` stays for the five "
    "minutes in which the last event is inside the range, and for `keep_firing_for` beyond; one on a raw counter "
    "stays for ever.",
    effect="`drills run` says *too-late* or *not-resolved*, and the next attack within that time starts no new alert.",
    fix="Ask for the time that the message names, or shorten the range.",
    wrong=_rule_file(_DENIED) + _playbook("alerts: [{name: RequestsDenied, within: 4m, resolvesWithin: 2m}]"),
    right=_GOOD,
    source=_SOURCE,
)
NOT_QUIET: Final = Rule(
    name="alert/not-quiet",
    level=Level.ERROR,
    title="An alert fires for an attack during which a drill wants it quiet",
    problem="The drill lists the alert under `quiet`, and promtool, over the series of the attack, saw it fire.",
    effect="`drills run` says *noisy*.",
    fix="Expect the alert, or make the rule tell this attack from what it is meant for.",
    wrong=_rule_file(_DENIED) + _playbook("alerts: [{name: RequestsDenied, within: 4m}]") + _METHOD,
    right=_GOOD,
    source=_SOURCE,
)
NOT_LOADED: Final = Rule(
    name="alert/not-loaded",
    level=Level.ERROR,
    title="A playbook speaks of an alert that none of the given rules brings",
    problem="The name is misspelt, the rule's own labels contradict the expected ones, or the rule stands in a file "
    "that was not given.",
    effect="Without such a rule the alert never comes; `drills run` says *missed*, stopped at rule-not-loaded. An "
    "alert that a drill wants quiet is a warning: without its rule, quiet is not judged.",
    fix="Use a name and labels that a rule has, or give the file with the rule as well. Where the rule is in no file, "
    "give none of the rules, or say so in an ignore comment.",
    wrong=_rule_file(_DENIED)
    + _playbook("alerts: [{name: RequestsDenied, within: 4m}, {name: RequestDenied, within: 4m}]"),
    right=_GOOD,
    source="Prometheus rules/alerting.go: an alert is known by its name and its labels",
)
NOT_JUDGED: Final = Rule(
    name="alert/not-judged",
    level=Level.NOTE,
    title="Whether an alert fires for a drill could not be tried",
    problem="The rule reads metrics of which nobody here knows what the attack does to them, promtool is no judge of "
    "it (it knows one evaluation interval), or the outcome hangs on policies that were not given.",
    effect="Nothing is said about this alert; only a run tells.",
    fix="Run the drill in the lab or in a cluster.",
    wrong=_rule_file(_PATH, "2m")
    + _playbook("alerts: [{name: RequestsDenied, within: 6m}]", "{node: worker-1, fault: key-removed, duration: 5m}"),
    right=_rule_file(_PATH, "2m") + _playbook("alerts: [{name: RequestsDenied, within: 6m}]", _REPLACED),
    source="drills check",
)
TOO_SHORT: Final = Rule(
    name="playbook/injection-too-short",
    level=Level.ERROR,
    title="A drill attacks for too short a time for its alert to fire",
    problem="The alert's condition must hold for `for`, a scrape and an evaluation; the attack and the range of the "
    "rule together are shorter.",
    effect="The alert cannot fire, however well the rule works; `drills run` refuses the drill before it starts.",
    fix="Inject for longer than the message says.",
    wrong=_rule_file(_PATH, "5m")
    + _playbook("alerts: [{name: RequestsDenied, within: 12m}]", "{node: worker-1, fault: key-replaced, duration: 3m}"),
    right=_rule_file(_PATH, "2m") + _playbook("alerts: [{name: RequestsDenied, within: 6m}]", _REPLACED),
    source="Prometheus rules/alerting.go: pending counts in whole evaluations",
)
TOO_EARLY: Final = Rule(
    name="playbook/within-below-best-case",
    level=Level.ERROR,
    title="A drill expects its alert earlier than the rule can fire",
    problem="The rule waits for its `for`, in whole evaluations, before it fires: `within` is shorter than that.",
    effect="No run could pass; `drills run` refuses the drill before it starts.",
    fix="Ask for the worst case that the message names, or for more.",
    wrong=_rule_file(_DENIED) + _playbook("alerts: [{name: RequestsDenied, within: 30s}]"),
    right=_GOOD,
    source="Prometheus rules/alerting.go: fires at the first evaluation at which it has been pending for `for`",
)
RULES: Final = (
    DOES_NOT_FIRE,
    TOO_LATE,
    WITHOUT_ATTACK,
    DOES_NOT_RESOLVE,
    NOT_QUIET,
    NOT_LOADED,
    NOT_JUDGED,
    TOO_SHORT,
    TOO_EARLY,
)
