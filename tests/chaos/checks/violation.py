"""One thing that is not as it must be.

The rule of this file: it names the run and the law, and says what was found.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    law: str
    run: str
    told: str
