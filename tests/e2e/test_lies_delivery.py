"""Between a right rule and the one who must be told: Alertmanager that swallows, mutes and delays, and a Prometheus,
its rules and its targets that change while they are being judged. One lab, two runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from command import Drills, Ended, Lab
from lies_support import LIES, Inside, Running, alert_of, drill_of, lab_with, quiet_of, verdict

pytestmark = pytest.mark.lab

HERE = LIES / "delivery"
NO_HUBBLE_OF_W1 = """
add table inet lies
add chain inet lies out { type filter hook output priority 0; }
add rule inet lies out ip daddr 172.18.0.11 tcp dport 9965 reject with tcp reset
"""
# One process, lest it last into the next drill; the first attempt comes 0.3 s after the journal's "attack".
OTHERS = 'sleep 0.5; curl -s "http://http-api.backend/admin?[1-200]" > /dev/null'


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    manifests = [HERE / name for name in ("alertmanager.yaml", "rules.yaml", "disturbed-rules.yaml")]
    with lab_with(tmp_path_factory.mktemp("delivery"), "lies-delivery", *manifests) as found:
        yield found


@pytest.fixture(scope="module")
def inside(lab: Lab) -> Iterator[Inside]:
    found = Inside(lab)
    yield found
    lab.drills("lab", "down")
    found.close()


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def post(inside: Inside, what: str, body: Any) -> None:
    requests.post(f"{inside.alertmanager}/api/v2/{what}", json=body, timeout=5).raise_for_status()


@pytest.fixture(scope="module")
def delivery(lab: Lab, inside: Inside, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, dict[str, Any]]:
    """The first run. The groups of ToldAlready and GroupThere are there already, from alerts that are over."""
    out = tmp_path_factory.mktemp("out") / "delivery"
    matcher = {"name": "alertname", "value": "Silenced|HushedByAnn", "isRegex": True, "isEqual": True}
    silence = {"matchers": [matcher], "startsAt": soon(0), "endsAt": soon(600)}
    post(inside, "silences", {**silence, "createdBy": "ann", "comment": "noisy since Tuesday"})
    running = Running(lab, HERE / "playbook.yaml", out)
    running.until("delivery", "phase", phase="prepare")
    told = {"alertname": "ToldAlready", "team": "a"}, {"alertname": "Neighbour", "team": "b"}
    post(inside, "alerts", [{"labels": labels, "endsAt": soon(0.4)} for labels in told])
    return running.ended(), lab.drills.result(out)


@pytest.fixture
def told(delivery: tuple[Ended, dict[str, Any]]) -> dict[str, Any]:
    return drill_of(delivery[1], "delivery")


def test_what_is_not_delivered_is_a_failure(delivery: tuple[Ended, dict[str, Any]], told: dict[str, Any]) -> None:
    ended, result = delivery
    assert (ended.status, result["verdict"]) == (1, "failed"), ended.out
    assert told["enforcement"]["verdict"] == "held"
    assert alert_of(told, "Delivered")["verdict"] == "detected"


def test_a_silence_is_named_with_its_author_and_comment(told: dict[str, Any]) -> None:
    alert = alert_of(told, "Silenced")
    assert verdict(alert) == ("undelivered", "silenced")
    assert 'by ann: "noisy since Tuesday"' in alert["reason"]
    assert (alert["atAlertmanagerAt"] is not None, alert["notifiedAt"]) == (True, None)


def test_an_inhibition_names_the_alert_that_inhibits(told: dict[str, Any]) -> None:
    alert = alert_of(told, "Inhibited")
    assert verdict(alert) == ("undelivered", "inhibited")
    assert "inhibited by Inhibitor" in alert["reason"]
    assert alert_of(told, "Inhibitor")["verdict"] == "detected"


def test_a_route_muted_by_time_shows_active_and_sends_nothing(told: dict[str, Any]) -> None:
    alert = alert_of(told, "TimeMuted")
    assert verdict(alert) == ("undelivered", "time-muted")
    assert "muted by time now: always" in alert["reason"]
    assert alert["atAlertmanagerAt"] is not None


def test_a_receiver_without_integrations_swallows(told: dict[str, Any]) -> None:
    alert = alert_of(told, "Swallowed")
    assert verdict(alert) == ("undelivered", "wrong-receiver")
    assert "routed to nobody, which sends to nothing" in alert["reason"]


def test_another_receiver_than_the_one_expected(told: dict[str, Any]) -> None:
    alert = alert_of(told, "Misrouted")
    assert verdict(alert) == ("undelivered", "wrong-receiver")
    assert "routed to elsewhere, not to security" in alert["reason"]


def test_a_webhook_that_answers_500_is_seen_by_its_failed_requests(told: dict[str, Any]) -> None:
    alert = alert_of(told, "ReceiverFails")
    assert verdict(alert) == ("undelivered", "receiver-failed")
    assert "tries to notify failed since the attack began" in alert["reason"]


def test_told_before_and_not_yet_resolved_is_not_told_again(told: dict[str, Any]) -> None:
    alert = alert_of(told, "ToldAlready")
    assert verdict(alert) == ("undelivered", "deduplicated")
    assert "not told again before group_interval" in alert["reason"]


def test_a_group_that_exists_already_delays_within_the_bound(told: dict[str, Any]) -> None:
    alert = alert_of(told, "GroupThere")
    assert (alert["verdict"], alert["stoppedAt"]) == ("detected", None)
    waited = datetime.fromisoformat(alert["notifiedAt"]) - datetime.fromisoformat(alert["firingAt"])
    assert waited > timedelta(seconds=2)  # beyond `within` and its grace: group_interval is 12 s on this clock


def test_a_rule_that_can_no_longer_be_evaluated_has_not_resolved(told: dict[str, Any]) -> None:
    alert = alert_of(told, "Breaking")
    assert (alert["verdict"], alert["resolution"], alert["resolvedAt"]) == ("detected", "not-judged", None)
    assert "whether it resolved cannot be judged: evaluating Breaking fails: " in alert["reason"]


@pytest.fixture(scope="module")
def by_context(lab: Lab, inside: Inside, delivery: object) -> dict[str, Any]:
    """The same routes where no receiver can be asked, as on a cluster."""
    status = json.loads((lab.kubeconfig.parent / "status.json").read_text())
    environment = {key: value for key, value in lab.drills.environment.items() if key != "DRILLS_LAB"}
    cluster = Drills({**environment, "KUBECONFIG": str(lab.kubeconfig)}, lab.drills.folder)
    where = ["--context", lab.kubectl("config", "current-context").strip()]
    where += ["--prometheus", status["prometheus"], "--alertmanager", inside.alertmanager]
    out = lab.drills.folder / "by-context"
    ended = cluster("run", HERE / "by-context.yaml", *where, "--out", out)
    assert ended.status == 1, ended.err
    return drill_of(cluster.result(out), "by-context")


@pytest.mark.parametrize(
    ("name", "stopped_at", "said"),
    [
        ("TimeMuted", "time-muted", "muted by time now: always"),
        ("Swallowed", "wrong-receiver", "which sends to nothing"),
        ("Misrouted", "wrong-receiver", "routed to elsewhere, not to security"),
    ],
)
def test_active_at_alertmanager_is_not_told(by_context: dict[str, Any], name: str, stopped_at: str, said: str) -> None:
    alert = alert_of(by_context, name)
    assert verdict(alert) == ("undelivered", stopped_at)
    assert said in alert["reason"]
    assert alert["atAlertmanagerAt"] is not None


@pytest.mark.parametrize("name", ["Delivered", "ReceiverFails"])
def test_whose_tries_to_notify_failed_is_not_known_where_others_did_not(by_context: dict[str, Any], name: str) -> None:
    alert = alert_of(by_context, name)
    assert verdict(alert) == ("not-judged", None)
    assert "tries to notify failed since the attack began, and Alertmanager does not say which" in alert["reason"]


@pytest.fixture
def hushed(delivery: tuple[Ended, dict[str, Any]]) -> dict[str, Any]:
    return drill_of(delivery[1], "hushed")


def test_silenced_by_this_run_alone_is_delivered_and_nobody_is_told(
    inside: Inside, delivery: tuple[Ended, dict[str, Any]], hushed: dict[str, Any]
) -> None:
    alert = alert_of(hushed, "Hushed")
    assert (alert["verdict"], alert["flags"], alert["notifiedAt"]) == ("detected", [], None)
    assert "silenced by this run, as the playbook asks" in delivery[0].out
    silences = requests.get(f"{inside.alertmanager}/api/v2/silences", timeout=5).json()
    ours = [one for one in silences if one["createdBy"] == "drills"]
    assert (len(ours), {one["status"]["state"] for one in ours}) == (5, {"expired"})
    assert {one["id"] for one in ours} > {*alert["silencedBy"]}
    told = [
        (one["labels"]["alertname"], one["labels"].get("severity"))
        for each in requests.get(f"{inside.receiver}/notifications", timeout=5).json()
        for one in each["alerts"]
        if one["status"] == "firing"
    ]
    assert ("Hushed", "warning") not in told
    assert ("Hushed", "critical") in told  # another alert, of the same name


def test_a_silence_of_somebody_else_beside_ours_is_no_delivery(hushed: dict[str, Any]) -> None:
    alert = alert_of(hushed, "HushedByAnn")
    assert (verdict(alert), alert["silencedBy"]) == (("undelivered", "silenced"), [])
    assert 'by ann: "noisy since Tuesday"' in alert["reason"]
    assert "drills" not in alert["reason"]


@pytest.mark.parametrize(
    ("name", "stopped_at"),
    [
        ("HushedAndMuted", "time-muted"),
        ("HushedAndSwallowed", "wrong-receiver"),
        ("HushedElsewhere", "wrong-receiver"),
    ],
)
def test_what_would_not_have_been_delivered_is_not_though_we_silenced_it(
    hushed: dict[str, Any], name: str, stopped_at: str
) -> None:
    assert verdict(alert_of(hushed, name)) == ("undelivered", stopped_at)


@pytest.fixture(scope="module")
def disturbed(
    lab: Lab, inside: Inside, by_context: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ended, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out") / "disturbed"
    running = Running(lab, HERE / "disturbed.yaml", out)
    with ThreadPoolExecutor() as hands:
        running.until("meddled", "attack")
        work = [
            hands.submit(lab.kubectl, "exec", "-n", "frontend", "deploy/frontend", "--", "sh", "-c", OTHERS),
            hands.submit(inside.filter, NO_HUBBLE_OF_W1),
        ]
        for alert in ("Removed", "Shared"):  # a reload makes Prometheus forget its Alertmanagers for some seconds
            running.until("meddled", "alert", alert=alert, stage="notified")
        work.append(hands.submit(patch_rule, lab))
        lab.kubectl("delete", "prometheusrule", "-n", "monitoring", "removed")
        for one in work:
            one.result()
    running.until("meddled", "verdict")
    inside.filter("delete table inet lies")
    running.until("stalled", "attack")
    time.sleep(0.6)
    inside.stall(0.7)
    running.until("restarted-after", "phase", detail="waiting for the alerts to resolve")
    inside.kill()
    inside.start()
    running.until("restarted", "attack")
    inside.kill()
    inside.start()
    running.until("killed", "attack")
    inside.kill()
    return running.ended(), lab.drills.result(out)


def patch_rule(lab: Lab) -> None:
    at = "/spec/groups/0/rules/{}/expr"
    wrong = json.dumps(
        [
            {"op": "replace", "path": at.format(0), "value": "sum(up)"},
            {"op": "replace", "path": at.format(4), "value": "sum(up) > 10"},
        ]
    )
    lab.kubectl("patch", "prometheusrule", "-n", "monitoring", "patched", "--type=json", "-p", wrong)


@pytest.fixture
def meddled(disturbed: tuple[Ended, dict[str, Any]]) -> dict[str, Any]:
    return drill_of(disturbed[1], "meddled")


def test_what_cannot_be_judged_is_inconclusive(disturbed: tuple[Ended, dict[str, Any]]) -> None:
    ended, result = disturbed
    assert (ended.status, result["verdict"]) == (3, "inconclusive"), ended.out
    assert {drill["verdict"] for drill in result["drills"]} == {"inconclusive"}


def test_rule_reloaded_with_another_expression_is_not_judged(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "Patched")
    assert verdict(alert) == ("not-judged", None)
    assert "the rule Patched was changed during the drill" in alert["reason"]


def test_recording_rule_reloaded_with_another_expression_is_not_judged(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "PatchedBelow")
    assert verdict(alert) == ("not-judged", None)
    assert "the recording rule patched:increase2m, which PatchedBelow reads, was changed" in alert["reason"]


def test_target_lost_behind_a_recording_rule_is_not_judged(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "HubbleFedBelow")
    assert verdict(alert) == ("not-judged", None)
    assert "scrape target down during the drill: hubble 172.18.0.11:9965" in alert["reason"]


def test_target_lost_is_not_judged_where_the_rule_stands_on_it(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "HubbleFed")
    assert verdict(alert) == ("not-judged", None)
    assert "scrape target down during the drill: hubble 172.18.0.11:9965" in alert["reason"]
    assert alert_of(meddled, "Shared")["verdict"] == "detected"  # it stands on others


def test_others_denials_that_would_have_done_make_it_unattributed(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "Shared")
    assert (alert["verdict"], alert["flags"]) == ("detected", ["unattributed"])


def test_resolved_because_the_rule_was_removed_is_not_resolution(meddled: dict[str, Any]) -> None:
    alert = alert_of(meddled, "Removed")
    assert (alert["verdict"], alert["resolution"], alert["resolvedAt"]) == ("detected", "not-judged", None)
    assert "whether it resolved cannot be judged: the rule Removed was not loaded all the time" in alert["reason"]


def test_late_for_want_of_scrapes_is_not_judged(disturbed: tuple[Ended, dict[str, Any]]) -> None:
    alert = alert_of(drill_of(disturbed[1], "stalled"), "Slow")
    assert verdict(alert) == ("not-judged", None)
    assert alert["detectionSeconds"] > alert["withinSeconds"]
    assert "missed during the drill: scrapes of" in alert["reason"] or "scrape target down" in alert["reason"]


def test_below_its_threshold_where_a_hole_is_longer_than_it_looks_back_is_not_judged(
    disturbed: tuple[Ended, dict[str, Any]],
) -> None:
    alert = alert_of(drill_of(disturbed[1], "stalled"), "ShortSighted")
    assert (verdict(alert), alert["firingAt"]) == (("not-judged", None), None)
    assert "missed during the drill: scrapes of" in alert["reason"] or "scrape target down" in alert["reason"]


def test_resolved_because_prometheus_died_is_not_resolution(disturbed: tuple[Ended, dict[str, Any]]) -> None:
    alert = alert_of(drill_of(disturbed[1], "restarted-after"), "Lasting")
    assert (alert["verdict"], alert["resolution"], alert["resolvedAt"]) == ("detected", "not-judged", None)
    assert "whether it resolved cannot be judged: " in alert["reason"]
    assert "Prometheus restarted during the drill" in alert["reason"]


def test_prometheus_restarted_is_not_judged(disturbed: tuple[Ended, dict[str, Any]]) -> None:
    drill = drill_of(disturbed[1], "restarted")
    alert, quiet = alert_of(drill, "Fresh"), quiet_of(drill, "Calm")
    assert verdict(alert) == ("not-judged", None)
    assert quiet["verdict"] == "not-judged"
    for one in (alert, quiet):
        assert "Prometheus restarted during the drill" in one["reason"]


def test_prometheus_gone_is_not_judged(disturbed: tuple[Ended, dict[str, Any]]) -> None:
    drill = drill_of(disturbed[1], "killed")
    alert, quiet = alert_of(drill, "Fresh"), quiet_of(drill, "Calm")
    assert (alert["verdict"], alert["resolution"]) == ("not-judged", "not-judged")
    assert quiet["verdict"] == "not-judged"
    for one in (alert, quiet):
        assert "Prometheus no longer answers" in one["reason"]
