"""Workers: the plugin, and running one."""

from __future__ import annotations

from handfast.worker.runner import load_plugin, make_worker, serve

__all__ = ["load_plugin", "make_worker", "serve"]
