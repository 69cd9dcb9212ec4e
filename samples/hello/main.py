"""The smallest workflow: one step, run in this process.

python samples/hello/main.py [NAME]
"""

import sys

from squidmesh import Flow, Mesh, step, workflow


@step
def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow
def hello(name: str) -> Flow[str]:
    return (yield from greet(name))


if __name__ == "__main__":
    with Mesh() as mesh:
        print(mesh.run(hello(" ".join(sys.argv[1:]) or "world")))
