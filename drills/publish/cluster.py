"""Results into the cluster itself: Events in the namespaces that are acted on, and the result as a ConfigMap."""

from __future__ import annotations

import json

from drills.engine.publications import result_map
from drills.engine.result import Result
from drills.kube import Cluster
from drills.kube.announce import Event, Kind, record_event, write_config_map
from drills.kube.lease import NAMESPACE
from drills.publish.base import Announced

MOST_BYTES = 900_000  # of a ConfigMap; etcd takes 1 MiB in all


class Events:
    """``kubectl get events``: a drill began here, and how it ended, for whoever wonders about the traffic."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def started(self, run: Announced) -> None:
        """WorldError where the API does not take one."""
        text = f"This is a drill: run {run.run} of playbook {run.playbook} begins ({', '.join(run.drills)})."
        for namespace in run.namespaces:
            record_event(self._cluster, Event(namespace, "DrillStarted", "Normal", text))

    def finished(self, run: Announced, result: Result) -> None:
        """WorldError where the API does not take one."""
        said = ", ".join(f"{drill.name} {drill.verdict}" for drill in result.drills)
        text = f"The drill is over: run {run.run} of playbook {run.playbook} {result.verdict} ({said})."
        kind: Kind = "Normal" if result.verdict == "passed" else "Warning"
        for namespace in run.namespaces:
            record_event(self._cluster, Event(namespace, "DrillFinished", kind, text))

    def close(self) -> None:
        """Nothing is open."""


class ConfigMap:
    """``drills-result-PLAYBOOK`` in namespace drills, replaced by every run."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def started(self, run: Announced) -> None:
        """Nothing to tell yet."""

    def finished(self, run: Announced, result: Result) -> None:
        """WorldError where the API does not take it."""
        name = result_map(run.playbook)
        data = {"run": run.run, "verdict": result.verdict, "result.json": _fitting(result)}
        write_config_map(self._cluster, NAMESPACE, name, data)

    def close(self) -> None:
        """Nothing is open."""


def _fitting(result: Result) -> str:
    """The whole result, or without its provenance where it would not fit."""
    text = result.to_json()
    if len(text.encode()) <= MOST_BYTES:
        return text
    rest = json.loads(text)
    rest["provenance"] = {"notJudged": ["left out: the result is too large for a ConfigMap"]}
    return json.dumps(rest)
