"""Starts: how fast a client starts runs, one by one and many at once, while nobody serves them."""

from __future__ import annotations

import time

from tests.benchmarks.measures.measure import Figures, Measure
from tests.benchmarks.systems.system import Session


def one_by_one(session: Session, runs: int) -> Figures:
    began = time.perf_counter()
    for _ in range(runs):
        session.start()
    return _figures(runs, time.perf_counter() - began)


def many(session: Session, runs: int) -> Figures:
    began = time.perf_counter()
    session.start_many(runs)
    return _figures(runs, time.perf_counter() - began)


def _figures(runs: int, seconds: float) -> Figures:
    return {"n": runs, "starts": runs, "seconds": seconds, "starts_per_s": runs / seconds}


def _warm(session: Session) -> None:
    for _ in range(20):
        session.start()
    session.start_many(50)


MEASURES = (
    Measure(
        "starts", "one by one", one_by_one, _warm,
        full=2_000, quick=200, counted=50, leading="starts_per_s", workers=0,
    ),
    Measure(
        "starts", "many", many, _warm,
        full=10_000, quick=2_000, counted=500, leading="starts_per_s", workers=0,
    ),
)  # fmt: skip
