"""Policies that were loosened by mistake: the drills that held must now say breached, each for its own reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from command import Ended, Lab, drills_of

pytestmark = pytest.mark.lab

K = 60
PLAYBOOK = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: negatives}
spec:
  guards: {namespaces: [frontend, backend, database], maxRequestsPerSecond: 20, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
    backend: {namespace: backend, labels: {app: backend}}
  drills:
  - name: refused-name
    inject: {dns: {from: backend, name: malicious-site.com, rate: 20/m, duration: 1m}}
    control: {dns: {from: backend, name: api.github.com, rate: 10/m}}
    expect: {denied: {dns: refused}}
  - name: unlisted-name
    inject: {dns: {from: backend, name: example.com, rate: 20/m, duration: 1m}}
    control: {dns: {from: backend, name: api.github.com, rate: 10/m}}
    expect: {denied: {connect: timeout}}
  - name: database-connect
    inject: {tcp: {from: frontend, host: database.database, port: 5432, rate: 20/m, duration: 1m}}
    control: {tcp: {from: backend, host: database.database, port: 5432, rate: 10/m}}
    expect: {denied: {connect: timeout}}
  - name: database-login
    inject:
      postgres:
        {from: frontend, host: database.database, user: appuser, database: appdb, rate: 20/m, duration: 1m,
         passwordFrom: {secret: database/app, key: password}}
    control:
      postgres:
        {from: backend, host: database.database, user: appuser, database: appdb, rate: 10/m,
         passwordFrom: {secret: database/app, key: password}}
    expect: {denied: {connect: timeout}}
"""

# A server that is reached and says no has been reached; a name that nobody has cannot be kept from anybody.
MORE = """\
  - name: wrong-password
    inject: {postgres: &attack
        {from: backend, host: database.database, user: appuser, database: appdb, rate: 20/m, duration: 1m,
         passwordFrom: {secret: database/wrong, key: password}}}
    control: {postgres: &control
        {from: backend, host: database.database, user: appuser, database: appdb, rate: 10/m,
         passwordFrom: {secret: database/app, key: password}}}
    expect: {denied: {connect: timeout}}
  - name: too-many-connections
    inject: {postgres: {<<: *attack, user: crowd}}
    control: {postgres: *control}
    expect: {denied: {connect: timeout}}
  - name: no-such-name  # the proxy refuses it like any other
    inject: {dns: {from: backend, name: drills.invalid, rate: 20/m, duration: 1m}}
    control: {dns: {from: backend, name: api.github.com, rate: 10/m}}
    expect: {denied: {dns: refused}}
"""
WRONG = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong", "namespace": "database"},
         "stringData": {"password": "of-somebody-else"}}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    drills = drills_of("negatives", tmp_path_factory.mktemp("lab"))
    up = drills("lab", "up", "--time-lapse", str(K))
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


def tried(lab: Lab, folder: Path, more: str = "") -> tuple[Ended, dict[str, dict[str, Any]]]:
    """What the drills found, by name; ``more`` are further drills."""
    playbook = folder / "negatives.yaml"
    playbook.write_text(PLAYBOOK + more)
    ended = lab.drills("run", playbook, "--lab", "--out", folder / "out")
    return ended, {each["name"]: each for each in lab.drills.result(folder / "out")["drills"]}


def policy(lab: Lab, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.kubectl("-n", namespace, "get", "cnp", name, "-o", "json"))
    return found


def apply(lab: Lab, changed: dict[str, Any]) -> None:
    lab.kubectl("replace", "-f", "-", stdin=json.dumps(changed))


def put_back(lab: Lab, before: dict[str, Any]) -> None:
    metadata = {key: before["metadata"][key] for key in ("name", "namespace")}
    apply(lab, before | {"metadata": metadata})


def test_all_of_them_hold_under_the_shipped_policies(lab: Lab, tmp_path: Path) -> None:
    ended, found = tried(lab, tmp_path)
    assert {name: drill["enforcement"]["verdict"] for name, drill in found.items()} == dict.fromkeys(found, "held")
    assert ended.status == 0, ended.out


def let_in_nobody_of_a_crowd(lab: Lab) -> None:
    """Another password, and a role of that password that may have no connection at all."""
    lab.kubectl("create", "-f", "-", stdin=json.dumps(WRONG))
    create = "CREATE ROLE crowd LOGIN PASSWORD 'of-somebody-else' CONNECTION LIMIT 0"
    psql = ("exec", "-n", "database", "database-0", "--", "psql", "-c")
    as_owner, as_crowd = (
        f"host=127.0.0.1 user={user} password={password} dbname=appdb"
        for user, password in (("appuser", "only-for-the-demo"), ("crowd", "of-somebody-else"))
    )
    lab.kubectl(*psql, create, "-d", as_owner)
    with pytest.raises(AssertionError, match="too many connections for role"):
        lab.kubectl(*psql, "SELECT 1", "-d", as_crowd)


def test_a_widened_fqdn_list_and_a_database_open_to_frontend(lab: Lab, tmp_path: Path) -> None:
    before = policy(lab, "backend", "external-api-policy"), policy(lab, "database", "backend-to-database")
    outside, database = deepcopy(before)
    for rule in outside["spec"]["egress"]:
        if "toFQDNs" in rule:
            rule["toFQDNs"] = [{"matchPattern": "*"}]
    (ingress,) = database["spec"]["ingress"]
    ingress["fromEndpoints"].append({"matchLabels": {"app": "frontend", "io.kubernetes.pod.namespace": "frontend"}})
    let_in_nobody_of_a_crowd(lab)
    apply(lab, outside)
    apply(lab, database)
    try:
        ended, found = tried(lab, tmp_path, MORE)
    finally:
        for each in before:
            put_back(lab, each)

    assert ended.status == 1
    assert {name: drill["enforcement"]["verdict"] for name, drill in found.items()} == {
        "refused-name": "held",
        "unlisted-name": "breached",
        "database-connect": "breached",
        "database-login": "breached",
        "wrong-password": "breached",
        "too-many-connections": "breached",
        "no-such-name": "inconclusive",
    }
    nobodys = found["no-such-name"]["enforcement"]
    assert nobodys["outcomes"] == {"dns-refused": 20}
    assert "drills.invalid has no address on k8s-w1 and k8s-w2, either" in nobodys["reason"]
    for name in ("wrong-password", "too-many-connections"):
        enforcement = found[name]["enforcement"]
        assert (enforcement["leaked"], enforcement["outcomes"]) == (20, {"server-error": 20}), "it was reached"
    assert found["database-login"]["enforcement"]["leaked"] == 20
    assert "only-for-the-demo" not in ended.out + ended.err


def test_the_dns_rule_dropped(lab: Lab, tmp_path: Path) -> None:
    """Nothing refuses names any more. (What toFQDNs has learned of addresses before stays until its TTL ends.)"""
    before = policy(lab, "backend", "external-api-policy")
    outside = deepcopy(before)
    for rule in outside["spec"]["egress"]:
        for ports in rule["toPorts"]:
            ports.pop("rules", None)
    apply(lab, outside)
    try:
        ended, found = tried(lab, tmp_path)
    finally:
        put_back(lab, before)

    assert ended.status == 1
    verdicts = {name: drill["enforcement"]["verdict"] for name, drill in found.items()}
    assert verdicts["database-connect"] == verdicts["database-login"] == "held"
    assert (verdicts["refused-name"], found["refused-name"]["verdict"]) == ("breached", "failed")
