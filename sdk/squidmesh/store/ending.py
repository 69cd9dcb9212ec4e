"""Which appends touch more than a run's row and its history.

The rule of this file: one question, asked by both dialects and the committer.
"""

from __future__ import annotations

from squidmesh.ports import Append


def has_beside(append: Append) -> bool:
    """Whether tasks, joins or the inbox of its run change with it."""
    return bool(append.tasks or append.joins or append.taken)


def may_have_more(append: Append) -> bool:
    """Whether it touches more than its run's row and history: such an append is a transaction of its own."""
    return has_beside(append) or bool(append.runs or append.letters)
