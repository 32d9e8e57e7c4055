"""Schemas of custom resources that have no model of their own in this project.

PrometheusRule: prometheus-operator 0.93, Documentation/api-reference/api.md and its CRD. CiliumNode,
CiliumEndpoint and CiliumIdentity are written by the lab itself and kept as they are.
"""

from __future__ import annotations

from typing import Any

from drills.cilium import policy
from drills.lab.api.resources import CCNP, CILIUM_ENDPOINTS, CILIUM_IDENTITIES, CILIUM_NODES, CNP, PROMETHEUS_RULES

Schema = dict[str, Any]

_DURATION = "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"  # units.go


def _string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _object(description: str, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "description": description, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def _list(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items}


def _free(description: str) -> Schema:
    return {"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": True}


_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_EXPRESSION: Schema = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "description": "PromQL expression to evaluate.",
}

_RULE = _object(
    "An alerting or a recording rule.",
    ("expr",),
    alert=_string("Name of the alert, a valid label value. One of record and alert is set."),
    record=_string("Name of the series to record, a valid metric name. One of record and alert is set."),
    expr=_EXPRESSION,
    labels={**_TEXTS, "description": "Labels to add or overwrite."},
    annotations={**_TEXTS, "description": "Annotations of each alert; only for alerting rules."},
    keep_firing_for=_string(
        "How long an alert goes on firing after its condition ends.", minLength=1, pattern=_DURATION
    ),
    **{"for": _string("How long the condition must hold before the alert fires.", pattern=_DURATION)},
)
_GROUP = _object(
    "A list of rules that are evaluated one after another.",
    ("name",),
    name=_string("Name of the group.", minLength=1),
    labels={**_TEXTS, "description": "Labels to add to all rules of the group."},
    interval=_string("How often the rules are evaluated.", pattern=_DURATION),
    query_offset=_string("The offset of the rules' queries.", pattern=_DURATION),
    rules=_list("Alerting and recording rules.", _RULE),
    partial_response_strategy=_string("Only used by Thanos Ruler.", pattern="^(?i:abort|warn)?$"),
    limit={"type": "integer", "description": "How many alerts or series a rule may produce; 0 is no limit."},
)


def _document(description: str, *required: str, **properties: Schema) -> Schema:
    return _object(
        description,
        required,
        apiVersion=_string("Version of this representation."),
        kind=_string("Kind of the object."),
        metadata={"type": "object", "description": "Standard metadata."},
        **properties,
    )


def schema_of(kind: str) -> Schema:
    """The structural OpenAPI v3 schema of a custom resource that the lab serves."""
    if kind in (CNP.kind, CCNP.kind):
        return policy.openapi(kind)
    return _SCHEMAS[kind]


_SCHEMAS: dict[str, Schema] = {
    PROMETHEUS_RULES.kind: _document(
        "Alerting and recording rules for Prometheus.",
        "spec",
        spec=_object("The rules.", groups=_list("Groups of rules.", _GROUP)),
        status=_free("What the lab made of the rules."),
    ),
    CILIUM_NODES.kind: _document(
        "A node as Cilium's agents see it.",
        "spec",
        spec=_free("Addresses, pod networks and encryption of the node."),
        status=_free("What the agent reports."),
    ),
    CILIUM_ENDPOINTS.kind: _document(
        "A pod as the agent of its node sees it.", status=_free("Identity, networking, policy and state.")
    ),
    CILIUM_IDENTITIES.kind: _document(
        "A set of labels and the number that stands for it.",
        "security-labels",
        **{"security-labels": {**_TEXTS, "description": "The labels that make the identity."}},
    ),
}
