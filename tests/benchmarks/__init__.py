"""How fast it is, beside others, on servers of its own: `python -m tests.benchmarks`."""
