"""What is looked for where a playbook's drills meet the given policies and workloads, with its documentation."""

from __future__ import annotations

from typing import Final

from drills.check.finding import Level, Rule

_SOURCE = "Cilium 1.20 pkg/policy/repository.go, pkg/policy/rule.go; Service translation comes before policy"


def _workload(name: str, more: str = "") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{more}}}}}
    spec: {{containers: [{{name: {name}, image: "nginx:1.27", ports: [{{containerPort: 80}}]}}]}}
---
"""


_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 80}]}
---
"""


def _policy(path: str = "/") -> str:
    return f"""\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: api, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: api}}}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: web}}}}]
    toPorts:
    - ports: [{{port: "80", protocol: TCP}}]
      rules: {{http: [{{method: GET, path: "{path}"}}]}}
---
"""


def _playbook(attack: str = "http://api.shop/admin", control: str = "http://api.shop/", denied: str = "status: 403",
              guards: str = "") -> str:  # fmt: skip
    return f"""\
apiVersion: drills/v1
kind: Playbook
metadata: {{name: shop}}
spec:
{guards}  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: admin-path
    inject: {{http: {{from: web, url: "{attack}", rate: 5/s, duration: 3m}}}}
    control: {{http: {{from: web, url: "{control}"}}}}
    expect: {{denied: {{{denied}}}}}
"""


_CLUSTER = _workload("web") + _workload("api") + _SERVICE
_GOOD = _CLUSTER + _policy() + _playbook()

BREACHED: Final = Rule(
    name="playbook/would-be-breached",
    level=Level.ERROR,
    title="The given policies let through what a drill says is denied",
    problem="The drill's attempt was followed through the given policies and workloads: the source's identity, the "
    "Service's pods and port, the request. It gets through.",
    effect="The attack works; `drills run` says *breached*.",
    fix="Take what allows it out of the policy that the message names, or add a policy that selects the target; an "
    "HTTP rule is an allow list, and nothing that it does not list passes.",
    wrong=_CLUSTER + _policy("/.*") + _playbook(),
    right=_GOOD,
    source=_SOURCE,
)
CONTROL_FAILS: Final = Rule(
    name="playbook/control-would-fail",
    level=Level.ERROR,
    title="The given policies deny a drill's control",
    problem="The control is the authorised attempt that shows that the path is up. The given policies deny it.",
    effect="`drills run` finds the control broken and judges nothing: *inconclusive*. If the control is what your "
    "application does, it is cut off as well.",
    fix="Allow what the control does, or choose a control that is allowed.",
    wrong=_CLUSTER + _policy() + _playbook(control="http://api.shop/health"),
    right=_GOOD,
    source=_SOURCE,
)
DENIED_OTHERWISE: Final = Rule(
    name="playbook/denied-otherwise",
    level=Level.WARNING,
    title="An attack is denied in another way than the drill expects",
    problem="The policies deny the attempt, but not where `expect.denied` says: packets are dropped where an answer "
    "is expected, or the name's lookup is denied before anything is tried.",
    effect="A denial is recognised by its maker: attempts that fail in another way prove nothing, and `drills run` "
    "says *inconclusive*.",
    fix="Expect the denial that the message names, or use a source that gets as far as what the drill is about.",
    wrong=_CLUSTER + _policy() + _workload("guest")
    + _playbook().replace("sources: {", "sources: {guest: {namespace: shop, labels: {app: guest}}, ").replace(
        "{from: web, url: \"http://api.shop/admin\"", "{from: guest, url: \"http://api.shop/admin\""
    ),
    right=_GOOD,
    source=_SOURCE,
)  # fmt: skip
TARGET_MISSING: Final = Rule(
    name="playbook/target-missing",
    level=Level.WARNING,
    title="A drill goes to a Service or a port that is not among the manifests",
    problem="The manifests of the target's namespace are given, and there is no such Service among them, it does not "
    "have the port, or no given workload has the pods that it selects.",
    effect="The name does not resolve, or nothing answers: the control is broken and nothing is judged.",
    fix="Use a Service and a port that exist, or give the manifest that brings them.",
    wrong=_CLUSTER + _policy() + _playbook(attack="http://api.shop:8080/admin"),
    right=_GOOD,
    source="Kubernetes: a Service has the ports that it lists",
)
TARGET_ON_NODE: Final = Rule(
    name="playbook/target-on-node-network",
    level=Level.WARNING,
    title="A drill goes to pods on their node's network",
    problem="The pods behind the target have `hostNetwork: true`. To Cilium they are their node: no policy that "
    "selects pods is about them, whatever its endpointSelector says.",
    effect="No policy for pods denies what comes in: only the source's egress, or a host policy, can.",
    fix="Aim at a pod with a network of its own, or leave hostNetwork out of the workload.",
    wrong=_CLUSTER.replace("{containers: [{name: api,", "{hostNetwork: true, containers: [{name: api,") + _playbook(),
    right=_GOOD,
    source="Cilium documentation, Host Firewall; Cilium 1.20 pkg/identity (host and remote-node)",
)
SOURCE_UNLIKE: Final = Rule(
    name="playbook/source-unlike-workload",
    level=Level.WARNING,
    title="A source has another identity than the workload that it stands for",
    problem="Cilium's identity is made of all labels that matter, the namespace and the service account. The source "
    "lacks labels that the workload's pods have, or no workload has its labels.",
    effect="Policies may decide otherwise for the source than for the workload; where such pods run, `drills run` "
    "refuses the source.",
    fix="Give the source all labels and the service account of the workload's pods.",
    wrong=_workload("web", ", tier: front") + _workload("api") + _SERVICE + _policy() + _playbook(),
    right=_GOOD,
    source="Cilium 1.20 pkg/labelsfilter; documentation, Limiting Identity-Relevant Labels",
)
OUTSIDE_GUARDS: Final = Rule(
    name="playbook/outside-guards",
    level=Level.ERROR,
    title="A drill goes to a namespace that its guards do not list",
    problem="`guards.namespaces` says where drills may act, and an attack or a control goes elsewhere.",
    effect="`drills run` refuses the drill before it starts.",
    fix="List the target's namespace as well, or leave the drill out.",
    wrong=_playbook(guards="  guards: {namespaces: [shop]}\n", attack="http://api.bank/admin"),
    right=_playbook(guards="  guards: {namespaces: [shop, bank]}\n", attack="http://api.bank/admin"),
    source="drills run",
)
RULES: Final = (
    BREACHED,
    CONTROL_FAILS,
    DENIED_OTHERWISE,
    TARGET_MISSING,
    TARGET_ON_NODE,
    SOURCE_UNLIKE,
    OUTSIDE_GUARDS,
)
