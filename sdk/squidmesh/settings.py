"""What a mesh can be told, and where else it may be said: arguments first, then the environment, then the defaults.

The rule of this file: every setting is checked here, once, and an error names it and where it came from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from squidmesh.core.status import ENDED
from squidmesh.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are in seconds.

    :param lease: how long a worker that is not heard of keeps what it holds.
    :param sweep: how often each worker looks for what is due, expired or was not rung.
    :param max_lost: how many attempts of a step may be lost with their worker.
    :param max_payload: bytes that an argument set, a result or a checkpoint may have as JSON.
    :param drain_timeout: how long a run that is ending waits for attempts in flight.
    :param retention: how long runs are kept after their end, by status; those of other statuses are kept for ever.
    """

    lease: float = 15.0
    sweep: float = 1.0
    max_lost: int = 5
    max_payload: int = 1_048_576
    drain_timeout: float = 600.0
    retention: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings from arguments (None: not given) and ``SQUIDMESH_*`` variables.

        :raises ConfigurationError: a value that is not a number, or not above zero.
        """
        values: dict[str, Any] = {}
        for name, whole in (
            ("lease", 0),
            ("sweep", 0),
            ("max_lost", 1),
            ("max_payload", 1),
            ("drain_timeout", 0),
        ):
            variable = f"SQUIDMESH_{name.upper()}"
            value, source = given.get(name), f"Mesh({name}=…)"
            if value is None and variable in environ:
                value, source = environ[variable], variable
            if value is not None:
                values[name] = _number(value, source, int if whole else float, least=0 if name == "max_lost" else None)
        if (kept := given.get("retention")) is not None:
            values["retention"] = _retention(kept, "Mesh(retention=…)")
        elif "SQUIDMESH_RETENTION" in environ:
            values["retention"] = _retention(_parted(environ["SQUIDMESH_RETENTION"]), "SQUIDMESH_RETENTION")
        return cls(**values)


def _parted(text: str) -> Any:
    """``604800``, or ``completed=604800,failed=7776000``."""
    if "=" not in text:
        return text
    parts = (part.partition("=") for part in text.split(","))
    return {status.strip(): age.strip() for status, _, age in parts}


def _retention(value: Any, source: str) -> dict[str, float]:
    ages = value if isinstance(value, Mapping) else dict.fromkeys(sorted(ENDED), value)
    for status in ages:
        if status not in ENDED:
            known = ", ".join(sorted(ENDED))
            raise ConfigurationError(f"{source} names statuses in which a run has ended ({known}), not {status!r}")
    return {str(status): _number(age, source, float, least=None) for status, age in ages.items()}


def _number(value: Any, source: str, kind: type[int] | type[float], least: int | None) -> Any:
    what = "a whole number" if kind is int else "a number"
    try:
        number = float(value.total_seconds() if isinstance(value, timedelta) else value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"{source} takes {what}, not {value!r}") from None
    if not math.isfinite(number) or (kind is int and number != int(number)):
        raise ConfigurationError(f"{source} takes {what}, not {value!r}")
    if number <= 0 if least is None else number < least:
        raise ConfigurationError(f"{source} must be {'above zero' if least is None else 'zero or more'}, not {value!r}")
    return kind(number)
