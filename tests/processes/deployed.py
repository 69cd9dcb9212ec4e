"""The workflow that `test_code.py` deploys in several makes, as whoever starts it knows it."""

from squidmesh import Flow, workflow


@workflow(name="chaos_deployed")
def deployed(n: int) -> Flow[int]:
    """Never driven from here: workers have their own file with it."""
    raise NotImplementedError
    yield
