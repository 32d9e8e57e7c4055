"""Does any policy guard the attack's ends, and is it in force: what each endpoint itself says of that. Pure.

A denial that no policy can have made, or beside a policy that is only watched (audit mode), proves nothing. The word is
that of the node's agent (``policy-enabled``, Cilium api/v1/models EndpointPolicyEnabled: none, ingress, egress, both,
and audit- before the last three), or what the CiliumEndpoint says, where it says anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

AUDIT: Final = "audit-"


@dataclass(frozen=True, slots=True)
class Guarded:
    """An end of the attack and how policy is enforced on it; ``word`` empty: nobody says."""

    name: str
    word: str

    @property
    def watched(self) -> bool:
        """Whether its policies let pass what they would deny."""
        return self.word.startswith(AUDIT)

    def enforces(self, direction: str) -> bool:
        """Whether it is known to enforce policy in a direction: ingress, egress."""
        return self.word in (direction, "both")


@dataclass(frozen=True, slots=True)
class Guard:
    """What a reader is told in any case, and what keeps denials from proving anything."""

    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def guard(source: Guarded, backends: Sequence[Guarded], audited: Sequence[str]) -> Guard:
    """``audited``: endpoints anywhere that are in audit mode, in words; they matter where an end does not speak."""
    silent = any(not one.word for one in (source, *backends))
    doubts = (*_doubts(source, backends), *(audited if silent else ()))
    explained = source.enforces("egress")
    notes = [_unguarded(one) for one in backends if _open(one) and explained]
    return Guard(tuple(dict.fromkeys([*notes, *doubts, *audited])), doubts)


def _doubts(source: Guarded, backends: Sequence[Guarded]) -> Iterator[str]:
    for one in (source, *backends):
        if one.watched:
            yield f"{one.name} is in audit mode ({one.word}): what its policies deny is let through"
    if not source.enforces("egress"):
        yield from (
            f"{_unguarded(one)}, nor what {source.name} may reach: no policy can have denied it"
            for one in backends
            if _open(one)
        )


def _unguarded(one: Guarded) -> str:
    return f"no policy guards {one.name} (ingress is not enforced)"


def _open(one: Guarded) -> bool:
    return bool(one.word) and not one.watched and not one.enforces("ingress")
