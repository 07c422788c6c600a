"""The client for scripts and notebooks: the same methods as `handfast.Handfast` and what it gives, without ``await``.

::

    from handfast.sync import Handfast

    hf = Handfast.connect()
    run = hf.start("desk", "Refund order 7")
    for request in run.requests():
        run.approve(request, decided_by="lead")
    print(run.result().output)

Each call blocks its thread until it has its answer. Definitions, tools and workers are those of `handfast`.
"""

from __future__ import annotations

from handfast.sync.client import Handfast
from handfast.sync.executions import Run, Session, Turn

__all__ = ["Handfast", "Run", "Session", "Turn"]
