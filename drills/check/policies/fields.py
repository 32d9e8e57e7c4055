"""What the API makes of a policy: fields that it does not know, and values that it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import left, words
from drills.check.policies.case import L7_UNTIL_1_19, REQUIRES, Case, Problem
from drills.check.policies.examples import http, ingress
from drills.check.policies.given import Given
from drills.cilium import policy as api
from drills.playbook.nearest import did_you_mean
from drills.source import KeyPath

_SCHEMA: Final = "Cilium 1.20 CustomResourceDefinitions; Kubernetes API conventions, field validation"

UNKNOWN = Rule(
    name="cilium/unknown-field",
    level=Level.ERROR,
    title="A policy has a field that Cilium does not know",
    problem="The field does not exist at this place: it is misspelt, stands on the wrong level, is of another kind "
    "(`namespaceSelector`, `podSelector` and `policyTypes` are Kubernetes NetworkPolicy), or never existed "
    "(`action`, `policyEnforcement`, `fromServices`, `rules.grpc`).",
    effect="`kubectl apply` validates strictly and refuses the whole policy. A client that does not (Python's, "
    "`kubectl --validate=false`, some GitOps tools) stores the policy without the field, with a warning that nobody "
    "reads: what is left may allow more than was meant, or nobody at all.",
    fix="Write it with the fields that exist; `kubectl explain cnp.spec` lists them. To see what a server would say: "
    "`kubectl apply --dry-run=server`.",
    wrong=ingress("""\
        - fromEndpoints:
          - matchLabels: {app: web}
            namespaceSelector: {matchLabels: {team: shop}}
        """),
    right=ingress("- fromEndpoints: [{matchLabels: {app: web, io.kubernetes.pod.namespace: shop}}]\n"),
    source=_SCHEMA,
)
L7_DENY = Rule(
    name="cilium/l7-deny",
    level=Level.ERROR,
    title="An HTTP or DNS rule is meant to deny",
    problem="Application rules are an allow list: `action: deny` is no field, and there is no deny rule for paths, "
    "methods or names. `ingressDeny` and `egressDeny` know peers and ports only.",
    effect="Without the unknown field the rule allows exactly what it was meant to deny.",
    fix="Remove the rule. Whatever no HTTP rule of the port lists gets 403 `Access denied` by itself.",
    wrong=http("""\
        - {method: GET, path: "/"}
        - {path: "/admin/.*", action: deny}
        """),
    right=http('- {method: GET, path: "/"}\n'),
    source="Cilium 1.20 pkg/policy/api/l4.go (L7Rules), pkg/policy/api/http.go",
)
REJECTED = Rule(
    name="cilium/rejected",
    level=Level.ERROR,
    title="The API refuses the policy",
    problem="A value does not fit the schema of the CustomResourceDefinition: a wrong type (a port is text), a value "
    "outside its list, a missing or a surplus field.",
    effect="The API answers 422 and stores nothing, whatever the client: the policy is not in force.",
    fix="The message names the field and what it takes.",
    wrong=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: 80, protocol: TCP}]}]
        """),
    right=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "80", protocol: TCP}]}]
        """),
    source=_SCHEMA,
)
REMOVED_L7 = Rule(
    name="cilium/removed-l7",
    level=Level.ERROR,
    title="Rules for Kafka or another protocol of an earlier Cilium",
    problem="`rules.kafka`, `rules.l7proto` and `rules.l7` are gone in Cilium 1.20; only `http` and `dns` are left.",
    effect="From 1.20 the API drops the field and refuses the empty `rules` that is left (422): nothing is in force. "
    "Up to 1.19 it works and is deprecated: the upgrade takes the policy away.",
    fix="Allow the port to its peers without `rules`, and let the broker itself decide about topics.",
    wrong=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts:
          - ports: [{port: "9092", protocol: TCP}]
            rules: {kafka: [{role: consume, topic: events}]}
        """),
    right=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "9092", protocol: TCP}]}]
        """),
    source="pkg/policy/api/l4.go of Cilium 1.19.4 and 1.20",
)
REMOVED_REQUIRES = Rule(
    name="cilium/removed-requires",
    level=Level.ERROR,
    title="`fromRequires` or `toRequires` of an earlier Cilium",
    problem="`fromRequires` and `toRequires` must be empty from Cilium 1.19 on.",
    effect="From 1.19 on the API refuses the policy (422): nothing of it is in force. The upgrade takes it away.",
    fix="Put the required labels into each selector of `fromEndpoints` or `toEndpoints`.",
    wrong=ingress("- fromRequires: [{matchLabels: {team: shop}}]\n  fromEndpoints: [{matchLabels: {app: web}}]\n"),
    right=ingress("- fromEndpoints: [{matchLabels: {app: web, team: shop}}]\n"),
    source="Cilium 1.20 pkg/policy/api/ingress.go (MaxItems=0)",
)
RULES = (UNKNOWN, L7_DENY, REJECTED, REMOVED_L7, REMOVED_REQUIRES)

_ACTIONS: Final = ("action", "verdict", "effect", "decision", "policy", "deny", "block")
_DENYING: Final = ("deny", "denied", "block", "drop", "reject", "forbid", "true")
_FIXES: Final[Mapping[str, str]] = {
    "namespaceSelector": "There is no namespaceSelector here: name the namespace by the label "
    "io.kubernetes.pod.namespace beside the others in matchLabels, or its labels by "
    "io.cilium.k8s.namespace.labels.<label>.",
    "podSelector": "Cilium's word is endpointSelector for the policy's own pods, and fromEndpoints or toEndpoints with "
    "matchLabels for peers.",
    "policyTypes": "Leave it out: a direction is in default deny once it has a rule; `ingress: [{}]` denies all of it.",
    "from": "Cilium's words are fromEndpoints, fromEntities, fromCIDR, fromCIDRSet, fromNodes and fromGroups.",
    "to": "Cilium's words are toEndpoints, toEntities, toCIDR, toCIDRSet, toFQDNs, toServices, toNodes and toGroups.",
    "fromServices": "Traffic comes from pods, not from Services: name them by their labels in fromEndpoints.",
    "grpc": "gRPC is HTTP: allow `method: POST` with `path: /package.Service/Method` in rules.http.",
    "policyEnforcement": "To observe without denying: enableDefaultDeny with false for both directions, or audit mode, "
    "which is a setting of the agent (policyAuditMode) and no field.",
    "policyAuditMode": "Audit mode is a setting of the agent (Helm policyAuditMode=true) and no field of a policy.",
    "priority": "There is no order of policies: a deny rule wins over every allow rule.",
}


def check(given: Given) -> Iterator[Finding]:
    """What the API says of each policy."""
    for case in given.cases:
        for problem in case.unknown:
            yield _unknown(case, problem, given)
        yield from _removed_l7(case, given)
        yield from _requires(case, given)
        yield from _rejected(case)


def _unknown(case: Case, problem: Problem, given: Given) -> Finding:
    path, key = problem.path, str(problem.path[-1])
    place, span = case.manifest.key_place(*path), len(key)
    effect = left.effect(case, path, given)
    if _means_deny(case, path):
        return L7_DENY.at(
            place, f"{problem.text}: a rule of an application protocol cannot deny", effect=effect, span=span
        )
    return UNKNOWN.at(place, problem.text, effect=effect, fix=_fix(case.kind, path), span=span)


def _means_deny(case: Case, path: KeyPath) -> bool:
    if not ({"http", "dns"} & {each for each in path if isinstance(each, str)} and path[-1] in _ACTIONS):
        return False
    found: Any = case.manifest.data
    for step in path:
        found = found[step]
    return str(found).lower() in _DENYING


def _fix(kind: str, path: KeyPath) -> str:
    key = str(path[-1])
    if path[0] == "metadata":
        hint = did_you_mean(key, sorted(api.METADATA), "fields of metadata")
        return f"{words.capital(hint)}{'' if hint.endswith('?') else '.'}"
    if "Deny" in "".join(map(str, path)) and key == "rules":
        return "Deny rules know peers and ports only. To close some paths, allow the others by rules.http in ingress."
    above = [index for index in range(len(path) - 1, 0, -1) if key in _fields(kind, _bare(path[: index - 1]))]
    if above and key not in _FIXES:
        beside = path[above[0] - 1]
        where = f"beside `{beside}`" if isinstance(beside, str) else "one level further up"
        return f"`{key}` belongs {where}."
    if key in _FIXES:
        return _FIXES[key]
    if key in _ACTIONS:
        return "What is to be denied stands in ingressDeny or egressDeny: peers and ports."
    hint = did_you_mean(key, sorted(_fields(kind, _bare(path[:-1]))), "fields")
    return f"{words.capital(hint)}{'' if hint.endswith('?') else '.'}"


def _bare(path: KeyPath) -> tuple[str, ...]:
    return tuple(each for each in path if isinstance(each, str))


@lru_cache(maxsize=4096)
def _fields(kind: str, path: tuple[str, ...]) -> frozenset[str]:
    """The fields that an object at a path can have; none where the path leads nowhere."""
    node: Mapping[str, Any] = _schema(kind)
    for step in path:
        while "items" in node:
            node = node["items"]
        node = node.get("properties", {}).get(step, {})
    while "items" in node:
        node = node["items"]
    return frozenset(node.get("properties", {}))


@lru_cache
def _schema(kind: str) -> Mapping[str, Any]:
    return api.openapi(kind)


def _removed_l7(case: Case, given: Given) -> Iterator[Finding]:
    done: set[KeyPath] = set()
    for problem in sorted(case.removed, key=lambda each: L7_UNTIL_1_19.index(str(each.path[-1]))):
        path = problem.path
        if path[:-1] in done:  # l7proto and l7 belong together
            continue
        done.add(path[:-1])
        place, key = case.manifest.key_place(*path), str(path[-1])
        if given.release >= (1, 20):
            effect = left.effect(case, path, given)
            yield REMOVED_L7.at(place, f"rules.{key} is gone in Cilium 1.20", effect=effect, span=len(key))
            continue
        effect = (
            f"Cilium {given.release[0]}.{given.release[1]} still enforces it (deprecated). From 1.20 on the API "
            "refuses the policy (422), and at the upgrade its rules are gone."
        )
        yield REMOVED_L7.at(
            place, f"rules.{key} goes away in Cilium 1.20", effect=effect, level=Level.WARNING, span=len(key)
        )
        yield from _kafka(case, path)
    for problem in case.kafka:
        name = str(_value(case, problem.path))
        text = f'"{name}" is no Kafka API key; role takes consume or produce'
        effect = "Cilium does not import the policy (VALID=False). " + left.NOTHING
        yield REMOVED_L7.at(case.manifest.place(*problem.path), text, effect=effect, span=len(name))


_KAFKA: Final = ("role", "apiKey", "apiVersion", "clientID", "topic")


def _kafka(case: Case, path: KeyPath) -> Iterator[Finding]:
    """Fields that a Kafka rule does not have where Kafka is still known."""
    rules = _value(case, path)
    if path[-1] != "kafka" or not isinstance(rules, list):
        return
    for index, rule in enumerate(each for each in rules if isinstance(each, dict)):
        for key in (each for each in rule if each not in _KAFKA):
            place = case.manifest.key_place(*path, index, key)
            effect = "Strict validation refuses the policy; without the field the rule ALLOWS what else it says."
            yield UNKNOWN.at(place, f'unknown field "{key}" in a Kafka rule', effect=effect, span=len(key))


def _requires(case: Case, given: Given) -> Iterator[Finding]:
    for path, key in _requires_of(case.manifest.data):
        place = case.manifest.key_place(*path)
        if given.release >= (1, 19):
            effect = f"The API refuses the policy (422: {key}: Too many). " + left.NOTHING
            yield REMOVED_REQUIRES.at(place, f"{key} must be empty", effect=effect, span=len(key))
        else:
            effect = "From Cilium 1.19 on the API refuses the policy (422), and at the upgrade its rules are gone."
            text = f"{key} goes away in Cilium 1.19"
            yield REMOVED_REQUIRES.at(place, text, effect=effect, level=Level.WARNING, span=len(key))


def _requires_of(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    specs = data.get("specs")
    rules: list[tuple[KeyPath, Any]] = [(("spec",), data.get("spec"))]
    rules += [(("specs", index), each) for index, each in enumerate(specs if isinstance(specs, list) else ())]
    for at, rule in rules:
        for section in ("ingress", "ingressDeny", "egress", "egressDeny"):
            found = rule.get(section) if isinstance(rule, dict) else None
            for index, element in enumerate(found if isinstance(found, list) else ()):
                for key in REQUIRES:
                    if isinstance(element, dict) and isinstance(element.get(key), list) and element[key]:
                        yield (*at, section, index, key), key


def _rejected(case: Case) -> Iterator[Finding]:
    """What the schema refuses, where no unknown field is the reason: all that is said of one place in one finding."""
    caused = {each.path[:-1] for each in (*case.unknown, *case.removed)}
    said: dict[KeyPath, list[str]] = {}
    for problem in case.rejected:
        path = problem.path
        if any(path == each or (path[:-1] == each and _missing(case, path)) for each in caused) or _about_requires(
            path
        ):
            continue
        where = path[:-1] if _missing(case, path) else path
        said.setdefault(where, []).append(problem.text)
    for path, texts in said.items():
        yield REJECTED.at(case.manifest.place(*path), "; ".join(texts), fix=_mend(case, path), span=_length(case, path))


def _mend(case: Case, path: KeyPath) -> str | None:
    """What to write instead, where it is plain."""
    value = _value(case, path)
    if path[-1:] == ("port",) and isinstance(value, int):
        return f'A port is text: port: "{value}".'
    if path[-1:] == ("protocol",) and isinstance(value, str):
        return f"Protocols are in capitals: {value.upper()}."
    return None


def _about_requires(path: KeyPath) -> bool:
    return any(each in REQUIRES for each in path)


def _missing(case: Case, path: KeyPath) -> bool:
    found: Any = case.manifest.data
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return True
    return False


def _value(case: Case, path: KeyPath) -> Any:
    found: Any = case.manifest.data
    for step in path:
        found = found[step]
    return found


def _length(case: Case, path: KeyPath) -> int:
    found = _value(case, path)
    return len(str(found)) if isinstance(found, str | int) and not isinstance(found, bool) else 1
