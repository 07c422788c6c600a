"""All that lasts of the runs of one workflow."""

from __future__ import annotations

from pydantic import BaseModel

from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger.ledger import LedgerState
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.state.mailbox import MailboxState
from handfast.workflows.state.notifications import NotifierState
from handfast.workflows.state.segment import SegmentState
from handfast.workflows.state.session_state import SessionState
from handfast.workflows.state.spending import FrameUsage
from handfast.workflows.state.transcript import TranscriptState
from handfast.workflows.tasks.intake import SignalTally


class RunState(BaseModel):
    """All that lasts of the runs of one workflow.

    The parts of `Runs` work on it, and a fresh history begins with it, whole: a field that is added here, or to one of
    these models, is carried without further ado. Nothing else of a workflow lasts.

    Attributes:
        frames: The agent loops.
        labels: Of all runs.
        stop_first: Why the first run ends at once: it was told to stop before it began.
        shown: Bytes of each open request in the memo.
        signals: Signals that were read, and signals that were refused unread.
        session: Of a conversation; None in any other workflow.
    """

    frames: FrameTable = FrameTable()
    labels: dict[str, str] = {}
    stop_first: str | None = None
    ledger: LedgerState = LedgerState()
    transcript: TranscriptState = TranscriptState()
    mailbox: MailboxState = MailboxState()
    notifier: NotifierState = NotifierState()
    spending: list[FrameUsage] = []
    deployment: Deployment = Deployment()
    segment: SegmentState = SegmentState()
    shown: dict[str, int] = {}
    signals: SignalTally = SignalTally()
    session: SessionState | None = None
