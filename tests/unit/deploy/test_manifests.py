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
from drills.deploy.runner import grace
from drills.deploy.settings import SecretKey, Settings
from drills.engine import actors
from drills.engine import load as flood_load
from drills.engine.drill import PROOF_SECONDS
from drills.engine.publications import ANSWER_SECONDS, SCRAPED_AFTER_A_SIGNAL, SCRAPED_SECONDS, Where, parse_all
from drills.engine.rights import needed
from drills.errors import InputError
from drills.kube.rights import Right
from drills.playbook import FloodInjection, load

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "playbooks").glob("*.yaml"))
SCHEDULES = {"admin-path": "0 3 * * *", "flood": "0 2 * * 0", "zero-trust": "0 4 * * 0"}  # of the base, in the Makefile


@pytest.fixture(scope="module")
def written() -> list[Written]:
    return [Written(path, load(path), SCHEDULES[path.stem]) for path in SHIPPED]


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
        assert granted == set(needed(one.playbook, addresses=Settings().watched, publish=Settings().published))


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


def test_several_playbooks_share_an_account_which_can_recover_what_another_one_left(written: list[Written]) -> None:
    found = [*yaml.safe_load_all(stream(written, Settings()))]
    (account,) = of_kind(found, "ServiceAccount")
    assert account["metadata"]["name"] == "drills-runner"
    bound = {subject["name"] for one in found if one["kind"].endswith("Binding") for subject in one["subjects"]}
    jobs = of_kind(found, "CronJob")
    runs_as = {one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] for one in jobs}
    assert (len(jobs), bound, runs_as) == (len(SHIPPED), {"drills-runner"}, {"drills-runner"})
    (alone,) = of_kind([*yaml.safe_load_all(stream(written[:1], Settings()))], "ServiceAccount")
    assert alone["metadata"]["name"] == "drills-admin-path"


def test_a_base_has_every_object_once(written: list[Written]) -> None:
    """Kustomize refuses a second one of the same kind and name."""
    files = base(written, Settings(service_account="robot"))
    found = [one for text in files.values() for one in yaml.safe_load_all(text) if "metadata" in one]
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    assert ("ServiceAccount", "drills", "robot") in names


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


def test_the_grace_counts_every_pod_of_a_flood() -> None:
    """Its master, its workers, the probe and the control's: they go one after another."""
    flood = load(ROOT / "playbooks" / "flood.yaml")
    (drill,) = flood.drills
    assert isinstance(drill.injection, FloodInjection)
    more = drill.model_copy(
        update={"inject": drill.inject.model_copy(update={"flood": drill.injection.model_copy(update={"workers": 5})})}
    )
    wider = flood.model_copy(update={"spec": flood.spec.model_copy(update={"drills": (more,)})})
    workers = 5 - drill.injection.workers
    assert grace(flood) > actors.GONE_SECONDS * (1 + drill.injection.workers + 1) + PROOF_SECONDS
    assert grace(wider) - grace(flood) == workers * (actors.GONE_SECONDS + flood_load.CLOSE_SECONDS)


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


def test_captures_alone_make_their_namespace_privileged(written: list[Written], tmp_path: Path) -> None:
    text = SHIPPED[1].read_text().replace("      plaintext: none\n", "").replace("allow: [capture]", "allow: []")
    (tmp_path / "no-captures.yaml").write_text(text)
    fault_alone = [Written(tmp_path / "no-captures.yaml", load(tmp_path / "no-captures.yaml"))]

    def level(chosen: list[Written], namespace: str) -> str:
        found = [*yaml.safe_load_all(stream(chosen, Settings(namespace="game-days")))]
        (one,) = [each for each in of_kind(found, "Namespace") if each["metadata"]["name"] == namespace]
        return str(one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])

    assert level(written[:1], "drills") == "restricted"
    assert level(fault_alone, "drills") == "restricted"
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


TOLD = ("events", "configmap", "grafana=http://grafana.monitoring:3000", "scrape=0.0.0.0:9099")


def test_where_results_go_is_in_the_cronjob_with_rights_and_paths(written: list[Written]) -> None:
    settings = Settings(publish=parse_all(TOLD), grafana_token=SecretKey.parse("tokens/grafana"))
    plain, objects = of_playbook(written[0], Settings()), of_playbook(written[0], settings)
    before, after = (of_kind(one, "CronJob")[0]["spec"]["jobTemplate"]["spec"] for one in (plain, objects))
    pod = after["template"]["spec"]
    (container,) = pod["containers"]
    arguments = container["args"]
    told = [arguments[at + 1] for at, one in enumerate(arguments) if one == "--publish"]
    assert told == ["pushgateway=http://prometheus-pushgateway.monitoring:9091", *TOLD]
    token = f"{container['volumeMounts'][-1]['mountPath']}/grafana"
    assert {"name": "DRILLS_GRAFANA_TOKEN_FILE", "value": token} in container["env"]
    assert pod["volumes"][-1] == {"name": "grafana", "secret": {"secretName": "tokens"}}
    assert after["activeDeadlineSeconds"] - before["activeDeadlineSeconds"] == SCRAPED_SECONDS + ANSWER_SECONDS
    longer = pod["terminationGracePeriodSeconds"] - before["template"]["spec"]["terminationGracePeriodSeconds"]
    assert longer == SCRAPED_AFTER_A_SIGNAL + ANSWER_SECONDS
    for namespace, resource in (("frontend", "events"), ("backend", "events"), ("drills", "configmaps")):
        (role,) = [one for one in of_kind(objects, "Role") if one["metadata"]["namespace"] == namespace]
        assert any(resource in rule["resources"] and "create" in rule["verbs"] for rule in role["rules"])


def test_a_scraper_is_let_in_and_finds_the_port(written: list[Written]) -> None:
    settings = Settings(publish=parse_all(TOLD), rule_labels={"release": "x"})
    objects = of_playbook(written[0], settings)
    (one,) = of_kind(objects, "CiliumNetworkPolicy")
    assert sanitize(policy.parse(one)) == []
    monitoring = [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "monitoring"}}]
    ports = [{"ports": [{"port": "9099", "protocol": "TCP"}]}]
    assert one["spec"]["ingress"] == [{"fromEndpoints": monitoring, "toPorts": ports}]
    assert {"toEndpoints": monitoring} in one["spec"]["egress"]
    (monitor,) = of_kind(objects, "PodMonitor")
    (job,) = of_kind(objects, "CronJob")
    template = job["spec"]["jobTemplate"]["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (port,) = template["spec"]["containers"][0]["ports"]
    assert (port["name"], port["containerPort"]) == (monitor["spec"]["podMetricsEndpoints"][0]["port"], 9099)
    assert monitor["metadata"]["labels"]["release"] == "x"


def test_the_credentials_of_prometheus_come_from_a_secret(written: list[Written]) -> None:
    settings = Settings(
        prometheus_http_config=SecretKey.parse("prometheus-login/http.yaml"),
        alertmanager_http_config=SecretKey.parse("alertmanager-login/http.yaml"),
    )
    (job,) = of_kind(of_playbook(written[0], settings), "CronJob")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
    assert secrets == {"prometheus": "prometheus-login", "alertmanager": "alertmanager-login"}
    for name in secrets:
        at = container["args"].index(f"--{name}-http-config")
        assert container["args"][at + 1] == f"{mounted[name]}/http.yaml"


@pytest.mark.parametrize("text", ["", "login", "login/", "/http.yaml", "Log in/x", "login/..", "login/a/b"])
def test_what_names_no_key_of_a_secret(text: str) -> None:
    with pytest.raises(InputError, match="SECRET/KEY"):
        SecretKey.parse(text)


def test_the_playbook_goes_in_as_it_was_written(written: list[Written]) -> None:
    found = [*yaml.safe_load_all(stream(written, Settings()))]
    texts = [one["data"]["playbook.yaml"] for one in of_kind(found, "ConfigMap")]
    assert texts == [path.read_text() for path in SHIPPED]


def test_a_locustfile_goes_with_it(tmp_path: Path) -> None:
    text = SHIPPED[-1].read_text()
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


LOGIN = SecretKey("login", "http.yaml")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no scheme": ({"prometheus": "prometheus:9090"}, "no address"),
    "another scheme": ({"alertmanager": "ftp://x"}, "no address"),
    "no host": ({"prometheus": "http://"}, "no address"),
    "no prometheus": ({"prometheus": ""}, "give --prometheus URL"),
    "a password": ({"prometheus": "http://user:hidden@prom:9090"}, "carries credentials"),
    "a service without a name": ({"prometheus": "service:monitoring"}, "names no Service"),
    "a password for the pushgateway": ({"pushgateway": "http://user:hidden@x:9091"}, "without a password"),
    "a user for grafana": ({"publish": (Where("grafana", "http://user@x"),)}, "without a password"),
    "namespace": ({"namespace": "Bad_NS"}, "--namespace"),
    "no namespace": ({"namespace": ""}, "--namespace"),
    "a long namespace": ({"namespace": "n" * 64}, "63 characters"),
    "service account": ({"service_account": "A b"}, "--service-account"),
    "no image": ({"image": ""}, "--image"),
    "an image of two words": ({"image": "drills: latest"}, "--image"),
    "no key of a label": ({"rule_labels": {"": "v"}}, "--rule-label"),
    "a long value of a label": ({"rule_labels": {"release": "v" * 64}}, "63 characters"),
    "timezone": ({"timezone": "localtime"}, "no time zone"),
    "login without alertmanager": ({"alertmanager": "", "alertmanager_http_config": LOGIN}, "only means something"),
    "login through the API": (
        {"prometheus": "service:monitoring/prometheus:9090", "prometheus_http_config": LOGIN},
        "API's own credentials",
    ),
    "a token for nobody": ({"grafana_token": LOGIN}, "only means something"),
    "scraped from inside": ({"publish": (Where("scrape", "127.0.0.1:9099"),)}, "0.0.0.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_run_or_a_cluster_refuses_is_refused(written: list[Written], case: str) -> None:
    settings, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refused:
        stream(written[:1], Settings(**settings))
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "image", ["drills:0.1.0", "localhost:5000/a/b-c__d:x", f"registry.example/d@sha256:{'0' * 64}"]
)
def test_images(written: list[Written], image: str) -> None:
    stream(written[:1], Settings(image=image))


def changed(tmp_path: Path, *changes: tuple[str, str], of: Path = SHIPPED[0]) -> Written:
    text = of.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "playbook.yaml"
    path.write_text(text)
    return Written(path, load(path))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("http-api.backend/admin", "http-api.payments/admin", "guards.namespaces does not list payments"),
        ("      denied: {status: 403}\n", "", "lacks `denied`"),
        ("maxDuration: 15m", "maxDuration: 15m\n    abortWhen: ['sum(']", "cannot be parsed"),
    ],
)
def test_what_a_run_refuses_gets_no_rights(tmp_path: Path, old: str, new: str, words: str) -> None:
    one = changed(tmp_path, (old, new))
    for make in (stream, base):
        with pytest.raises(InputError, match=words):
            make([one], Settings())


def test_a_name_that_no_cronjob_may_have(tmp_path: Path) -> None:
    longest = changed(tmp_path, ("name: admin-path\nspec", f"name: {'n' * 45}\nspec"))
    (job,) = of_kind([*yaml.safe_load_all(stream([longest], Settings()))], "CronJob")
    assert len(job["metadata"]["name"]) == 52
    with pytest.raises(InputError, match="52 characters at most; use 45 or less"):
        stream([changed(tmp_path, ("name: admin-path\nspec", f"name: {'n' * 46}\nspec"))], Settings())


def test_the_shipped_base_is_what_the_command_makes(written: list[Written]) -> None:
    made = base(written, Settings(rule_labels={"release": "kube-prometheus-stack"}))
    assert {path.name: path.read_text() for path in (ROOT / "deploy").glob("*.yaml")} == made, "run `make base`"


def test_two_playbooks_of_one_name_are_refused(written: list[Written]) -> None:
    for make in (stream, base):
        with pytest.raises(InputError, match="admin-path"):
            make([written[0], written[0]], Settings())


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
