"""The schema made of the model: what is unknown, what is stored, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from cilium_world import CCNP, CNP, ccnp, cnp, few, manifests
from hypothesis import given
from hypothesis import strategies as st

from drills.cilium import policy
from drills.cilium.policy import UnreadablePolicyError, parse
from drills.errors import InputError

NO_DIRECTION = 'spec: Invalid value: "": "spec" must validate at least one schema (anyOf)'
NO_SUBJECT = 'spec: Invalid value: "": "spec" must validate one and only one schema (oneOf)'
DENY_ALL: dict[str, Any] = {"endpointSelector": {}, "ingress": [{}]}


def ingress(**element: Any) -> dict[str, Any]:
    return cnp({"endpointSelector": {}, "ingress": [element]})


def ports(**port: Any) -> dict[str, Any]:
    return ingress(toPorts=[{"ports": [port]}])


def rules(**found: Any) -> dict[str, Any]:
    return ingress(toPorts=[{"ports": [{"port": "80", "protocol": "TCP"}], "rules": found}])


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (cnp(DENY_ALL), []),
        (ccnp(DENY_ALL), []),
        (cnp({"endpointSelector": {}, "ingress": [], "egress": []}), []),
        ({"kind": CNP, "metadata": {"name": "x"}, "specs": [DENY_ALL, DENY_ALL]}, []),
        (ccnp({"nodeSelector": {}, "ingress": [{}]}), []),
        (
            cnp({"endpointSelector": {}}),
            [NO_DIRECTION, "spec.ingress: Required value"],
        ),
        (
            cnp({"endpointSelector": {}, "ingress": None}),
            [NO_DIRECTION, "spec.ingress: Required value"],
        ),
        (
            cnp({"ingress": [{}]}),
            [f"{NO_SUBJECT}. Found none valid", "spec.endpointSelector: Required value"],
        ),
        (
            cnp({"endpointSelector": {}, "nodeSelector": {}, "ingress": [{}]}),
            [f"{NO_SUBJECT}. Found 2 valid alternatives"],
        ),
        (
            {"kind": CNP, "metadata": {"name": "x"}, "specs": [DENY_ALL, {"endpointSelector": {}}]},
            [
                'specs[1]: Invalid value: "": "specs[1]" must validate at least one schema (anyOf)',
                "specs[1].ingress: Required value",
            ],
        ),
        (
            ports(port=8080),
            [
                'spec.ingress[0].toPorts[0].ports[0].port: Invalid value: "integer": '
                'spec.ingress[0].toPorts[0].ports[0].port in body must be of type string: "integer"'
            ],
        ),
        (
            ports(port="80", protocol="tcp"),
            [
                'spec.ingress[0].toPorts[0].ports[0].protocol: Unsupported value: "tcp": '
                'supported values: "TCP", "UDP", "SCTP", "VRRP", "IGMP", "ANY"'
            ],
        ),
        (
            ports(port="80", endPort=65536),
            [
                "spec.ingress[0].toPorts[0].ports[0].endPort: Invalid value: 65536: "
                "spec.ingress[0].toPorts[0].ports[0].endPort in body should be less than or equal to 65535"
            ],
        ),
        (ports(port="http-8080"), []),
        (ports(port="6581-6586"), []),
        (
            ingress(fromCIDR=["10.0.0.1"]),
            [
                'spec.ingress[0].fromCIDR[0]: Invalid value: "10.0.0.1": '
                'spec.ingress[0].fromCIDR[0] in body must be of type cidr: "10.0.0.1"'
            ],
        ),
        (
            ingress(fromEntities=["internet"]),
            [
                'spec.ingress[0].fromEntities[0]: Unsupported value: "internet": supported values: "all", "world", '
                '"cluster", "cluster-mesh", "host", "init", "ingress", "unmanaged", "remote-node", "health", "none", '
                '"kube-apiserver"'
            ],
        ),
        (
            ingress(fromRequires=["x"]),
            ["spec.ingress[0].fromRequires: Too many: 1: must have at most 0 items"],
        ),
        (
            ingress(fromEndpoints=[{"matchExpressions": [{"key": "a"}]}]),
            ["spec.ingress[0].fromEndpoints[0].matchExpressions[0].operator: Required value"],
        ),
        (
            ingress(fromEndpoints=[None]),
            [
                'spec.ingress[0].fromEndpoints[0]: Invalid value: "null": '
                'spec.ingress[0].fromEndpoints[0] in body must be of type object: "null"'
            ],
        ),
        (
            cnp({**DENY_ALL, "log": {"value": "x" * 33}}),
            ["spec.log.value: Too long: may not be more than 32 bytes"],
        ),
        (rules(http=[], dns=[]), [
            'spec.ingress[0].toPorts[0].rules: Invalid value: "": "spec.ingress[0].toPorts[0].rules" '
            "must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]),
        (rules(http=[{"path": "/", "headerMatches": [{"name": ""}]}]), [
            'spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].name: Invalid value: "": '
            "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].name in body should be at least 1 chars long"
        ]),
    ],
)  # fmt: skip
def test_what_the_schema_refuses(obj: dict[str, Any], errors: list[str]) -> None:
    assert [str(each) for each in policy.schema_errors(obj["kind"], obj)] == errors


def test_unknown_fields_are_sorted_and_found_everywhere() -> None:
    obj = cnp({**DENY_ALL, "zone": 1, "egress": [{"toEndpoints": [{"matchLabels": {"a": "b"}, "x": 1}]}]})
    obj["metadata"]["owner"] = "me"
    obj["extra"] = 1
    obj["specs"] = [{"endpointSelector": {"podSelector": {}}}]
    assert policy.unknown_fields(CNP, obj) == [
        "extra",
        "metadata.owner",
        "spec.egress[0].toEndpoints[0].x",
        "spec.zone",
        "specs[0].endpointSelector.podSelector",
    ]


def test_pruning_drops_nulls_and_fills_defaults_in() -> None:
    obj = cnp({"endpointSelector": {"matchLabels": None}, "ingress": [{"icmps": [{"fields": [{"type": 8}]}]}]})
    stored = policy.prune(CNP, obj)
    assert stored["spec"] == {
        "endpointSelector": {},
        "ingress": [{"icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]}],
    }
    assert policy.schema_errors(CNP, obj) == []


def test_pruning_leaves_its_argument_alone() -> None:
    obj = cnp({**DENY_ALL, "zone": {"a": [1]}})
    policy.prune(CNP, obj)["spec"]["ingress"].append({})
    assert obj == cnp({**DENY_ALL, "zone": {"a": [1]}})


def test_status_is_known() -> None:
    condition = {"type": "Valid", "status": "True", "lastTransitionTime": "2025-08-22T00:00:00Z", "message": "m"}
    obj = cnp(DENY_ALL) | {"status": {"conditions": [condition], "nodes": {"w1": {"ok": True}}}}
    assert policy.unknown_fields(CNP, obj) == []
    assert policy.prune(CNP, obj) == obj


def test_the_schema_has_no_references_and_describes_fields() -> None:
    for kind in (CNP, CCNP):
        schema = policy.openapi(kind)
        assert "$ref" not in repr(schema)
        assert "'title'" not in repr(schema)
        selector = schema["properties"]["spec"]["properties"]["endpointSelector"]
        assert selector["description"].startswith("Whom the rule applies to")
        assert set(selector["properties"]) == {"matchLabels", "matchExpressions"}


def test_the_schema_is_a_copy() -> None:
    policy.openapi(CNP)["properties"].clear()
    assert policy.openapi(CNP)["properties"]


def test_other_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="NetworkPolicy is not a policy of Cilium's"):
        policy.unknown_fields("NetworkPolicy", {})


def test_what_cannot_be_read_says_why() -> None:
    with pytest.raises(UnreadablePolicyError, match=r'CiliumNetworkPolicy "policy" is invalid: spec.ingress\[0\]'):
        parse(ports(port=8080))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
spec_keys = st.sampled_from(
    [
        "endpointSelector",
        "ingress",
        "egress",
        "matchLabels",
        "toPorts",
        "ports",
        "rules",
        "http",
        "action",
        "specs",
        "x",
    ]
)
specs = st.recursive(
    json_values,
    lambda inner: st.dictionaries(spec_keys, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=20,
)


@few
@given(specs)
def test_what_is_stored_has_no_unknown_fields_and_is_stored_again_as_it_is(spec: Any) -> None:
    stored = policy.prune(CNP, cnp(spec))
    assert policy.unknown_fields(CNP, stored) == []
    assert policy.prune(CNP, stored) == stored
    policy.schema_errors(CNP, stored)


@few
@given(st.sampled_from(sorted(manifests("corrected.yaml"))), st.text(min_size=1, max_size=8).filter(str.isidentifier))
def test_one_more_field_is_noticed_and_dropped(name: str, field: str) -> None:
    obj = manifests("corrected.yaml")[name]
    spec = obj["spec"] | {f"{field}_": {"a": 1}}
    assert policy.unknown_fields(CNP, obj | {"spec": spec}) == [f"spec.{field}_"]
    assert policy.prune(CNP, obj | {"spec": spec}) == obj


def test_every_field_is_known_and_kept() -> None:
    obj = manifests("everything.yaml")["everything"]
    assert policy.unknown_fields(CCNP, obj) == []
    assert policy.schema_errors(CCNP, obj) == []
    assert policy.prune(CCNP, obj) == obj


def test_every_field_of_the_model_is_in_that_manifest() -> None:
    written = str(manifests("everything.yaml")["everything"])
    missing = {name for name in _names(policy.openapi(CCNP)) if f"'{name}':" not in written}
    assert missing == {"error"}, "a healthy policy has none"


def _names(schema: dict[str, Any]) -> set[str]:
    found = set(schema.get("properties", {}))
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return found.union(*(_names(each) for each in below if isinstance(each, dict)))
