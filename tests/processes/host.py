"""A host application of its own: its broker, its actors, and a mesh on that broker. Settings: `STAGE_…`."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from squidmesh import Mesh
from tests.processes import flows  # noqa: F401 — what is served

broker = {"redis": RedisBroker, "amqp": RabbitmqBroker}[os.environ["STAGE_BROKER"].partition(":")[0]](
    url=os.environ["STAGE_BROKER"]
)
dramatiq.set_broker(broker)
mesh = Mesh(os.environ["STAGE_DATABASE"], broker=broker)
