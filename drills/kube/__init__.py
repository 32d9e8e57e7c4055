"""The Kubernetes API, typed, with errors that a user can read. The only place that imports ``kubernetes``."""

from drills.kube.api import KubeError
from drills.kube.cilium import Agent, Endpoint, Flows, Policy, Twin
from drills.kube.cluster import Cluster
from drills.kube.exec import Finished, Stream
from drills.kube.objects import Backend, Service
from drills.kube.pods import DrillPod, DrillPodSpec, Made, ReplacedError

__all__ = [
    "Agent",
    "Backend",
    "Cluster",
    "DrillPod",
    "DrillPodSpec",
    "Endpoint",
    "Finished",
    "Flows",
    "KubeError",
    "Made",
    "Policy",
    "ReplacedError",
    "Service",
    "Stream",
    "Twin",
]
