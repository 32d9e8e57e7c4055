"""The lie matrix, enforcement and recovery: ways in which a drill could say *held* or *restored* although it is not so.

One lab and three runs of it for all: as the cluster is, with somebody meddling during the attacks, and without DNS.
Each test is one line of the matrix, read from what these runs wrote down.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command import Lab, drills_of
from lies_support import Inside, Running
from meddler import Meddler, Run

pytestmark = pytest.mark.lab

HERE = Path(__file__).with_name("lies_enforcement")
K = 60  # the lab's time-lapse
LATE = 2.5  # seconds on the wall that endpoints are late
UNDER_WAY = 0.8  # seconds on the wall after which the first attempts have been made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in which nearly everything is a lie."""
    drills = drills_of("e2e-lies-enforcement", tmp_path_factory.mktemp("enforcement"))
    up = drills("lab", "up", "--time-lapse", str(K), "--manifests", HERE / "manifests")
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


@pytest.fixture(scope="module")
def as_it_is(world: Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Drills in a world that nobody touches meanwhile."""
    out = tmp_path_factory.mktemp("as-it-is") / "out"
    return Run(world, world.drills("run", HERE / "as-it-is.yaml", "--lab", "--out", out), out)


@pytest.fixture(scope="module")
def meddler(world: Lab) -> Meddler:
    return Meddler(world)


@pytest.fixture(scope="module")
def meddled(as_it_is: Run, meddler: Meddler, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Drills during which somebody meddles."""
    out = tmp_path_factory.mktemp("meddled") / "out"
    running = Running(as_it_is.lab, HERE / "meddled.yaml", out)
    for drill, event, meddle in (
        ("agent-restarted", "attack", meddler.restart_agent),
        ("flows-overwritten", "attack", meddler.chatter),
        ("policy-edited", "attack", meddler.edit_policy),
        ("policy-removed", "attack", meddler.remove_policy),
        ("probe-killed", "attack", meddler.kill_probe),
        ("target-dies", "attack", meddler.remove_target),
        ("path-breaks", "attack", meddler.break_path),
        ("path-breaks", "attempts", meddler.mend_path),
        ("broken-beside-drops", "ready", meddler.break_path_to_silent),
        ("broken-beside-drops", "attack", meddler.drop_as_many),
        ("broken-beside-drops", "attempts", meddler.mend_path_to_silent),
        ("pod-removed", "attack", meddler.remove_drill_pod),
        ("pod-replaced", "attack", meddler.replace_drill_pod),
    ):
        running.until(drill, event)
        time.sleep(UNDER_WAY if event == "attack" else 0)
        meddle()
    return Run(as_it_is.lab, running.ended(), out)


@pytest.fixture(scope="module")
def other_dns(meddled: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Drills with another resolver, in a cluster that is slow to allocate identities."""
    lab, late = meddled.lab, ("patch", "-n", "kube-system", "configmap", "cilium-config", "--type=merge", "-p")
    lab.kubectl("scale", "-n", "kube-system", "deployment/coredns", "--replicas=0")
    lab.kubectl("wait", "-n", "kube-system", "pod", "-l", "k8s-app=kube-dns", "--for=delete", "--timeout=20s")
    lab.kubectl("label", "-n", "kube-system", "pod", "resolver", "k8s-app=kube-dns")
    lab.kubectl(*late, f'{{"data": {{"lab-endpoint-delay": "{LATE}"}}}}')
    out = tmp_path_factory.mktemp("other-dns") / "out"
    try:
        return Run(lab, lab.drills("run", HERE / "resolver.yaml", "--lab", "--out", out), out)
    finally:
        lab.kubectl(*late, '{"data": {"lab-endpoint-delay": null}}')


@pytest.fixture(scope="module")
def without_dns(other_dns: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A drill when nobody answers for names any more; the last of the lab."""
    other_dns.lab.kubectl("delete", "-n", "kube-system", "pod", "resolver", "--grace-period=0", "--force")
    out = tmp_path_factory.mktemp("without-dns") / "out"
    return Run(other_dns.lab, other_dns.lab.drills("run", HERE / "without-dns.yaml", "--lab", "--out", out), out)


# --- as it is ---------------------------------------------------------------------------------------------------------


def test_a_policy_that_holds_is_held_for_an_identity_that_nobody_had_before(as_it_is: Run) -> None:
    """The tool waits until the new identity and all policies are realised, then attempts 60 of 60."""
    drill = as_it_is["nothing-wrong"]
    assert (drill["verdict"], drill["enforcement"]["verdict"]) == ("passed", "held")
    assert set(drill["enforcement"]["backends"]) == {"guarded-1", "guarded-2"}
    events = [one["event"] for one in as_it_is.journal if one.get("drill") == "nothing-wrong"]
    assert events.index("ready") < events.index("warm-up") < events.index("attack")
    assert as_it_is.evidence("nothing-wrong", "flow")["count"] == 60


def test_a_refused_policy_beside_one_that_holds_is_told(as_it_is: Run) -> None:
    """*Held* stands, for the other policy denied every attempt; that this one does nothing is said all the same."""
    said = "CiliumNetworkPolicy app/guarded-by-nothing is not valid: rule must have at least one of"
    verdict, reason = as_it_is.held("nothing-wrong")
    assert (verdict, said in reason) == ("held", True)
    (remark,) = as_it_is["nothing-wrong"]["enforcement"]["remarks"]
    assert remark.startswith(said)
    assert f"Found beside it: {said}" in as_it_is.ended.out


def test_every_attempt_is_a_connection_of_its_own(as_it_is: Run) -> None:
    address = next(
        one["address"] for one in as_it_is.result["provenance"]["inputs"]["sources"] if one["source"] == "newcomer"
    )
    ports: list[int] = []
    for agent in as_it_is.lab.kubectl("get", "pod", "-n", "kube-system", "-l", "k8s-app=cilium", "-o", "name").split():
        observe = ("hubble", "observe", "-o", "jsonpb", "--verdict", "DROPPED", "--since", "10m")
        for line in as_it_is.lab.kubectl("exec", "-n", "kube-system", agent, "--", *observe).splitlines():
            flow = json.loads(line).get("flow") or {}
            if (flow.get("IP") or {}).get("source") == address:
                ports.append(flow["l4"]["TCP"]["source_port"])
    assert len(ports) == len(set(ports)) == 60


def test_the_applications_own_403_is_a_leak(as_it_is: Run) -> None:
    drill = as_it_is["own-403"]
    assert (drill["verdict"], drill["enforcement"]["verdict"]) == ("failed", "breached")
    assert drill["enforcement"]["outcomes"] == {"http-403-application": 60}
    assert drill["enforcement"]["leaked"] == 60


def test_a_mesh_that_answers_403_like_cilium_is_breached(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("mesh-403")
    assert verdict == "breached"
    assert as_it_is["mesh-403"]["enforcement"]["outcomes"] == {"http-403": 60}
    assert "something behind the policy answered" in reason
    assert "no policy guards app/puppet" in reason


def test_a_server_that_reads_and_hangs_up_is_not_held(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("hangs-up")
    assert verdict == "inconclusive"
    assert as_it_is["hangs-up"]["enforcement"]["outcomes"] == {"receive-eof": 60}
    assert "neither counters nor flows prove" in reason
    assert "no policy can have denied it" in reason


def test_one_of_two_backends_without_a_policy_is_breached_and_named(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("half-guarded")
    assert verdict == "breached"
    backends = as_it_is["half-guarded"]["enforcement"]["backends"]
    assert backends == {"half-guarded": {"http-403": 30}, "half-open": {"http-200": 30}}
    assert "half-open 30 of 30 leaked" in reason
    assert "half-guarded 0 of 30 leaked" in reason


def test_a_policy_that_cilium_refuses_is_named_in_the_reason(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("unguarded")
    assert verdict == "breached"
    assert "CiliumNetworkPolicy bare/deny-all is not valid: rule must have at least one of" in reason
    assert any("deny-all is not valid" in one for one in as_it_is["unguarded"]["reasons"])


def test_a_reset_from_a_pod_has_passed_the_policy(as_it_is: Run) -> None:
    assert as_it_is.held("refused")[0] == "breached"
    assert as_it_is["refused"]["enforcement"]["outcomes"] == {"connect-refused": 60}


@pytest.mark.parametrize(
    ("drill", "how"), [("target-down", "connect-"), ("over-blocking", "http-403"), ("cut-off", "resolve-")]
)
def test_a_control_that_never_works_judges_nothing(as_it_is: Run, drill: str, how: str) -> None:
    """Target down; a policy that denies the authorised request, too; a source that may go nowhere."""
    check_nothing_judged(as_it_is, drill, how)


def test_a_source_that_is_cut_off_proves_nothing_beside_anothers_control(as_it_is: Run) -> None:
    """Its timeouts come from a name that does not resolve; only the phase that is expected counts."""
    verdict, reason = as_it_is.held("cut-off-alone")
    assert (verdict, as_it_is["cut-off-alone"]["control"]["verdict"]) == ("inconclusive", "up")
    assert "resolve-unresolved: 60" in reason


def test_a_drill_pod_with_another_identity_than_its_workload_is_refused(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("mislabelled")
    assert (verdict, as_it_is["mislabelled"]["enforcement"]["attempts"]) == ("inconclusive", 0)
    assert "give the source all labels of those pods" in reason


def test_a_source_on_the_nodes_network_is_refused(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("on-the-node")
    assert (verdict, as_it_is["on-the-node"]["enforcement"]["attempts"]) == ("inconclusive", 0)
    assert "uses the node's network" in reason


def test_a_service_that_nobody_stands_behind_denies_nothing(as_it_is: Run) -> None:
    """Nobody passed a policy there, and nobody was denied by one; the control goes to another Service, and is up."""
    verdict, reason = as_it_is.held("nobody-there")
    enforcement, control = as_it_is["nobody-there"]["enforcement"], as_it_is["nobody-there"]["control"]
    assert (verdict, control["verdict"], enforcement["leaked"]) == ("inconclusive", "up", 0)
    assert enforcement["outcomes"] == {"connect-refused": 60}
    assert "connect-refused: 60" in reason


def test_a_pod_on_the_nodes_network_gets_no_ephemeral_container(as_it_is: Run) -> None:
    verdict, reason = as_it_is.held("added-to-the-node")
    assert (verdict, as_it_is["added-to-the-node"]["enforcement"]["attempts"]) == ("inconclusive", 0)
    assert "uses the node's network" in reason
    assert "ephemeralContainers" not in pod_of(as_it_is, "on-the-node")["spec"]


def test_a_pod_that_is_there_acts_itself(as_it_is: Run) -> None:
    assert (as_it_is["own"]["verdict"], as_it_is.held("own")[0]) == ("passed", "held")
    assert as_it_is.evidence("own", "flow")["count"] == 60
    assert acted(as_it_is, "own")
    assert "ephemeralContainers" not in pod_of(as_it_is, "own")["spec"]


def test_an_ordinary_pod_acts_by_an_ephemeral_container_that_ends_with_the_drill(as_it_is: Run) -> None:
    drill = as_it_is["toolbox"]
    assert (drill["verdict"], drill["enforcement"]["verdict"], drill["control"]["verdict"]) == ("passed", "held", "up")
    assert as_it_is.evidence("toolbox", "flow")["count"] == 60
    assert acted(as_it_is, "toolbox")
    pod = pod_of(as_it_is, "toolbox")
    (added,) = pod["spec"]["ephemeralContainers"]
    assert added["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (ended,) = pod["status"]["ephemeralContainerStatuses"]
    assert (ended["name"], ended["state"]["terminated"]["exitCode"]) == (added["name"], 0)
    (own,) = pod["status"]["containerStatuses"]
    assert (own["ready"], own["restartCount"]) == (True, 0)
    (change,) = [one for one in as_it_is.result["provenance"]["changes"] if added["name"] in one["what"]]
    assert change["undone"]
    stays = "its entry stays in pod clients/toolbox until the pod goes"
    assert drill["recovery"]["verdict"] == "restored"
    assert stays in drill["recovery"]["reason"]
    assert stays in as_it_is.ended.out


def pod_of(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.lab.kubectl("get", "pod", "-n", "clients", name, "-o", "json"))
    return found


def acted(run: Run, name: str) -> bool:
    """Whether a pod acted by its own address and identity, as the report says."""
    endpoint = json.loads(run.lab.kubectl("get", "cep", "-n", "clients", name, "-o", "json"))["status"]
    sources = run.result["provenance"]["inputs"]["sources"]
    (found,) = [one for one in sources if one["source"] == name]
    address = endpoint["networking"]["addressing"][0]["ipv4"]
    return (found["pod"], found["identity"], found["address"]) == (
        f"clients/{name}", endpoint["identity"]["id"], address,
    )  # fmt: skip


def test_silence_is_held_where_flows_show_every_drop(as_it_is: Run) -> None:
    assert as_it_is.held("silence")[0] == "held"
    assert as_it_is["silence"]["enforcement"]["outcomes"] == {"connect-timeout": 60}
    flows = as_it_is.evidence("silence", "flow")
    assert (flows["count"], flows["verdicts"], flows["reasons"]) == (60, {"DROPPED": 60}, {"POLICY_DENIED": 60})
    assert (flows["policies"], flows["defaultDeny"]) == ([], 60)


def test_a_deny_rule_is_named_by_its_policy(as_it_is: Run) -> None:
    assert as_it_is.held("outlawed")[0] == "held"
    flows = as_it_is.evidence("outlawed", "flow")
    assert (flows["count"], flows["reasons"]) == (60, {"POLICY_DENY": 60})
    assert (flows["policies"], flows["defaultDeny"]) == (["app/no-outlaws"], 0)
    for report in (as_it_is.ended.out, (as_it_is.out / "report.html").read_text()):
        assert "DROPPED, POLICY_DENY; denied by app/no-outlaws" in report
        assert "DROPPED, POLICY_DENIED; no rule allowed them (default deny)" in report


def test_a_breach_wins_over_all_that_is_inconclusive(as_it_is: Run) -> None:
    assert (as_it_is.ended.status, as_it_is.result["verdict"]) == (1, "failed")


# --- somebody meddles -------------------------------------------------------------------------------------------------


def test_an_agents_restart_makes_the_evidence_partial(meddled: Run) -> None:
    verdict, reason = meddled.held("agent-restarted")
    assert meddled.evidence("agent-restarted", "counter")["partial"]
    assert meddled.evidence("agent-restarted", "flow")["partial"]
    assert "partial" in reason
    assert verdict == "inconclusive"
    assert meddled["agent-restarted"]["enforcement"]["denied"] == 180


def test_flows_that_the_ring_buffer_forgot_are_said_to_be_partial(meddled: Run) -> None:
    verdict, reason = meddled.held("flows-overwritten")
    flow, counter = meddled.evidence("flows-overwritten", "flow"), meddled.evidence("flows-overwritten", "counter")
    assert flow["partial"]
    assert flow["count"] < 240 == counter["after"] - counter["before"]
    assert verdict == "held"
    assert "the flows are partial" in reason


def test_a_policy_edited_during_the_attack_prevents_held(meddled: Run) -> None:
    verdict, reason = meddled.held("policy-edited")
    assert meddled["policy-edited"]["enforcement"]["denied"] == 120
    assert verdict == "inconclusive"
    assert "CiliumNetworkPolicy app/edited was changed" in reason


def test_a_policy_removed_during_the_attack_is_breached(meddled: Run) -> None:
    verdict, reason = meddled.held("policy-removed")
    assert verdict == "breached"
    assert {"http-200", "http-403"} == set(meddled["policy-removed"]["enforcement"]["outcomes"])
    assert "CiliumNetworkPolicy app/dropped was removed" in reason


def test_fewer_attempts_than_planned_are_not_held(meddled: Run) -> None:
    enforcement = meddled["probe-killed"]["enforcement"]
    assert 0 < enforcement["denied"] == enforcement["attempts"] < 0.9 * enforcement["planned"]
    assert enforcement["verdict"] == "inconclusive"
    assert "the probe failed" in enforcement["reason"]
    assert "of 180 planned attempts were made" in enforcement["reason"]


def test_a_target_that_dies_half_way_is_seen_by_the_control(meddled: Run) -> None:
    drill = meddled["target-dies"]
    assert drill["control"]["verdict"] in ("flapping", "broken")
    assert drill["enforcement"]["verdict"] == "inconclusive"


def test_a_path_that_breaks_between_two_nodes_is_no_denial(meddled: Run) -> None:
    """The control goes another way and stays up; the attempts meet silence, but nobody dropped them by policy."""
    drill = meddled["path-breaks"]
    assert (drill["control"]["verdict"], drill["enforcement"]["outcomes"]) == ("up", {"connect-timeout": 120})
    assert drill["enforcement"]["verdict"] == "inconclusive"
    assert meddled.evidence("path-breaks", "flow")["count"] < 120


def test_somebody_elses_drops_do_not_make_a_broken_path_a_denial(meddled: Run) -> None:
    """The counter has grown by just as much as was tried; who was dropped, Hubble has forgotten."""
    drill = meddled["broken-beside-drops"]
    counter, flow = (meddled.evidence("broken-beside-drops", kind) for kind in ("counter", "flow"))
    assert (drill["control"]["verdict"], drill["enforcement"]["outcomes"]) == ("up", {"connect-timeout": 120})
    assert 120 <= counter["after"] - counter["before"] <= 1.1 * 120
    assert (counter["partial"], flow["partial"], flow["count"]) == (False, True, 0)
    assert drill["enforcement"]["verdict"] == "inconclusive"
    assert "silence is proven by flows alone" in drill["enforcement"]["reason"]


def test_a_drill_pod_that_somebody_removed_is_self_healed(meddled: Run) -> None:
    drill = meddled["pod-removed"]
    assert drill["recovery"]["verdict"] == "self-healed"
    assert "somebody had removed clients/drill-client" in drill["recovery"]["reason"]
    assert drill["enforcement"]["verdict"] == "inconclusive"


def test_a_pod_that_took_a_drill_pods_place_is_kept(meddled: Run, meddler: Meddler) -> None:
    drill = meddled["pod-replaced"]
    assert drill["recovery"]["verdict"] == "not-restored"
    assert f"another (uid {meddler.replaced}); theirs is kept" in drill["recovery"]["reason"]
    assert (drill["verdict"], meddled.ended.status) == ("failed", 1)
    still = meddled.lab.kubectl("get", "pod", "-n", "clients", "-o", "jsonpath={.items[*].metadata.uid}").split()
    assert meddler.replaced in still


def test_recovery_takes_time_and_leaves_nothing_of_the_drills(meddled: Run) -> None:
    for drill in meddled.result["drills"]:
        assert drill["recovery"]["seconds"] >= 0
    assert meddled.lab.kubectl("get", "configmap", "-A", "-l", "drills/run", "-o", "name") == ""
    pods = json.loads(meddled.lab.kubectl("get", "pod", "-A", "-o", "json"))["items"]
    assert not [pod for pod in pods if "drills/run" in (pod["metadata"].get("annotations") or {})]
    probes = subprocess.run(
        Inside(meddled.lab).enter("pgrep", "-f", "drills[.]probe"), capture_output=True, check=False
    )
    assert probes.stdout == b""


# --- another resolver, and late identities ----------------------------------------------------------------------------


def test_a_resolver_that_refuses_by_itself_is_never_held(other_dns: Run) -> None:
    """The lookups passed the policy: counter and flows of Cilium's DNS proxy show no denial at all."""
    verdict, reason = other_dns.held("resolver-refuses")
    assert other_dns["resolver-refuses"]["enforcement"]["outcomes"] == {"dns-refused": 20}
    assert other_dns["resolver-refuses"]["control"]["verdict"] == "up"
    assert verdict == "breached"
    assert "the policy made only 0 by counter, 0 by flow" in reason


def test_a_denied_name_on_an_allowed_address_judges_nothing(other_dns: Run) -> None:
    """The datapath knows addresses, not names: the connection stands, and that is no leak."""
    enforcement = other_dns["shared-address"]["enforcement"]
    assert (enforcement["verdict"], enforcement["leaked"]) == ("inconclusive", 0)
    assert enforcement["outcomes"] == {"shared-address": 20}
    assert "shared-address: 20" in enforcement["reason"]


def test_no_attempt_is_made_before_the_drill_pod_has_its_identity(other_dns: Run) -> None:
    """The pod runs long before Cilium knows it; who attacked then could be dropped as nobody."""
    for drill in ("resolver-refuses", "shared-address"):
        at = {one["event"]: _at(one) for one in reversed(other_dns.journal) if one.get("drill") == drill}
        made = min(_at(one) for one in other_dns.journal if one["event"] == "change")
        assert at["ready"] - made >= LATE
        assert at["ready"] < at["warm-up"] < at["attack"]
        assert datetime.fromisoformat(other_dns[drill]["firstAttemptAt"]).timestamp() > at["ready"]
    identities = {one["identity"] for one in other_dns.result["provenance"]["inputs"]["sources"]}
    assert None not in identities


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


# --- without DNS ------------------------------------------------------------------------------------------------------


def test_without_dns_nothing_is_judged(without_dns: Run) -> None:
    check_nothing_judged(without_dns, "no-dns", "resolve-")
    assert without_dns.ended.status == 3


def check_nothing_judged(run: Run, name: str, how: str) -> None:
    drill = run[name]
    assert (drill["verdict"], drill["enforcement"]["verdict"]) == ("inconclusive", "inconclusive")
    assert drill["enforcement"]["attempts"] == 0
    assert drill["control"]["verdict"] == "broken"
    assert all(outcome.startswith(how) for outcome in drill["control"]["outcomes"])
    assert how in drill["enforcement"]["reason"]
    assert {one["verdict"] for one in (*drill["alerts"], *drill["quiet"])} == {"not-judged"}
