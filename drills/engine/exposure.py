"""Whether a drill pod would ever get traffic that is meant for others.

Its readiness gate keeps it out of every Service but those that publish addresses of unready pods
(``publishNotReadyAddresses``): under such a Service a source with its labels is refused.
"""

from __future__ import annotations

from drills.kube import Cluster
from drills.playbook import ExistingPod, Source


def exposed(cluster: Cluster, source: Source | ExistingPod) -> str | None:
    """Why no drill pod may be made for a source; None if one may. Raises WorldError."""
    if isinstance(source, ExistingPod):
        return None
    for service in cluster.services(source.namespace):
        if service.sends_to(source.labels):
            return (
                f"Service {source.namespace}/{service.name} publishes addresses of pods that are not ready and selects "
                f"the labels of the source: it would send its clients to the drill pod. Name an existing pod as the "
                "source, or give it labels that the Service does not select."
            )
    return None
