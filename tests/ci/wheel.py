"""``python -m tests.ci.wheel FILE``: does a wheel hold every file of the packages, and nothing else?"""

import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "squidmesh": ROOT / "sdk",
    "squidmesh_worker": ROOT / "worker",
    "squidmesh_migrations": ROOT / "migrations",
}
MODULES = {"_squidmesh_pytest.py"}  # beside the packages: see there


def in_tree() -> set[str]:
    """The files of the packages, by their path in an installation."""
    return MODULES | {
        file.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def in_wheel(wheel: Path) -> set[str]:
    """The files of a wheel, without its own metadata."""
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def main(wheel: str) -> int:
    """Print what differs; 1 if anything does."""
    expected, found = in_tree(), in_wheel(Path(wheel))
    expected |= {f"{package}/py.typed" for package in PACKAGES}  # a wheel without them has no types for users
    for name in sorted(expected - found):
        print(f"missing in the wheel: {name}")
    for name in sorted(found - expected):
        print(f"in the wheel, but in no package: {name}")
    print(f"{len(found)} files in the wheel")
    return int(expected != found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
