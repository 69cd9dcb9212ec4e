"""The pytest plugin's switches. What they switch on is in squidmesh/testing.

The rule of this file: pytest loads it in every session of an environment, so it imports nothing of Squid Mesh before
somebody has asked for it. (That is why it stands beside the package; the idea is Hypothesis's.)
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("squidmesh", "durable workflows")
    group.addoption(
        "--squidmesh-redrive",
        action="store_true",
        help="at the end of each test, drive each run of a VirtualMesh again from every prefix of its history",
    )
    parser.addini("squidmesh_histories", "folders of recorded histories, each a test: does today's code replay it?",
                  type="paths", default=[])  # fmt: skip
    parser.addini("squidmesh_workflows", "modules of the workflows that these histories are of",
                  type="args", default=[])  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    if config.getini("squidmesh_histories"):
        from squidmesh.testing.collecting import Histories

        config.pluginmanager.register(Histories(config), "squidmesh-histories")
    if config.getoption("squidmesh_redrive"):
        from squidmesh.testing.collecting import Redriving

        config.pluginmanager.register(Redriving(), "squidmesh-redrive")
