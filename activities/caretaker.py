"""The caretaker: a model that judges cleanups before a person has to. It may reject one, and approve none."""

from __future__ import annotations

import os
from typing import Final

from handfast import ModelReviewer

DEFAULT_MODEL: Final = "gpt-5.6"
POLICY: Final = (
    "Cleanups delete files for good. Reject the cleanup of a target that by its name holds people's own files, as "
    "home, documents or mail do. Leave every other one to people."
)

caretaker = ModelReviewer(os.environ.get("HANDFAST_MODEL") or DEFAULT_MODEL, policy=POLICY, name="caretaker")
