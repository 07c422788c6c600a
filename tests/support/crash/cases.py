"""The cases of the crash matrix."""

from __future__ import annotations

from typing import Final

from support.crash.matrix import Case

IDEMPOTENT: Final = Case("idempotent", ("sync",))
AT_MOST_ONCE: Final = Case("at_most_once", ("charge",))
DENIED: Final = Case("denied", ("charge",), approve=False)
PARALLEL: Final = Case("parallel", ("sync", "seal", "look"))
NESTED: Final = Case("nested", ("sync",), nested=True)
RENEWED: Final = Case("renewed", ("sync",), before=3, segment_events=40)
SIGNALLED: Final = Case("signalled", ("charge",), by="signal")
EDITED: Final = Case("edited", ("charge",), by="edit")
CROWDED: Final = Case("crowded", ("sync",), times=40)
REVIEWED: Final = (
    Case("reviewed_approves", ("settle",), review="approves"),
    Case("reviewed_rejects", ("settle",), review="rejects", approve=False),
    Case("reviewed_leaves", ("settle",), review="leaves"),
    Case("reviewed_raises", ("settle",), review="raises"),
    Case("reviewed_hangs", ("settle",), review="hangs"),
    Case("reviewed_late", ("settle",), review="is late"),
)
"""A reviewer in each of its endings."""
CASES: Final = (IDEMPOTENT, AT_MOST_ONCE, DENIED, PARALLEL, NESTED, RENEWED, SIGNALLED, EDITED, CROWDED, *REVIEWED)
