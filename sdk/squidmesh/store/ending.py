"""Which appends touch more than a run's row and its history.

The rule of this file: one question, asked by both dialects and the committer.
"""

from __future__ import annotations

from squidmesh.ports import Append


def has_beside(append: Append) -> bool:
    """Whether tasks, joins or the inbox of its run change with it."""
    return bool(append.tasks or append.joins or append.taken)


def may_have_more(append: Append) -> bool:
    """Whether it is a transaction of its own: it touches more than its run's row and history, and who waits for it."""
    return has_beside(append) or bool(append.runs) or not _only_tells(append)


def _only_tells(append: Append) -> bool:
    """Whether its letters, if there are any, go to runs that are waiting for its end, and open none again."""
    return not append.letters or (
        append.change is not None and all(letter.opens is None and letter.key is None for letter in append.letters)
    )
