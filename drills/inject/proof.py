"""What proves a denial: the counter that grows with it and the flow that shows it, by who denies.

A denial has a maker (an L7 proxy, the DNS proxy, or the datapath, which drops packets), and each maker has a counter
and an event of its own (Cilium 1.18 to 1.20: pkg/metrics/metrics.go, pkg/maps/metricsmap, api/v1/flow/flow.proto).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drills.cilium.flow import EventType, Flow, FlowType
from drills.playbook import Denied


class Maker(StrEnum):
    """Who denies."""

    HTTP = "http"  # Envoy, with an answer
    DNS = "dns"  # the DNS proxy, with an answer
    PACKETS = "packets"  # the datapath, in silence


# The agent creates the series of the proxies at 0. A drop series is born with its first drop; before, it stands for 0
# only where the agents are scraped at all.
COUNTERS: Final = {
    Maker.HTTP: 'sum(cilium_policy_l7_total{rule="denied",proxy_type="envoy"})',
    Maker.DNS: 'sum(cilium_policy_l7_total{rule="denied",proxy_type="fqdn"})',
    Maker.PACKETS: 'sum(cilium_drop_count_total{reason=~"Policy denied.*"}) or 0 * sum(cilium_policy_l7_total)',
}


@dataclass(frozen=True, slots=True)
class ProofSpec:
    """Where the denials of one injection are seen, beside the client."""

    makers: tuple[Maker, ...]
    query: str = ""  # the name that is looked up; any where it is empty

    @property
    def counter(self) -> str:
        """PromQL of one number that grows by every such denial, of all nodes together."""
        if len(self.makers) == 1:
            return COUNTERS[self.makers[0]]
        return " + ".join(f"({COUNTERS[maker]})" for maker in self.makers)

    @property
    def exact(self) -> bool:
        """Whether it grows by one and no more: packets are counted, and a SYN that is dropped is sent again."""
        return Maker.PACKETS not in self.makers

    @property
    def flow_filters(self) -> tuple[str, ...]:
        """Arguments of ``hubble observe``: a denied packet's drop, which is counted, and its verdict, which names the
        policy.
        """
        types = ["l7"] if set(self.makers) - {Maker.PACKETS} else []
        types += ["drop", "policy-verdict"] if Maker.PACKETS in self.makers else []
        return ("--verdict", "DROPPED", *(word for each in types for word in ("-t", each)))

    def shows(self, flow: Flow) -> bool:
        """Whether a flow is such a denial; whose attempt it was, its addresses and ports tell."""
        maker = maker_of(flow)
        if maker is Maker.DNS and self.query and flow.l7 is not None and flow.l7.dns is not None:
            return maker in self.makers and _absolute(flow.l7.dns.query) == _absolute(self.query)
        return maker in self.makers

    def explains(self, flow: Flow) -> bool:
        """Whether a flow says by which policy such a denial came, or that no rule allowed it."""
        return Maker.PACKETS in self.makers and flow.denied and flow.event is EventType.POLICY_VERDICT


def maker_of(flow: Flow) -> Maker | None:
    """Who denied a flow; None where it was not denied, or told a second time (a policy verdict beside its drop)."""
    if not flow.denied:
        return None
    if flow.type is FlowType.L7:
        if flow.l7 is None:
            return None
        return Maker.HTTP if flow.l7.http is not None else Maker.DNS if flow.l7.dns is not None else None
    return Maker.PACKETS if flow.event is EventType.DROP else None


def makers_for(denied: Sequence[Denied], answering: Maker | None) -> tuple[Maker, ...]:
    """Who can make the expected denials; ``answering``: the proxy that can deny this kind of attempt by an answer."""
    if answering is None:
        return (Maker.PACKETS,)
    if not denied:
        return (answering, Maker.PACKETS)
    silent = any(one.connect is not None for one in denied)
    answered = any(one.connect is None for one in denied)
    return ((answering,) if answered else ()) + ((Maker.PACKETS,) if silent else ())


def _absolute(name: str) -> str:
    return name.lower().rstrip(".") + "."
