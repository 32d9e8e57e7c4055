"""Drives Store, controllers and kubelets in fresh namespaces and prints what was seen as JSON.

Started by test_runtime.py inside `unshare`; there is no API server and no policy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from drills.lab import plan, topology
from drills.lab.api.containers import ExecError
from drills.lab.api.gc import GarbageCollector
from drills.lab.api.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
    by_kind,
)
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.controllers import Controllers
from drills.lab.runtime.builtin import ExecIO
from drills.lab.runtime.datapath import OpenDatapath
from drills.lab.runtime.kubelet import Kubelets

NS = "shop"

MANIFESTS = Path(__file__).with_name("runtime_world.yaml")


class World:
    """The parts under test, and short ways to look at them."""

    def __init__(self) -> None:
        self.store = Store()
        self.controllers = Controllers(self.store)
        self.kubelets = Kubelets(
            self.store,
            datapath=OpenDatapath(),
            services=self.controllers.services,
            builtins={"cilium": {"hubble": hubble}},
        )

    async def start(self) -> None:
        topology.build()
        for name in plan.NODES:
            self.store.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        self.store.create(NAMESPACES, {"metadata": {"name": NS}})
        self._collector = asyncio.create_task(GarbageCollector(self.store).run())
        await self.controllers.start()
        await self.kubelets.start()

    def get(self, resource: Resource, name: str) -> Obj:
        found: Obj = self.store.get(resource, NS, name)
        return found

    def pod_of(self, app: str) -> Obj:
        return self.store.list(PODS, NS, {"app": app})[0]

    async def until(self, true: Callable[[], Any], seconds: float = 10) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if true():
                return True
            await asyncio.sleep(0.02)
        return False

    async def services_stand(self, backends: Mapping[str, int]) -> None:
        """Wait until so many pods are behind each Service, and until every namespace's rules say so."""

        def behind(service: str) -> int:
            pieces = self.store.list(ENDPOINTSLICES, NS, {"kubernetes.io/service-name": service})
            ready = [one for piece in pieces for one in piece["endpoints"] if one["conditions"]["ready"]]
            return len(ready)

        assert await self.until(lambda: all(behind(name) == number for name, number in backends.items()))
        await self.controllers.services.refresh()

    async def run(self, pod: str, *command: str, stdin: bytes | None = None, tty: bool = False) -> list[Any]:
        process = await self.kubelets.exec(self.get(PODS, pod), "main", command, stdin=stdin is not None, tty=tty)
        if stdin is not None:
            await process.write(stdin)
            await process.close_stdin()
        out, err = await asyncio.gather(collect(process.stdout), collect(process.stderr))
        return [await process.wait(), out, err]

    async def logs(self, pod: str, **options: Any) -> str:
        defaults = {"follow": False, "tail": None, "since": None, "previous": False, "timestamps": False}
        return await collect(self.kubelets.logs(self.get(PODS, pod), "main", **{**defaults, **options}))


async def collect(chunks: AsyncIterator[bytes]) -> str:
    return b"".join([chunk async for chunk in chunks]).decode()


async def hubble(node: str, argv: Any, io: ExecIO) -> int:
    await io.write_out(f"{node} {' '.join(argv)}\n".encode())
    async for data in io.stdin:
        await io.write_err(data)
    return 7


def ready(pod: Obj) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def main() -> dict[str, Any]:
    world = World()
    await world.start()
    seen: dict[str, Any] = {}
    began = time.monotonic()
    for obj in yaml.safe_load_all(MANIFESTS.read_text()):
        resource = by_kind(obj["apiVersion"], obj["kind"])
        assert resource is not None
        for reference in obj["metadata"].get("ownerReferences", []):
            reference["uid"] = world.get(CONFIGMAPS, "guard")["metadata"]["uid"]
        world.store.create(resource, {**obj, "metadata": {**obj["metadata"], "namespace": NS}})

    def all_up() -> bool:
        up = [world.get(DEPLOYMENTS, "web").get("status", {}).get("availableReplicas") == 2]
        up.append(world.get(STATEFULSETS, "db").get("status", {}).get("readyReplicas") == 1)
        return all(up) and all(ready(world.get(PODS, name)) for name in ("client", "guarded", "agent"))

    seen["up"] = await world.until(all_up)
    seen["seconds"] = time.monotonic() - began
    await world.until(lambda: world.get(PODS, "crashing")["status"]["containerStatuses"][0]["restartCount"])
    for part in (look_at_pods, look_at_services, look_at_data, look_at_exec, change_things, end_things):
        began = time.monotonic()
        await part(world, seen)
        seen[f"seconds of {part.__name__}"] = time.monotonic() - began
    return seen


async def look_at_pods(world: World, seen: dict[str, Any]) -> None:
    await world.until(lambda: world.get(PODS, "files")["status"]["phase"] not in ("Pending", "Running"))
    await world.until(lambda: world.get(PODS, "late")["status"]["phase"] == "Failed")
    names = ("gated", "files", "unknown-image", "no-secret", "late", "crashing", "agent")
    seen["status"] = {name: world.get(PODS, name)["status"] for name in names}
    seen["log"] = {name: await world.logs(name) for name in ("files", "agent")}
    seen["previous log"] = await world.logs("crashing", previous=True)
    await world.until(lambda: world.get(JOBS, "once").get("status", {}).get("succeeded"))
    seen["job"] = world.get(JOBS, "once")["status"]
    seen["nodes of web"] = [pod["spec"]["nodeName"] for pod in world.store.list(PODS, NS, {"app": "web"})]


async def look_at_services(world: World, seen: dict[str, Any]) -> None:
    await world.services_stand({"web": 2, "db": 1})
    address = {name: world.get(SERVICES, name)["spec"]["clusterIP"] for name in ("web", "db", "nobody")}
    seen["addresses"] = address
    pods = {pod["status"]["podIP"] for pod in world.store.list(PODS, NS, {"app": "web"}) if ready(pod)}
    seen["web pods"] = sorted(pods)
    answers = [await world.run("client", "curl", "-s", "-m3", f"http://{address['web']}/x?y") for _ in range(12)]
    seen["answers"] = [answer[1] for answer in answers]
    seen["endpoints"] = world.get(ENDPOINTS, "web")["subsets"]
    seen["slices"] = world.store.list(ENDPOINTSLICES, NS, {"kubernetes.io/service-name": "web"})
    seen["nobody"] = await world.run("client", "curl", "-s", "-m3", f"http://{address['nobody']}/")
    hairpin = world.store.list(PODS, NS, {"app": "web"})[1]["metadata"]["name"]
    seen["hairpin"] = [
        (await world.run(hairpin, "curl", "-s", "-m3", f"http://{address['web']}/"))[0] for _ in range(6)
    ]
    psql = ("psql", "-h", address["db"], "-U", "appuser", "-d", "appdb", "-Atc", "select 1+1")
    seen["psql"] = await world.run("client", "env", "PGPASSWORD=s3cret", *psql)
    seen["psql wrong"] = await world.run("client", "env", "PGPASSWORD=wrong", *psql)
    methods = ("POST", "DELETE", "TRACE", "MAGIC")
    url = f"http://{address['web']}/admin/config"
    codes = [
        await world.run("client", "curl", "-s", "-m3", "-o/dev/null", "-w%{http_code}", "-X", m, url) for m in methods
    ]
    seen["methods"] = dict(zip(methods, [code[1] for code in codes], strict=True))
    guarded = world.get(PODS, "guarded")["status"]["podIP"]
    seen["guarded"] = await world.run("client", "curl", "-s", "-w%{http_code}", f"http://{guarded}:8080/admin")


async def look_at_data(world: World, seen: dict[str, Any]) -> None:
    """A pod of a StatefulSet is replaced: its claim stays."""
    sql = ("psql", "-U", "appuser", "-d", "appdb", "-Atc")
    await world.run("db-0", *sql, "INSERT INTO seen VALUES ('written')")
    before = world.get(PODS, "db-0")["metadata"]["uid"]
    world.store.delete(PODS, NS, "db-0", grace=2)

    def replaced() -> bool:
        pod = world.store.find(PODS, NS, "db-0")
        return pod is not None and pod["metadata"]["uid"] != before and ready(pod)

    seen["replaced"] = await world.until(replaced)
    seen["data"] = await world.run("db-0", *sql, "SELECT what FROM seen")
    await world.until(lambda: world.get(PODS, "sick")["status"]["containerStatuses"][0]["restartCount"])
    seen["sick"] = world.get(PODS, "sick")["status"]["containerStatuses"][0]
    seen["events"] = [[e["involvedObject"]["name"], e["reason"], e["message"]] for e in world.store.list(EVENTS, NS)]


async def look_at_exec(world: World, seen: dict[str, Any]) -> None:
    seen["exec"] = await world.run("client", "sh", "-c", "cat; echo err >&2; exit 5", stdin=b"typed\n")
    seen["tty"] = await world.run("client", "sh", "-c", "tty; stty size", tty=True)
    seen["signal"] = await world.run("client", "sh", "-c", "kill -9 $$")
    seen["builtin"] = await world.run("agent", "/usr/bin/hubble", "observe", stdin=b"in")
    seen["python"] = await world.run("gated", "python", "-c", "import drills; print(drills.__version__)")
    seen["names"] = await world.run("client", "sh", "-c", "hostname; cat /etc/resolv.conf; id -u; ls -A /root /run")
    seen["harmless"] = await world.run(
        "client", "sh", "-c", "rm -rf /etc/hostname; mount -o remount,rw /usr; ip link del eth0"
    )
    seen["caps"] = await world.run("client", "sh", "-c", "cat /proc/self/status")
    for name, pod, command in (
        ("missing", "client", "nope"),
        ("not running", "no-secret", "ls"),
        ("no builtin", "agent", "sh"),
    ):
        try:
            await world.run(pod, command)
        except ExecError as error:
            seen[name] = str(error)
    process = await world.kubelets.exec(world.get(PODS, "client"), "main", ["sleep", "1000"], stdin=False, tty=False)
    await asyncio.sleep(0.05)
    process.kill()
    seen["killed"] = await process.wait()
    seen["left"] = (await world.run("client", "ps", "-o", "args"))[1]


async def change_things(world: World, seen: dict[str, Any]) -> None:
    """A rollout, a scale to nothing, an adoption, a readiness gate that is opened."""
    before = {pod["metadata"]["uid"] for pod in world.store.list(PODS, NS, {"app": "web"})}
    web = json.loads(json.dumps(world.get(DEPLOYMENTS, "web")))
    web["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})
    del web["metadata"]["resourceVersion"]
    world.store.update(DEPLOYMENTS, web)
    least = 2

    def rolled() -> bool:
        nonlocal least
        least = min(least, sum(len(part.get("addresses", [])) for part in world.get(ENDPOINTS, "web")["subsets"]))
        status = world.get(DEPLOYMENTS, "web")["status"]
        if status["observedGeneration"] != world.get(DEPLOYMENTS, "web")["metadata"]["generation"]:
            return False
        return [status.get(f"{kind}eplicas") for kind in ("updatedR", "r", "availableR")] == [2, 2, 2]

    seen["rolled"] = await world.until(rolled)
    seen["least while rolling"] = least
    await world.until(lambda: len(world.store.list(PODS, NS, {"app": "web"})) == 3)
    after = {pod["metadata"]["uid"] for pod in world.store.list(PODS, NS, {"app": "web"})}
    seen["kept"] = len(before & after)  # the gated pod alone
    seen["revisions"] = sorted(
        (item["metadata"]["annotations"]["deployment.kubernetes.io/revision"], item["spec"]["replicas"])
        for item in world.store.list(REPLICASETS, NS)
    )
    gated = world.get(PODS, "gated")
    opened = {"type": "drills/never", "status": "True"}
    status = {**gated["status"], "conditions": [*gated["status"]["conditions"], opened]}
    world.store.set_status(PODS, NS, "gated", status)
    seen["gate opened"] = await world.until(lambda: ready(world.get(PODS, "gated")))
    seen["joined"] = await world.until(lambda: len(world.get(ENDPOINTS, "web")["subsets"]) == 1 and len(
        world.get(ENDPOINTS, "web")["subsets"][0].get("addresses", [])) == 3)  # fmt: skip
    scaled = json.loads(json.dumps(world.get(DEPLOYMENTS, "web")))
    scaled["spec"]["replicas"] = 0
    del scaled["metadata"]["resourceVersion"]
    world.store.delete(PODS, NS, "gated", grace=1)
    world.store.update(DEPLOYMENTS, scaled)
    seen["scaled down"] = await world.until(lambda: not world.store.list(PODS, NS, {"app": "web"}))
    await world.services_stand({"web": 0})
    seen["no backend"] = await world.run("client", "curl", "-s", "-m3", f"http://{seen['addresses']['web']}/")


async def end_things(world: World, seen: dict[str, Any]) -> None:
    began = time.monotonic()
    follower = asyncio.create_task(world.logs("client", follow=True))
    await asyncio.sleep(0)
    world.store.delete(NAMESPACES, None, NS)
    seen["swept"] = await world.until(lambda: world.store.find(NAMESPACES, None, NS) is None)
    seen["sweep seconds"] = time.monotonic() - began
    seen["followed"] = await asyncio.wait_for(follower, 5)
    await world.until(lambda: not list((plan.RUN / "pods").iterdir()))
    seen["netns"] = sorted(path.name for path in Path("/run/netns").iterdir())
    left = subprocess.run(["ip", "-n", "k8s-w1", "-o", "link"], capture_output=True, text=True, check=True).stdout
    seen["links"] = [line.split(":")[1].strip() for line in left.splitlines() if "lxc" in line]
    seen["files"] = [str(path) for place in ("pods", "podlogs") for path in (plan.RUN / place).iterdir()]
    await world.kubelets.stop()
    await world.controllers.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    print(json.dumps(asyncio.run(main())))
