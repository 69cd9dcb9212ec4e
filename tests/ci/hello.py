"""The smallest workflow, run from an installed wheel on the embedded default."""

from squidmesh import Flow, Mesh, step, workflow


@step
def greeting(name: str) -> str:
    return f"Hello, {name}!"


@workflow
def hello(name: str) -> Flow[str]:
    return (yield from greeting(name))


if __name__ == "__main__":
    with Mesh() as mesh:
        said = mesh.run(hello("wheel"), timeout=60)
    if said != "Hello, wheel!":
        raise SystemExit(f"the workflow said {said!r}")
    print(said)
