"""Every check there is, in the order in which they run; ``RULES`` is what they look for, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from drills.check import alerting, cilium_names, coverage, drilling, helm, ignore, kinds, policies, reading
from drills.check.delivery import rules as delivering
from drills.check.finding import Finding, Level, Rule
from drills.check.firing import rules as firing
from drills.check.predict import rules as predicting
from drills.check.world import World
from drills.errors import InputError

Check = Callable[[World], Iterable[Finding]]

MODULES: Final = (kinds, policies, alerting, cilium_names, helm)
CHECKS: Final[tuple[Check, ...]] = (*(module.check for module in MODULES), drilling.check)
RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.name: rule
        for module in (reading, ignore, *MODULES, predicting, firing, delivering, coverage)
        for rule in module.RULES
    }
)


def findings(world: World) -> list[Finding]:
    """Everything that is wrong, in the order of the files, without what an ignore comment silences."""
    found = [*world.unreadable, *(finding for check in CHECKS for finding in check(world))]
    found = ignore.silence(found, world, RULES)
    return sorted({each.key: each for each in found}.values(), key=lambda each: each.key)


def exit_status(found: Iterable[Finding]) -> int:
    """0 without errors, 1 with some, 2 where something could not even be read."""
    errors = {each.rule for each in found if each.level is Level.ERROR}
    if errors & reading.UNREADABLE_NAMES:
        return InputError.exit_status
    return 1 if errors else 0
