"""The only Dramatiq of Squid Mesh: doorbells, and the workers that hear them.

``doorbell_for(broker, name=…, mesh=…)`` tells workers that work is due; ``serve(mesh, worker, doorbell,
threads)`` is such a worker in this process. With a host's own Dramatiq broker the doorbell lets plain
``dramatiq`` processes serve the mesh. ``squidmesh_worker.process`` is what ``squidmesh worker`` runs. The
rule of this package: messages carry ids only and may be lost, doubled or late at any time; what is true is in
the database, and the sweep finds what was not rung.
"""

from squidmesh_worker.doorbell import doorbell_for
from squidmesh_worker.serving import Serving, serve

__all__ = ["Serving", "doorbell_for", "serve"]
