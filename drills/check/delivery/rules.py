"""What is looked for between an alert that fires and the people who must hear of it, with its documentation."""

from __future__ import annotations

from typing import Final

from drills.check.finding import Level, Rule

_SOURCE = "Alertmanager docs/configuration.md, dispatch/route.go, inhibit/inhibit.go (0.25)"
_ALERTS = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: denied, namespace: monitoring}
spec:
  groups:
  - name: denied
    rules:
    - alert: RequestsDenied
      expr: sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 10
      for: 1m
      labels: {severity: warning}
      annotations: {summary: A policy denies requests}
"""
_MANY = """\
    - alert: ManyRequestsDenied
      expr: sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 100
      for: 1m
      labels: {severity: critical}
      annotations: {summary: A policy denies many requests}
"""


def _playbook(alerts: str = "{name: RequestsDenied, within: 4m, receiver: security}") -> str:
    return f"""\
---
apiVersion: drills/v1
kind: Playbook
metadata: {{name: shop}}
spec:
  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: admin-path
    inject: {{http: {{from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}}}
    control: {{http: {{from: web, url: "http://api.shop/"}}}}
    expect: {{denied: {{status: 403}}, alerts: [{alerts}]}}
---
"""


def _config(
    warnings: str = "security", more: str = "", hook: str = 'webhook_configs: [{url: "http://hook.example/"}]'
) -> str:
    return f"""\
route:
  receiver: security
  routes:
  - {{receiver: {warnings}, matchers: ['severity="warning"']}}
receivers:
- {{name: security, {hook}}}
- {{name: office, {hook}}}
- {{name: nobody}}
{more}"""


_GOOD = _ALERTS + _playbook() + _config()
_BOTH = "{name: RequestsDenied, within: 4m}, {name: ManyRequestsDenied, within: 4m}"
_INHIBIT = """\
inhibit_rules:
- {source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [%s]}
"""
_NEVER = """\
time_intervals:
- {name: long-ago, time_intervals: [{years: ['2020']}]}
"""

INVALID: Final = Rule(
    name="alertmanager/invalid",
    level=Level.ERROR,
    title="Alertmanager would not load its configuration",
    problem="A receiver that does not exist, a matcher that cannot be read, an unknown key: amtool is the judge where "
    "it is installed.",
    effect="Alertmanager keeps the configuration that it has, or does not start at all.",
    fix="Mend what the message names; `amtool check-config` tells more.",
    wrong=_config("securty"),
    right=_config(),
    source=_SOURCE,
)
NEWER: Final = Rule(
    name="alertmanager/newer-than-amtool",
    level=Level.WARNING,
    title="The amtool that judges here is older than what the configuration says",
    problem="amtool knows the configuration of its own version and calls everything else unknown. Newer versions of "
    "Alertmanager have this.",
    effect="An Alertmanager as old as this amtool refuses the whole configuration; a newer one takes it. What else "
    "stands in the same integration was not judged.",
    fix="Install the amtool of the Alertmanager that runs (`alertmanager --version`) where this check runs.",
    wrong=_config(hook='webhook_configs: [{url: "http://hook.example/", payload: {text: denied}}]'),
    right=_config(),
    source="Alertmanager 0.34.0 config/config.go, config/notifiers.go, notify/*/config.go",
)
NO_RECEIVER: Final = Rule(
    name="alertmanager/no-receiver",
    level=Level.ERROR,
    title="An expected alert is routed to a receiver that sends nothing",
    problem="The routes lead the alert's labels to a receiver without any integration, which swallows it.",
    effect="The alert fires and nobody is told; `drills run` says *undelivered*.",
    fix="Route it to a receiver that sends to somebody, or give the receiver an integration.",
    wrong=_ALERTS + _playbook("{name: RequestsDenied, within: 4m}") + _config("nobody"),
    right=_ALERTS + _playbook("{name: RequestsDenied, within: 4m}") + _config(),
    source=_SOURCE,
)
WRONG_RECEIVER: Final = Rule(
    name="alertmanager/wrong-receiver",
    level=Level.ERROR,
    title="An expected alert is routed to another receiver than the playbook says",
    problem="The first route whose matchers fit takes the alert, unless it says `continue`.",
    effect="Somebody else is told; `drills run` says *undelivered*, stopped at wrong-receiver.",
    fix="Add a route for the alert's labels above the one that takes it, or name the receiver that it does reach.",
    wrong=_ALERTS + _playbook() + _config("office"),
    right=_GOOD,
    source=_SOURCE,
)
INHIBITED: Final = Rule(
    name="alertmanager/inhibited",
    level=Level.ERROR,
    title="An expected alert is muted by another one that fires during the drill",
    problem="An inhibition mutes an alert while another one fires, if both have the same values for the labels of "
    "`equal`. A label that both lack counts as equal: with `equal: [namespace]` and alerts that have no namespace, "
    "every critical alert mutes every warning. The other one may be expected by the same drill, be "
    "made to fire by it, or fire always.",
    effect="The alert fires and is not sent; `drills run` says *undelivered*, stopped at inhibited.",
    fix="Name in `equal` a label that both alerts carry and that tells their causes apart, such as alertname's family, "
    "or narrow the inhibition's matchers.",
    wrong=_ALERTS + _MANY + _playbook(_BOTH) + _config(more=_INHIBIT % "namespace"),
    right=_ALERTS + _MANY + _playbook(_BOTH) + _config(more=_INHIBIT % "severity"),
    source=_SOURCE,
)
MUTED_ALWAYS: Final = Rule(
    name="alertmanager/muted-always",
    level=Level.ERROR,
    title="The route of an expected alert is muted at all times",
    problem="`mute_time_intervals` cover, or `active_time_intervals` leave out, every hour of the coming year.",
    effect="Alertmanager shows the alert as active and sends nothing.",
    fix="Mend the interval: years that are over and ranges that never come are the usual reasons.",
    wrong=_ALERTS + _playbook() + _config("security, active_time_intervals: [long-ago]", more=_NEVER),
    right=_GOOD,
    source="Alertmanager timeinterval/timeinterval.go (0.25)",
)  # fmt: skip
RULES: Final = (INVALID, NEWER, NO_RECEIVER, WRONG_RECEIVER, INHIBITED, MUTED_ALWAYS)
