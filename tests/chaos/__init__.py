"""Chaos: many mixed workflows, an adversary with a seed, and a checker that knows nothing of the engine.

The rule of this folder: one concern a file. README.md says who does what, and how to read the table at the end.
"""
