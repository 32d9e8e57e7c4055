"""A drill whose APIs misbehave at every call: what fails in passing is tried again, what does not ends as one sentence,
and nothing is said that was not shown. Drills of which the truth is known: `open` is breached, all others hold.

What is chosen by chance is chosen by a seed, which is printed; DRILLS_SEED names one.
"""

from __future__ import annotations

import base64
import os
import random
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
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
from drills.engine import planning
from drills.engine import run as engine
from drills.engine.interrupt import Interrupt
from drills.engine.records import Records
from drills.engine.recovery import exit_status, put_back, recover
from drills.engine.result import Drill, Result
from drills.engine.session import alone
from drills.engine.target import Addresses, Target
from drills.engine.undo import ExpireSilence, Record, of_drill_pod
from drills.engine.verdict import EXIT_STATUS
from drills.errors import DrillsError
from drills.kube import Cluster, DrillPodSpec
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
DEMO = ("10-namespaces", "20-frontend", "30-backend", "40-database", "50-policies")
BUDGET = Budget(tries=4, seconds=6.0, pause=0.02, answer=0.5)
HASTY = Budget(tries=1, answer=0.5)  # for what goes on failing anyway
LONGEST = 20.0  # seconds for the kinds of calls that fail together: a busy machine tries fewer
NUMBERS = {"closed": 1, "open": 2, "database": 3, "key": 4}  # with which the names of their pods end
SAMPLED = 2  # kinds of calls that fail alone, of about sixty
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
READ_SECRET = Call("api", "GET", "/api/vN/namespaces/database/secrets/app")
CAPTURE = Call("api", "GET", "/api/vN/namespaces/drills/pods/CAPTURE/exec?python -m drills.capture")
SERVICES = "service:monitoring"
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
    kubeconfig: Path  # with the proxy as the server
    addresses: Addresses
    folder: Path
    alertmanager: str  # without the proxy
    number: int = 0

    def target(self, budget: Budget = BUDGET, addresses: Addresses | None = None) -> Target:
        """Everything behind the proxy."""
        cluster = Cluster.connect(kubeconfig=self.kubeconfig, budget=budget)
        return Target("cluster", "misbehaving", cluster, addresses or self.addresses, 60.0, budget=budget)

    def run(
        self,
        plan: Plan = behave,
        *only: str,
        playbook: Path = PLAYBOOK,
        budget: Budget = BUDGET,
        addresses: Addresses | None = None,
    ) -> Done:
        """One run under a plan, as the command would make it."""
        self.number += 1
        out = self.folder / f"run-{self.number}"
        out.mkdir()
        done = Done(0)
        interrupt = Interrupt(done.said.append)
        (job,) = engine.select([(playbook, load(playbook))], only or ("closed",))
        self.proxy.begin(plan)
        try:
            target = self.target(budget, addresses)
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

    def plan(self, plan: Plan = behave) -> Done:
        """What `drills plan` says of the first drill under a plan; ``sentence`` has what lacks."""
        done = Done(0)
        (job,) = engine.select([(PLAYBOOK, load(PLAYBOOK))], ("closed",))
        self.proxy.begin(plan)
        try:
            target = self.target(HASTY)
            around = planning.World("misbehaving", target.cluster, target.sources().prometheus, 60.0)
            found = planning.plan(job, around)
            done.status, done.sentence = found.exit_status, "; ".join(one.text for one in found.lacks)
        except DrillsError as error:
            done.status, done.sentence = error.exit_status, str(error)
        done.faults, done.calls = self.proxy.faults, self.proxy.calls
        self.proxy.begin()
        return done

    def leave(self) -> None:
        """A drill pod with its record, as a run that was killed leaves them."""
        labels = {"app": "frontend"}
        spec = DrillPodSpec("20260101-000000-abcdef", "closed", "drill-frontend-abcdef-1", "frontend", labels, 300.0)
        undo = of_drill_pod(spec.namespace, spec.name)
        what = f"pod {spec.namespace}/{spec.name}"
        Records(self.direct).add(Record(run=spec.run, order=1, what=what, at="2026-01-01T00:00:00Z", undo=undo))
        self.direct.create_drill_pod(spec)

    def recover(self, plan: Plan = behave) -> Done:
        """`drills recover` under a plan, without its pauses."""
        done = Done(0)
        self.proxy.begin(plan)
        try:
            undone = recover(self.target(HASTY).cluster, done.said.append, wait=lambda _: time.sleep(0.05))
            done.status = exit_status(undone)
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

        yield World(Cluster.connect(kubeconfig=lab.kubeconfig), proxy, kubeconfig, addresses, folder, lab.alertmanager)


@pytest.fixture(autouse=True)
def tidy(world: World) -> Iterator[None]:
    """What a test that failed has left is not the next one's."""
    yield
    world.proxy.begin()
    world.clean()


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


def each_its_own(faults: Mapping[Call, Fault]) -> Plan:
    """Every one of these kinds of calls gets its fault, as often as it comes."""
    return lambda call, _: faults.get(call)


def applicable(call: Call, number: int) -> Fault:
    """A fault by number, of those that can befall a kind of call: only a WebSocket can end in the middle, and that
    there is nothing (any more) to delete nobody can doubt.
    """
    never = {Fault.DROPPED} if "/exec?" not in call.what else set()
    never |= {Fault.NOT_FOUND} if call.method == "DELETE" else set()
    faults = [one for one in Fault if one not in never]
    return faults[number % len(faults)]


def seed() -> int:
    """What decides which fault befalls which call; another by DRILLS_SEED."""
    found = int(os.environ.get("DRILLS_SEED") or 1)
    print(f"DRILLS_SEED={found}")
    return found


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
        truth = "breached" if drill.name == "open" else "held"
        if drill.enforcement.verdict not in (truth, "inconclusive"):
            found.append(f"{drill.name} {drill.enforcement.verdict}: {drill.enforcement.reason}")
        allowed = ("detected", "not-judged") if drill.name == "closed" else ("not-judged",)
        found += [f"alert {one.verdict}: {one.reason}" for one in drill.alerts if one.verdict not in allowed]
        ends = ("resolved", "not-judged")
        found += [f"resolution {one.resolution}" for one in drill.alerts if one.resolution not in ends]
        found += [f"quiet {one.verdict}: {one.reason}" for one in drill.quiet if one.verdict == "noisy"]
        stays = [one for one in left if not one.startswith("secrets") and one.endswith(f"-{NUMBERS[drill.name]}")]
        if (drill.recovery.verdict == "not-restored") and not stays:
            found.append(f"not restored, and nothing is left: {drill.recovery.reason}")
        # who is told that what he deletes is not there any more has no reason to doubt it
        believed = any(call.method == "DELETE" and fault is Fault.NOT_FOUND for call, fault in done.faults)
        if drill.recovery.verdict == "restored" and stays and not believed:
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


def test_a_password_and_pods_of_two_namespaces_are_read_in_spite_of_what_fails_once(world: World) -> None:
    done = world.run(rotated(1), "database")
    assert (done.status, lies(done), world.left()) == (0, [], []), done
    assert READ_SECRET in [call for call, _ in done.faults]


def test_a_fault_and_its_captures_outlast_what_fails_once(world: World) -> None:
    done = world.run(rotated(3), "key")
    assert (done.status, lies(done), world.left()) == (0, [], []), done
    assert {one.what for one, _ in done.faults} >= {"/apis/cilium.io/vN/ciliumnodes/kNs-wN", CAPTURE.what}


def test_prometheus_and_alertmanager_behind_the_api_server_s_proxy(world: World) -> None:
    behind = Addresses(f"{SERVICES}/prometheus-operated:9090", f"{SERVICES}/alertmanager-operated:9093",
                       world.addresses.receiver)  # fmt: skip
    done = world.run(rotated(5), addresses=behind)
    assert (done.status, lies(done), world.left()) == (0, [], []), done
    proxied = {call for call, _ in done.faults if "/proxy/" in call.what}
    assert len(proxied) > 10
    assert {call.server for call in done.calls} == {"api"}
    count = next(call for call in proxied if call.what.endswith(COUNT.what.removeprefix("/api/vN")))
    gone = world.run(lambda call, _: Fault.AWAY if "/proxy/" in call.what and count in world.proxy.calls else None,
                     addresses=behind, budget=HASTY)  # fmt: skip
    assert (gone.status, lies(gone), world.left()) == (3, [], []), gone
    assert [one.verdict for one in gone.drill("closed").alerts] == ["not-judged"]


def test_every_kind_of_call_goes_on_failing_in_some_run(world: World) -> None:
    """As many of them as a run reaches fail together; the next run is without those."""
    number, kinds = seed(), list(dict.fromkeys(world.run(behave, "closed", "database").calls))
    pending = {call: applicable(call, place + number) for place, call in enumerate(kinds)}
    problems, until = [], time.monotonic() + LONGEST
    while pending and time.monotonic() < until:
        done = world.run(each_its_own(pending), "closed", "database", budget=HASTY)
        left = world.left()
        world.clean()
        given = {call: fault for call, fault in done.faults if call in pending}
        if not given:
            break  # what is left is asked only where something went well
        problems += [
            f"{', '.join(f'{fault} at {call}' for call, fault in given.items())}: {one}" for one in lies(done, left)
        ]
        pending = {call: fault for call, fault in pending.items() if call not in given}
    assert problems == []
    print(f"{len(kinds) - len(pending)} of {len(kinds)} kinds of calls failed for good; not:", *pending, sep="\n    ")
    assert len(pending) < len(kinds) / 2


@pytest.mark.slow
def test_some_kinds_of_calls_go_on_failing_each_alone(world: World) -> None:
    chance, kinds = random.Random(seed()), sorted(set(world.run().calls))
    for call in chance.sample(kinds, SAMPLED):
        fault = applicable(call, chance.randrange(len(Fault)))
        done = world.run(alone_at(call, fault), budget=HASTY)
        left = world.left()
        world.clean()
        assert lies(done, left) == [], f"{fault} at {call}: {done}"


def test_a_plan_that_could_not_ask_never_says_that_nothing_lacks(world: World) -> None:
    good = world.plan()
    assert (good.status, good.sentence) == (0, "")
    number = seed()
    for place, call in enumerate(dict.fromkeys(good.calls)):
        fault = applicable(call, place + number)
        done = world.plan(alone_at(call, fault))
        if fault is Fault.NOT_FOUND and call.method == "GET":
            continue  # that there is none of it is an answer
        assert done.status == 3, f"{fault} at {call}: {done}"
        assert done.sentence, f"{fault} at {call}"
    assert world.left() == []


def test_recovery_says_restored_only_when_it_is(world: World) -> None:
    world.leave()
    once = world.recover()
    assert (once.status, world.left()) == (0, []), once
    kinds, number = list(dict.fromkeys(once.calls)), seed()
    for place, call in enumerate(kinds):
        world.leave()
        fault = applicable(call, place + number)
        if fault is Fault.NOT_FOUND and "/DRILL" in call.what:  # that one object is gone is believed: whom else to ask?
            fault = applicable(call, place + number + 1)
        done = world.recover(alone_at(call, fault))
        left = world.left()
        assert done.status != 0 or left == [], f"{fault} at {call}: {done} left {left}"
        assert done.status == 0 or done.sentence or done.said, f"{fault} at {call}"
        restored = any(one.startswith("restored: pod") for one in done.said)
        assert not (restored and any(one.startswith("pods") for one in left)), done.said
        world.clean()


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
    """The whole matrix: every kind of call by itself, for good. Hours."""
    problems = []
    for call in sorted(set(world.run(behave, "closed", "database").calls)):
        done = world.run(alone_at(call, fault), "closed", "database")
        left = world.left()
        told = [*lies(done, left), *(f"left: {one}" for one in left)]
        world.clean()
        print(f"{fault} at {call}: {done}{''.join(f'{os.linesep}    ! {one}' for one in told)}", flush=True)
        problems += [f"{fault} at {call}: {one}" for one in told if not one.startswith("left")]
    assert problems == []
