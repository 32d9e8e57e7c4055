"""``drills check`` against promtool on the same rules, its memory, and whether its cost grows with what it is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from bench.figures import DRILLS, Figure, UnmeasuredError, interleaved, timed, with_bytecode

FEW_RULES, RULES, MANY_RULES = 100, 1_000, 10_000
FEW_POLICIES, POLICIES, MANY_POLICIES = 10, 100, 1_000
RUNS = 3
EXPECTED = 20  # alerts that the playbook beside the rules expects
MEGABYTE = 1_000_000
STEPS = 120  # of 15 s, in promtool's own test
SERIES = 'cilium_policy_l7_total{rule="denied",proxy_type="envoy",instance="n1"}'
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: policy-{number}, namespace: backend}}
spec:
  endpointSelector: SUBJECT
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: web-{number}, io.kubernetes.pod.namespace: frontend}}}}]
    toPorts:
    - ports: [{{port: "8080", protocol: TCP}}]
      rules: {{http: [{{method: GET, path: "/api/v{number}/.*"}}]}}
  egress:
  - toFQDNs: [{{matchName: host-{number}.example.com}}]
---
"""
POLICIES_OF = {  # how the policies' subjects meet one another
    "apart": POLICY.replace("SUBJECT", "{{matchLabels: {{app: app-{number}}}}}"),
    "alike": POLICY.replace("SUBJECT", "{{}}"),
    "overlapping": POLICY.replace(
        "SUBJECT", "{{matchExpressions: [{{key: app, operator: NotIn, values: [app-{number}]}}]}}"
    ),
}
LOOKUPS = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: lookups, namespace: backend}
spec:
  endpointSelector: {}
  egress:
  - toEndpoints: [{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}]
    toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
---
"""
PLAYBOOK = """\
apiVersion: drills/v1
kind: Playbook
metadata: {{name: bench}}
spec:
  guards: {{namespaces: [frontend, backend], maxRequestsPerSecond: 20, maxDuration: 15m}}
  sources:
    frontend: {{namespace: frontend, labels: {{app: frontend}}}}
  drills:
  - name: admin-path
    inject:
      http: {{from: frontend, url: "http://http-api.backend/admin", rate: 5/s, duration: 3m}}
    control:
      http: {{from: frontend, url: "http://http-api.backend/", status: 200}}
    expect:
      denied: {{status: 403}}
      alerts: [{alerts}]
"""


def check() -> Iterator[Figure]:
    """Time and memory of 1,000 rules, then growth."""
    with with_bytecode() as environment, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command, judge = _commands(folder)
        ours, promtool = interleaved(command, judge, RUNS, environment)
        title = f"drills check, {RULES} rules and a playbook"
        yield Figure(
            title,
            ours,
            promtool,
            "promtool check rules + test rules (every 15 s of 30 min)",
            "s",
            limit=1.3,
            limit_is_ratio=True,
        )
        empty = _peak([DRILLS, "--version"], environment)
        yield Figure(f"{title}: memory", _peak(command, environment), empty, "drills --version", "MB", limit=300)
        yield _growth(folder, "rules", (FEW_RULES, RULES), environment)
        yield _growth(folder, "rules", (RULES, MANY_RULES), environment)
        for shape in POLICIES_OF:
            yield _growth(folder, f"policies ({shape})", (FEW_POLICIES, POLICIES), environment)
            yield _growth(folder, f"policies ({shape})", (POLICIES, MANY_POLICIES), environment)


def _commands(folder: Path) -> tuple[list[str], list[str]]:
    """Our command, and promtool's two in one."""
    promtool = shutil.which("promtool")
    if promtool is None:
        raise UnmeasuredError("promtool is missing")
    rules, playbook, test, both = (folder / name for name in ("rules.yaml", "playbook.yaml", "test.yaml", "both.sh"))
    rules.write_text(_rules(RULES))
    alerts = ", ".join(f"{{name: Denied{number}, within: 5m}}" for number in range(EXPECTED))
    playbook.write_text(PLAYBOOK.format(alerts=alerts))
    test.write_text(yaml.safe_dump(_test(rules)))
    both.write_text(f'"{promtool}" check rules "{rules}" && "{promtool}" test rules "{test}"\n')
    return [DRILLS, "check", str(rules), str(playbook)], ["sh", str(both)]


def _rules(count: int) -> str:
    rules = [
        {
            "alert": f"Denied{number}",
            "expr": f'sum(increase(cilium_policy_l7_total{{rule="denied",proxy_type="envoy"}}[5m])) > {10 + number}',
            "for": "1m",
            "labels": {"severity": "warning"},
            "annotations": {"summary": "Requests are denied."},
        }
        for number in range(count)
    ]
    return yaml.safe_dump({"groups": [{"name": "bench", "interval": "15s", "rules": rules}]}, sort_keys=False)


def _test(rules: Path) -> dict[str, object]:
    quiet = [{"eval_time": f"{15 * step}s", "alertname": "Denied999"} for step in range(STEPS)]
    series = [{"series": SERIES, "values": f"0+0x{STEPS}"}]
    test = {"interval": "15s", "input_series": series, "alert_rule_test": quiet}
    return {"rule_files": [str(rules)], "evaluation_interval": "15s", "tests": [test]}


def _growth(folder: Path, what: str, counts: tuple[int, int], environment: dict[str, str]) -> Figure:
    """Ten times as much against ten times as long, the command's start not counted."""
    start = timed([DRILLS, "--version"], environment=environment)
    few, many = (_checked(folder, what, count, environment) - start for count in counts)
    times = counts[1] // counts[0]
    title = f"drills check, {counts[1]} {what}"
    return Figure(title, many, times * few, f"{times} x {counts[0]} {what}", "s", limit=1.3, limit_is_ratio=True)


def _checked(folder: Path, what: str, count: int, environment: dict[str, str]) -> float:
    file = folder / f"{what}-{count}.yaml"
    policy = POLICIES_OF.get(what.removeprefix("policies (").removesuffix(")"), "")
    policies = (policy.format(number=number) for number in range(count))
    file.write_text(_rules(count) if what == "rules" else LOOKUPS + "".join(policies))
    return timed([DRILLS, "check", str(file)], environment=environment)


def _peak(command: Sequence[str], environment: dict[str, str]) -> float:
    """The most memory that a command had, in megabytes; what it starts is not counted."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise UnmeasuredError(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024 / MEGABYTE
