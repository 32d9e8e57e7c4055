"""What goes into a cluster: exactly the rights asked for, one run at a time, and a base that is fresh."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.promql import parse
from drills.cilium import policy
from drills.cilium.sanitize import sanitize
from drills.deploy.manifests import Written, base, of_playbook, stream
from drills.deploy.roles import rules
from drills.deploy.settings import Settings
from drills.engine.rights import needed
from drills.errors import InputError
from drills.kube.rights import Right
from drills.playbook import load

ROOT = Path(__file__).parents[3]
SHIPPED = [ROOT / "playbooks" / f"{name}.yaml" for name in ("admin-path", "zero-trust")]


@pytest.fixture(scope="module")
def written() -> list[Written]:
    schedules = ("0 3 * * *", "0 4 * * 0")
    return [Written(path, load(path), schedule) for path, schedule in zip(SHIPPED, schedules, strict=True)]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [obj for obj in objects if obj["kind"] == kind]


def test_roles_say_exactly_what_is_needed(written: list[Written]) -> None:
    for one in written:
        granted = {
            Right(group, resource, verb, role["metadata"].get("namespace"), name)
            for role in of_playbook(one, Settings())
            if role["kind"] in ("Role", "ClusterRole")
            for rule in role["rules"]
            for group, resource, verb, name in product(
                rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [None])
            )
        }
        assert granted == set(needed(one.playbook, addresses=Settings().watched))


def test_no_rule_has_a_wildcard_and_only_policies_and_nodes_are_cluster_wide(written: list[Written]) -> None:
    for one in written:
        objects = of_playbook(one, Settings())
        (cluster_wide,) = of_kind(objects, "ClusterRole")
        assert {name for rule in cluster_wide["rules"] for name in rule["resources"]} <= {
            "ciliumnetworkpolicies",
            "ciliumclusterwidenetworkpolicies",
            "ciliumnodes",
            "nodes",
            "prometheusrules",
        }
        assert "*" not in yaml.safe_dump([role["rules"] for role in objects if "rules" in role])


def test_rights_that_differ_in_verb_and_name_are_not_mixed() -> None:
    rights = [
        Right("", "secrets", "get", "a", "one"),
        Right("", "secrets", "delete", "a", "two"),
        Right("", "configmaps", "get", "a", "one"),
        Right("", "secrets", "create", "a"),
    ]
    assert rules(rights) == [
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "resourceNames": ["one"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["two"], "verbs": ["delete"]},
    ]


def test_every_role_is_bound_to_the_runner_and_to_nobody_else(written: list[Written]) -> None:
    settings = Settings(namespace="game-days", service_account="robot")
    objects = of_playbook(written[0], settings)
    roles = {(one["kind"], one["metadata"].get("namespace")) for one in objects if one["kind"].endswith("Role")}
    bindings = [one for one in objects if one["kind"].endswith("Binding")]
    assert {(one["kind"].removesuffix("Binding"), one["metadata"].get("namespace")) for one in bindings} == roles
    for one in bindings:
        assert one["subjects"] == [{"kind": "ServiceAccount", "name": "robot", "namespace": "game-days"}]
    assert {one["metadata"]["namespace"] for one in of_kind(objects, "CronJob")} == {"game-days"}


def test_one_run_at_a_time_that_ends_and_is_not_tried_again(written: list[Written]) -> None:
    (job,) = of_kind(of_playbook(written[0], Settings(timezone="Europe/Zurich")), "CronJob")
    spec, run = job["spec"], job["spec"]["jobTemplate"]["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 3 * * *", "Europe/Zurich", "Forbid")
    assert not spec["suspend"]
    assert spec["startingDeadlineSeconds"] > 10  # less, and the controller may miss every turn
    assert run["backoffLimit"] == 0
    assert run["activeDeadlineSeconds"] > written[0].playbook.guards.max_duration
    pod = run["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] > 30
    assert "--recover" in pod["containers"][0]["args"]


def test_without_a_schedule_it_runs_only_when_asked() -> None:
    objects = of_playbook(Written(SHIPPED[0], load(SHIPPED[0])), Settings())
    assert of_kind(objects, "CronJob")[0]["spec"]["suspend"] is True
    alerts = [rule["alert"] for rule in of_kind(objects, "PrometheusRule")[0]["spec"]["groups"][0]["rules"]]
    assert alerts == ["DrillFailed", "DrillInconclusive"]


def test_the_alerts_know_twice_the_interval_and_parse(written: list[Written]) -> None:
    (found,) = of_kind(of_playbook(written[0], Settings(rule_labels={"release": "x"})), "PrometheusRule")
    rules_by_name = {rule["alert"]: rule for rule in found["spec"]["groups"][0]["rules"]}
    for rule in rules_by_name.values():
        parse(rule["expr"])
    assert rules_by_name["DrillOverdue"]["expr"].endswith(f"> {2 * 86400}")
    assert rules_by_name["DrillNeverRan"]["for"] == "2d"
    assert found["metadata"]["labels"]["release"] == "x"


def test_captures_alone_make_their_namespace_privileged(written: list[Written]) -> None:
    def level(chosen: list[Written], namespace: str) -> str:
        found = [*yaml.safe_load_all(stream(chosen, Settings(namespace="game-days")))]
        (one,) = [each for each in of_kind(found, "Namespace") if each["metadata"]["name"] == namespace]
        return str(one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])

    assert level(written[:1], "drills") == "restricted"
    assert level(written, "drills") == "privileged"
    assert level(written, "game-days") == "restricted"


def test_the_runner_s_policy_is_one_that_cilium_takes(written: list[Written]) -> None:
    settings = Settings(prometheus="https://prometheus.example.com", alertmanager="http://192.0.2.7:9093")
    (one,) = of_kind(of_playbook(written[0], settings), "CiliumNetworkPolicy")
    assert policy.unknown_fields("CiliumNetworkPolicy", one) == []
    assert policy.schema_errors("CiliumNetworkPolicy", one) == []
    assert sanitize(policy.parse(one)) == []
    egress = one["spec"]["egress"]
    assert {"toFQDNs": [{"matchName": "prometheus.example.com"}]}.items() <= egress[2].items()
    assert egress[3] == {"toCIDR": ["192.0.2.7/32"], "toPorts": [{"ports": [{"port": "9093", "protocol": "TCP"}]}]}


def test_a_prometheus_behind_the_api_server_needs_a_right_and_no_path(written: list[Written]) -> None:
    settings = Settings(pushgateway="", prometheus="service:monitoring/https:prometheus:9090/prom", alertmanager="")
    objects = of_playbook(written[0], settings)
    (role,) = [one for one in of_kind(objects, "Role") if one["metadata"]["namespace"] == "monitoring"]
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["services/proxy"],
            "resourceNames": ["https:prometheus:9090"],
            "verbs": ["get"],
        }
    ]
    assert len(of_kind(objects, "CiliumNetworkPolicy")[0]["spec"]["egress"]) == 2


def test_the_playbook_goes_in_as_it_was_written(written: list[Written]) -> None:
    found = [*yaml.safe_load_all(stream(written, Settings()))]
    texts = [one["data"]["playbook.yaml"] for one in of_kind(found, "ConfigMap")]
    assert texts == [path.read_text() for path in SHIPPED]


def test_a_locustfile_goes_with_it(tmp_path: Path) -> None:
    text = SHIPPED[1].read_text()
    path = tmp_path / "playbook.yaml"
    path.write_text(text.replace("workers: 2}", "workers: 2, locustfile: users.py}"))
    (tmp_path / "users.py").write_text("# users\n")
    (found,) = of_kind(of_playbook(Written(path, load(path)), Settings()), "ConfigMap")
    assert found["data"]["users.py"] == "# users\n"
    apart = tmp_path / "apart"
    apart.mkdir()
    (apart / "users.py").write_text("# users\n")
    path.write_text(text.replace("workers: 2}", "workers: 2, locustfile: apart/users.py}"))
    with pytest.raises(InputError, match="beside the playbook"):
        of_playbook(Written(path, load(path)), Settings())


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://"])
def test_a_url_that_is_none_is_refused(written: list[Written], url: str) -> None:
    with pytest.raises(InputError, match="no URL"):
        of_playbook(written[0], Settings(prometheus=url))


def test_the_shipped_base_is_what_the_command_makes(written: list[Written]) -> None:
    made = base(written, Settings(rule_labels={"release": "kube-prometheus-stack"}))
    assert {path.name: path.read_text() for path in (ROOT / "deploy").glob("*.yaml")} == made, "run `make base`"


def test_two_playbooks_of_one_name_are_refused(written: list[Written]) -> None:
    with pytest.raises(InputError, match="admin-path"):
        base([written[0], written[0]], Settings())


def test_a_playbook_that_silences_gets_the_rights_for_it_and_time_to_lift(tmp_path: Path) -> None:
    path = tmp_path / "silent.yaml"
    path.write_text(SHIPPED[0].read_text().replace("spec:\n", "spec:\n  notify: silence\n", 1))
    loud, silent = (Written(one, load(one)) for one in (SHIPPED[0], path))
    settings = Settings(alertmanager="service:monitoring/alertmanager-operated:9093")
    verbs = [
        {verb for rule in role["rules"] if "services/proxy" in rule["resources"] for verb in rule["verbs"]}
        for one in (loud, silent)
        for role in of_kind(of_playbook(one, settings), "Role")
        if role["metadata"]["namespace"] == "monitoring"
    ]
    assert verbs == [{"get"}, {"get", "create", "delete"}]
    deadlines = [
        of_kind(of_playbook(one, settings), "CronJob")[0]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
        for one in (loud, silent)
    ]
    assert deadlines[1] > deadlines[0]
    with pytest.raises(InputError, match="notify: silence, and silences are laid at Alertmanager"):
        of_playbook(silent, Settings(alertmanager=""))
