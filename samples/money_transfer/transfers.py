"""Transfers between accounts that are rows of the mesh's own database: what moves, moves together.

    squidmesh worker transfers         # in this folder

A transactional step runs inside the database transaction that records it: what it writes through
`context().connection` and its result are committed together, once, or not at all.
"""

from __future__ import annotations

import time

from sqlalchemy import BigInteger, Column, MetaData, String, Table, update

from squidmesh import Flow, WorkflowError, context, step, transaction, workflow

metadata = MetaData()
accounts = Table(
    "money_transfer_accounts",
    metadata,
    Column("name", String, primary_key=True),
    Column("cents", BigInteger, nullable=False),
)


class Refused(WorkflowError):
    """The fraud desk does not like it."""


class NotEnough(Exception):
    """The account has less than that."""


@workflow
def transfer(source: str, target: str, cents: int) -> Flow[None]:
    yield from transaction(move, source, target, cents)
    if not (yield from ask_fraud_desk(source, target, cents)):
        raise Refused(f"{source} to {target}, {cents / 100:.2f}")  # and `move` is undone, in one transaction too


def move(source: str, target: str, cents: int) -> Flow[None]:
    """Both or neither: nobody ever sees the money on neither account, or on both."""
    yield from withdraw(source, cents)
    yield from deposit(target, cents)


@step(transactional=True)
def withdraw(account: str, cents: int) -> None:
    if not book(account, -cents, at_least=cents):
        raise NotEnough(f"{account} has less than {cents / 100:.2f}")


@withdraw.undo
def give_back(nothing: None, account: str, cents: int) -> None:
    book(account, cents)


@step(transactional=True)
def deposit(account: str, cents: int) -> None:
    book(account, cents)


@deposit.undo
def take_back(nothing: None, account: str, cents: int) -> None:
    book(account, -cents)  # also what was spent meanwhile: it was never theirs


@step(pure=True)
def ask_fraud_desk(source: str, target: str, cents: int) -> bool:
    time.sleep(0.2)  # somebody elsewhere, who takes a moment
    return cents % 5 != 0


def book(account: str, cents: int, at_least: int | None = None) -> bool:
    """Add so much to an account, if it has what it takes. Whether it had."""
    change = update(accounts).where(accounts.c.name == account).values(cents=accounts.c.cents + cents)
    if at_least is not None:
        change = change.where(accounts.c.cents >= at_least)
    return bool(context().connection.execute(change).rowcount)
