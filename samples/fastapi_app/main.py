"""A web shop whose orders are fulfilled by a workflow: one module for the web process and the worker process.

    python samples/fastapi_app/main.py                      # the web process
    squidmesh worker samples.fastapi_app.main               # beside it, in the same folder

The order and the run that fulfils it are written in one transaction: both are there, or neither is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from squidmesh import Flow, Mesh, Retry, context, publish, step, workflow

mesh = Mesh()  # SQUIDMESH_DATABASE_URL and SQUIDMESH_BROKER_URL, else a SQLite file in this folder


# --- the application's own table, in the mesh's database


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    run_id: Mapped[str]
    tracking: Mapped[str | None]


# --- the workflow


@workflow
def fulfil_order(order_id: str, item: str) -> Flow[str]:
    yield from publish("stage", "packing")
    parcel = yield from pack_item(order_id, item)
    yield from publish("stage", "shipping")
    tracking = yield from ship_parcel(parcel)
    yield from save_tracking(order_id, tracking)
    return tracking


@step
def pack_item(order_id: str, item: str) -> str:
    time.sleep(0.5)  # the time it takes
    return f"{order_id}/{item}"


@step(retry=Retry(max_attempts=5))
def ship_parcel(parcel: str) -> str:
    return f"tracking {parcel}, booked under {context().key}"


@step(retry=Retry(max_attempts=5))
def save_tracking(order_id: str, tracking: str) -> None:
    with Session(mesh.engine) as session, session.begin():
        session.get_one(Order, order_id).tracking = tracking


# --- the web application


class NewOrder(BaseModel):
    id: str = Field(min_length=1)
    item: str = Field(min_length=1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    mesh.migrate()  # a larger application runs `squidmesh migrate`, and its own migrations, at deploy
    Base.metadata.create_all(mesh.engine)
    yield
    mesh.close()


app = FastAPI(title="Shop", lifespan=lifespan)


@app.post("/orders", status_code=202)
def place_order(new: NewOrder) -> dict[str, Any]:
    """Answers at once; the work is done by whichever worker hears of it, after this commit."""
    with Session(mesh.engine) as session:
        run = mesh.start(fulfil_order(new.id, new.item), connection=session)
        session.add(Order(id=new.id, item=new.item, run_id=run.run_id))
        try:
            session.commit()
        except IntegrityError:  # the order is there already: this run never was
            raise HTTPException(409, f"there is an order {new.id!r} already") from None
    return {"order": new.id, "run": run.run_id}


@app.get("/orders/{order_id}")
def show_order(order_id: str) -> dict[str, Any]:
    with Session(mesh.engine) as session:
        order = session.get(Order, order_id)
    if order is None:
        raise HTTPException(404, f"there is no order {order_id!r}")
    run = mesh.handle(order.run_id)
    return {
        "order": order.id,
        "item": order.item,
        "tracking": order.tracking,
        "status": run.status(),
        "stage": run.published("stage"),
        "why": run.explain().summary,
    }


@app.get("/runs")
def list_runs() -> list[dict[str, Any]]:
    return [run.model_dump(mode="json") for run in mesh.list(workflow=fulfil_order)]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8000)
    given = options.parse_args()
    uvicorn.run(app, host=given.host, port=given.port)
