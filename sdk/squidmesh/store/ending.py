"""Which appends touch more than a run's row and its history.

The rule of this file: one question, asked by both dialects and the committer.
"""

from __future__ import annotations

from squidmesh.ports import Append


def may_have_more(append: Append) -> bool:
    """Whether tasks, joins or the inbox change with it: such an append is a transaction of its own."""
    return bool(append.tasks or append.joins or append.taken)
