"""The checker: reads all there is when the storm is over, and says what is not as it must be.

The rule of this file: it only puts the checks in order. They share no code with the engine.
"""

from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.checks import kin, promises, rollbacks, shape, steps
from tests.chaos.checks.violation import Violation
from tests.chaos.effects import Effect
from tests.chaos.ledger import Ledger
from tests.chaos.promise import Promise


def check(ledger: Ledger, effects: Sequence[Effect], given: Sequence[Promise]) -> list[Violation]:
    """All violations, the same law together."""
    by_key: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_key[effect.key].append(effect)
    of_run: dict[str, dict[str, list[Effect]]] = defaultdict(dict)
    for key, did in by_key.items():
        of_run[key.partition(":")[0]][key] = did
    found: list[Violation] = []
    for run in ledger.runs.values():
        done = of_run.get(run.id, {})
        found += shape.check(run, ledger)
        found += steps.check(run, ledger, done)
        found += rollbacks.check(run, ledger, done)
        found += kin.check(run, ledger)
    found += steps.check_nothing_else(ledger, by_key)
    found += promises.check(given, ledger)
    return sorted(found, key=lambda violation: (violation.law, violation.run))
