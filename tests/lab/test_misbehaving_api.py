"""A drill whose APIs misbehave at every call: what fails in passing is tried again, what does not ends as one sentence,
and nothing is said that was not shown. Two drills, of which the truth is known: `closed` holds, `open` is breached.
"""

from __future__ import annotations

import base64
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from faulty_proxy import Call, Fault, FaultyProxy, Plan, Upstream, behave

from alerts.alertmanager import Alertmanager
from alerts.http_config import HttpConfig
from alerts.silences import OwnSilence
from drills.budget import Budget
from drills.engine import run as engine
from drills.engine.interrupt import Interrupt
from drills.engine.recovery import exit_status, put_back, recover
from drills.engine.result import Drill, Result
from drills.engine.session import alone
from drills.engine.target import Addresses, Target
from drills.engine.undo import ExpireSilence, Record
from drills.engine.verdict import EXIT_STATUS
from drills.errors import DrillsError
from drills.kube import Cluster
from drills.kube.announce import Event, record_event, write_config_map
from drills.kube.api import core
from drills.kube.lease import LEASE
from drills.kube.references import delete, read
from drills.lab import client
from drills.lab.client import LabRequest, LabStatus
from drills.playbook import load
from drills.reach import Reach

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "misbehaving"
PLAYBOOK = HERE / "playbook.yaml"
DEMO = ("10-namespaces", "20-frontend", "30-backend", "50-policies")
BUDGET = Budget(tries=4, seconds=6.0, pause=0.02, answer=0.5)
ANSWERS = [Fault.BUSY, Fault.BROKEN, Fault.AWAY, Fault.GARBAGE]
SILENCES = [Fault.SLOW, Fault.CLOSED, Fault.LOST, Fault.TRUNCATED, Fault.DROPPED]
IN_PASSING = [*ANSWERS, *SILENCES]
MAKE_LEASE = Call("api", "POST", "/apis/coordination.kNs.io/vN/namespaces/drills/leases")
MAKE_SECRET = Call("api", "POST", "/api/vN/namespaces/drills/secrets")
MAKE_POD = Call("api", "POST", "/api/vN/namespaces/frontend/pods")
READ_POD = Call("api", "GET", "/api/vN/namespaces/frontend/pods/DRILL")
DELETE_POD = Call("api", "DELETE", "/api/vN/namespaces/frontend/pods/DRILL")
PROBE = Call("api", "GET", "/api/vN/namespaces/frontend/pods/DRILL/exec?python -m drills.probe")
MAKE_SILENCE = Call("alertmanager", "POST", "/api/vN/silences")
END_SILENCE = Call("alertmanager", "DELETE", "/api/vN/silence/ID")
COUNT = Call("prometheus", "GET", '/api/vN/query?sum(cilium_policy_lN_total{rule="denied",proxy_type="envoy"}')


@dataclass(repr=False)
class Done:
    """A run as a user sees it: exit status, the error that ended it, the result, and what was said beside."""

    status: int
    sentence: str = ""
    result: Result | None = None
    said: list[str] = field(default_factory=list)
    faults: list[tuple[Call, Fault]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def drill(self, name: str) -> Drill:
        assert self.result is not None, self.sentence
        return next(one for one in self.result.drills if one.name == name)

    def __repr__(self) -> str:
        drills = self.result.drills if self.result else []
        told = [f"{one.name} {one.verdict} ({'; '.join(one.reasons)})" for one in drills]
        return f"exit {self.status}: {self.sentence or ' | '.join(told)}"


@dataclass
class World:
    """A lab, and the proxy in front of it."""

    direct: Cluster
    proxy: FaultyProxy
    target: Callable[[], Target]
    folder: Path
    alertmanager: str  # without the proxy
    number: int = 0

    def run(self, plan: Plan = behave, *only: str, playbook: Path = PLAYBOOK) -> Done:
        """One run under a plan, as the command would make it."""
        self.number += 1
        out = self.folder / f"run-{self.number}"
        out.mkdir()
        done = Done(0)
        interrupt = Interrupt(done.said.append)
        (job,) = engine.select([(playbook, load(playbook))], only or ("closed",))
        self.proxy.begin(plan)
        try:
            target = self.target()
            with alone(
                target.cluster, done.said.append, interrupt.abort, recover_first=False, command="drills recover"
            ):
                done.result = engine.run(job, target, out, lambda _: None, interrupt)
            done.status = EXIT_STATUS[done.result.verdict]
        except DrillsError as error:
            done.status, done.sentence = error.exit_status, str(error)
        done.faults, done.calls = self.proxy.faults, self.proxy.calls
        self.proxy.begin()
        return done

    def left(self) -> list[str]:
        """What a run left in the cluster, its Lease aside."""
        found = [
            f"{plural} {item['metadata']['name']}"
            for plural in ("pods", "configmaps", "secrets")
            for item in self.direct.call("list", "GET", f"/api/v1/{plural}")["items"]
            if item["metadata"]["name"].startswith("drill")
        ]
        return [one for one in found if one != "configmaps drills-lab"]

    def silences(self) -> list[str]:
        """The ids of the silences that stand."""
        return [one.id for one in Alertmanager(self.alertmanager).silences() if one.stands]

    def clean(self) -> list[str]:
        """Recover, and see that nothing is left; what recovery said."""
        said: list[str] = []
        recover(self.direct, said.append, alertmanager=self.target().way_to_alertmanager())
        assert (self.left(), self.silences()) == ([], []), said
        if lease := read(self.direct, LEASE):
            delete(self.direct, LEASE, uid=lease["metadata"]["uid"])
        return said


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("misbehaving")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "DRILLS_LAB": f"misbehaving-{os.getpid()}"}
    manifests = [*(ROOT / "playbooks" / "demo" / f"{one}.yaml" for one in DEMO), HERE / "rules.yaml"]
    with ExitStack() as stack:
        lab = stack.enter_context(client.held(LabRequest(manifests=manifests, time_lapse=60), environment=environment))
        proxy = stack.enter_context(FaultyProxy(upstreams(lab), folder / "certificates"))
        kubeconfig = behind(lab, proxy, folder)
        http = HttpConfig.load(trusting(folder))
        addresses = Addresses(proxy.url("prometheus"), proxy.url("alertmanager"), lab.receiver, http, http)

        def target() -> Target:
            cluster = Cluster.connect(kubeconfig=kubeconfig, budget=BUDGET)
            return Target("cluster", "misbehaving", cluster, addresses, 60.0, BUDGET)

        yield World(Cluster.connect(kubeconfig=lab.kubeconfig), proxy, target, folder, lab.alertmanager)


def upstreams(lab: LabStatus) -> dict[str, Upstream]:
    authority = yaml.safe_load(lab.kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    trust = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    return {
        "api": Upstream(lab.api, trust),
        "prometheus": Upstream(lab.prometheus),
        "alertmanager": Upstream(lab.alertmanager),
    }


def behind(lab: LabStatus, proxy: FaultyProxy, folder: Path) -> Path:
    """The lab's kubeconfig, with the proxy as the server."""
    config = yaml.safe_load(lab.kubeconfig.read_text())
    config["clusters"][0]["cluster"] = {"server": proxy.url("api"), "certificate-authority": str(proxy.authority)}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def trusting(folder: Path) -> Path:
    path = folder / "http.yaml"
    path.write_text("tls_config: {ca_file: certificates/ca.crt}\n")
    return path


def first(fault: Fault) -> Plan:
    """Every kind of call gets the fault when it comes for the first time."""
    return lambda _, nth: fault if nth == 1 else None


def alone_at(call: Call, fault: Fault, times: int = 1000) -> Plan:
    """One kind of call gets the fault, as often as it comes."""
    return lambda one, nth: fault if one == call and nth <= times else None


def from_on(beginning: Call, server: str, fault: Fault) -> Plan:
    """From the first call of a kind on, everything that one server is asked gets the fault."""
    begun = threading.Event()

    def plan(call: Call, _: int) -> Fault | None:
        if call == beginning:
            begun.set()
        return fault if begun.is_set() and call.server == server else None

    return plan


def rotated(by: int) -> Plan:
    """Every kind of call gets another fault when it comes for the first time."""
    known: dict[Call, int] = {}

    def plan(call: Call, nth: int) -> Fault | None:
        known.setdefault(call, len(known))
        return IN_PASSING[(known[call] + by) % len(IN_PASSING)] if nth == 1 else None

    return plan


def together(*plans: Plan) -> Plan:
    """The first plan that has a fault for a call."""
    return lambda call, nth: next((found for plan in plans if (found := plan(call, nth)) is not None), None)


def lies(done: Done, left: Sequence[str] = ()) -> list[str]:
    """Everything that a run says and that is not so, or that it says in no clear sentence. ``left``: what it left."""
    found = []
    sentences = [done.sentence, *done.said]
    failures = []
    for drill in done.result.drills if done.result else []:
        sentences += drill.reasons
        truth = {"closed": "held", "open": "breached"}[drill.name]
        if drill.enforcement.verdict not in (truth, "inconclusive"):
            found.append(f"{drill.name} {drill.enforcement.verdict}: {drill.enforcement.reason}")
        allowed = ("detected", "not-judged") if drill.name == "closed" else ("not-judged",)
        found += [f"alert {one.verdict}: {one.reason}" for one in drill.alerts if one.verdict not in allowed]
        ends = ("resolved", "not-judged")
        found += [f"resolution {one.resolution}" for one in drill.alerts if one.resolution not in ends]
        found += [f"quiet {one.verdict}: {one.reason}" for one in drill.quiet if one.verdict == "noisy"]
        stays = [one for one in left if not one.startswith("secrets")]
        if (drill.recovery.verdict == "not-restored") and not stays:
            found.append(f"not restored, and nothing is left: {drill.recovery.reason}")
        if drill.recovery.verdict == "restored" and stays:
            found.append(f"restored, and left are {', '.join(stays)}")
        failures += [drill.name] * (drill.enforcement.verdict == "breached" or drill.recovery.verdict == "not-restored")
    if done.status == 1 and not failures:
        found.append(f"exit 1 without a failure: {done}")
    if done.status == 0 and "open" in [one.name for one in (done.result.drills if done.result else [])]:
        found.append("exit 0 with an open path")
    for text in sentences:
        if "Traceback" in text or "\n" in text or len(text) > 900 or "object at 0x" in text:
            found.append(f"no clear sentence: {text}")
    if done.status == 3 and not any(sentences):
        found.append("exit 3 without a word")
    return found


@pytest.fixture(scope="module")
def silent(world: World) -> Path:
    """The same playbook, waking nobody."""
    path = world.folder / "silent.yaml"
    path.write_text(PLAYBOOK.read_text().replace("spec:\n", "spec:\n  notify: silence\n", 1))
    return path


@pytest.mark.parametrize(("by", "silenced"), [(0, False), (4, True)])
def test_what_fails_once_at_every_call_is_tried_again_and_all_is_shown(
    world: World, silent: Path, by: int, silenced: bool
) -> None:
    done = world.run(rotated(by), playbook=silent if silenced else PLAYBOOK)
    assert (done.status, lies(done), world.left(), world.silences()) == (0, [], [], []), done
    assert len(done.faults) > 40
    assert ({MAKE_SILENCE, END_SILENCE} <= {call for call, _ in done.faults}) == silenced
    (alert,) = done.drill("closed").alerts
    assert (alert.notified_at is None, len(alert.silenced_by)) == (silenced, int(silenced))
    assert read(world.direct, LEASE) is None


def test_an_open_path_is_never_held_whatever_fails_once(world: World) -> None:
    done = world.run(rotated(2), "open")
    assert (done.status, lies(done), world.left()) == (1, [], []), done
    assert done.drill("open").enforcement.verdict == "breached"


def test_busy_for_a_second_and_lost_and_an_undo_that_is_refused_twice(world: World) -> None:
    busy, lost = alone_at(MAKE_SECRET, Fault.BUSY_FOR_A_SECOND, times=1), alone_at(MAKE_POD, Fault.LOST)
    refused = alone_at(DELETE_POD, Fault.BROKEN, times=2)
    began = time.monotonic()
    done = world.run(together(busy, lost, refused))
    assert (done.status, lies(done), world.left()) == (0, [], []), done
    assert [fault for _, fault in done.faults].count(Fault.LOST) == 1  # it was looked for, and found
    assert done.drill("closed").recovery.verdict == "restored"
    assert time.monotonic() - began > 1


def test_a_connection_that_is_lost_in_the_attack_is_inconclusive(world: World) -> None:
    done = world.run(lambda call, nth: Fault.DROPPED if (call, nth) == (PROBE, 2) else None)
    assert (done.status, lies(done), world.left()) == (3, [], []), done
    assert done.drill("closed").enforcement.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("call", "fault", "status", "words"),
    [
        (MAKE_LEASE, Fault.FORBIDDEN, 3, "could not create leases/drills/drills-run: injected fault (403)"),
        (MAKE_SECRET, Fault.GONE, 3, "The undo of pod frontend/drill-frontend"),
        (MAKE_POD, Fault.CONFLICT, 3, "could not create drill pod frontend/drill-frontend"),
        (PROBE, Fault.FORBIDDEN, 3, "could not run python in frontend/drill-frontend"),
        (READ_POD, Fault.UNAUTHORIZED, 3, "not verified"),
        (
            Call("prometheus", "GET", '/api/vN/query?ALERTS{alertname="Calm"}[Nms]'),
            Fault.NOT_FOUND,
            3,
            "Calm not judged",
        ),
        (Call("prometheus", "GET", "/api/vN/query?absent(up) > N"), Fault.AWAY, 4, "guards' conditions cannot be"),
        (Call("alertmanager", "GET", "/api/vN/alerts"), Fault.GARBAGE, 3, "did not answer JSON to /api/v2/alerts"),
    ],
    ids=str,
)
def test_what_goes_on_failing_ends_as_one_sentence(
    world: World, call: Call, fault: Fault, status: int, words: str
) -> None:
    done = world.run(alone_at(call, fault))
    left = world.left()
    world.clean()
    assert call in done.calls
    assert (done.status, lies(done, left)) == (status, []), done
    assert words in repr(done)


def test_an_api_that_is_gone_from_the_attack_on_leaves_what_recover_finds(world: World) -> None:
    done = world.run(from_on(COUNT, "api", Fault.CLOSED))
    left = world.left()
    said = world.clean()
    assert (done.status, lies(done, left)) == (3, []), done
    assert done.drill("closed").recovery.verdict == "not-verified"
    assert any(one.startswith("secrets drills-undo") for one in left)
    assert len(said) == 1
    assert said[0].startswith("restored: pod frontend/drill-frontend")


def test_a_prometheus_that_is_gone_from_the_attack_on_is_inconclusive(world: World) -> None:
    done = world.run(from_on(COUNT, "prometheus", Fault.CLOSED))
    assert (done.status, lies(done), world.left()) == (3, [], []), done
    drill = done.drill("closed")
    assert [one.verdict for one in (*drill.alerts, *drill.quiet)] == ["not-judged", "not-judged"]


def test_publications_whose_answers_are_lost_are_made_once(world: World) -> None:
    """Created, looked for, found: not created again, which would be a conflict, and "not told"."""
    cluster = world.target().cluster
    world.proxy.begin(first(Fault.LOST))
    record_event(cluster, Event("frontend", "DrillStarted", "Normal", "This is a drill: answers are lost."))
    for text in ("one", "two"):
        world.proxy.begin(first(Fault.LOST))
        write_config_map(cluster, "drills", "drills-result-lost", {"verdict": text})
    faults = len(world.proxy.faults)
    world.proxy.begin()
    told = [
        one["message"]
        for one in world.direct.call("list Events", "GET", core("events", "frontend"))["items"]
        if "answers are lost" in one["message"]
    ]
    kept = world.direct.call("read it", "GET", core("configmaps", "drills", "drills-result-lost"))
    world.direct.call("delete it", "DELETE", core("configmaps", "drills", "drills-result-lost"))
    assert len(told) == 1
    assert kept["data"] == {"verdict": "two"}
    assert faults >= 2


def test_without_alertmanager_a_notification_counts_and_without_its_deletion_a_pod_goes_with_its_owner(
    world: World,
) -> None:
    done = world.run(together(from_on(COUNT, "alertmanager", Fault.CLOSED), alone_at(DELETE_POD, Fault.FORBIDDEN)))
    assert (done.status, lies(done), world.left()) == (0, [], []), done
    assert done.drill("closed").alerts[0].notified_at is not None


@pytest.mark.parametrize("fault", IN_PASSING, ids=str)
def test_a_silence_is_made_once_and_ended_whatever_fails_once(world: World, fault: Fault) -> None:
    wanted = OwnSilence({"alertname": "Nobody", "fault": fault.name}, "drills: run test", time.time() + 60)
    way = world.target().way_to_alertmanager()
    assert way is not None
    alertmanager = Alertmanager(way, timeout=BUDGET.answer, budget=BUDGET)
    world.proxy.begin(lambda call, nth: fault if call in (MAKE_SILENCE, END_SILENCE) and nth == 1 else None)
    made = alertmanager.create_silence(wanted)
    assert world.silences() == [made]
    alertmanager.expire_silence(made)
    assert world.silences() == []
    alertmanager.expire_silence(made)  # it can be repeated
    assert len(world.proxy.faults) == 2
    world.proxy.begin()


def test_a_silence_that_is_refused_makes_no_attack(world: World, silent: Path) -> None:
    done = world.run(alone_at(MAKE_SILENCE, Fault.FORBIDDEN), playbook=silent)
    assert (done.status, lies(done), world.left(), world.silences()) == (3, [], [], []), done
    assert "answered 403 to /api/v2/silences" in repr(done)
    assert done.drill("closed").enforcement.attempts == 0


def test_an_alertmanager_that_is_gone_from_the_attack_on_leaves_a_silence_that_recover_ends(
    world: World, silent: Path
) -> None:
    done = world.run(from_on(COUNT, "alertmanager", Fault.CLOSED), playbook=silent)
    left, standing = world.left(), world.silences()
    said = world.clean()
    assert (done.status, lies(done, left)) == (3, []), done
    drill = done.drill("closed")
    assert (drill.alerts[0].verdict, drill.recovery.verdict) == ("not-judged", "not-verified")
    assert "ends by itself at" in drill.recovery.reason
    assert (len(left), len(standing)) == (1, 1)
    assert said == ['restored: silence {alertname="Denied"} at Alertmanager, of the drill closed: ended']


NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("laid_at", "asked_at", "seconds", "verdict", "words"),
    [
        (
            NOWHERE,
            None,
            60,
            "not-verified",
            "(tried 4 times); it ends by itself at",
        ),
        (NOWHERE, None, -60, "self-healed", "it ended by itself at"),
        (NOWHERE, "alertmanager", 60, "not-verified", "does not know it, and it was laid at http://127.0.0.1:1"),
        (NOWHERE, "alertmanager", -60, "restored", "it is not there (any more)"),
        ("alertmanager", None, 60, "restored", "it is not there (any more)"),
    ],
)
def test_a_silence_that_cannot_be_asked_for_or_that_nobody_knows(
    world: World, laid_at: str, asked_at: str | None, seconds: float, verdict: str, words: str
) -> None:
    address = world.alertmanager if laid_at == "alertmanager" else laid_at
    how = ExpireSilence(
        alertmanager=address, labels={"alertname": "X"}, comment="drills: run x", ends_at=time.time() + seconds
    )
    record = Record(run="x", order=0, what="a silence", at="now", undo=how)
    way = None if asked_at is None else Reach.plainly(world.alertmanager)
    undone = put_back(world.direct, record, alertmanager=way)
    assert (undone.verdict, undone.finished, words in undone.text) == (verdict, verdict != "not-verified", True), undone
    assert exit_status([undone]) == (3 if verdict == "not-verified" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("fault", IN_PASSING, ids=str)
def test_each_fault_once_at_every_call(world: World, fault: Fault) -> None:
    for name, status in (("closed", 0), ("open", 1)):
        done = world.run(first(fault), name)
        assert (done.status, lies(done), world.left()) == (status, [], []), done
        assert len(done.faults) > 20


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=str)
def test_each_call_that_goes_on_failing(world: World, fault: Fault) -> None:
    """The whole matrix: every kind of call by itself, for good. An hour."""
    problems = []
    for call in sorted(set(world.run().calls)):
        done = world.run(alone_at(call, fault))
        left = world.left()
        told = [*lies(done, left), *(f"left: {one}" for one in left)]
        world.clean()
        print(f"{fault} at {call}: {done}{''.join(f'{os.linesep}    ! {one}' for one in told)}", flush=True)
        problems += [f"{fault} at {call}: {one}" for one in told if not one.startswith("left")]
    assert problems == []
