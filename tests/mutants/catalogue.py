"""The bugs: the mistakes that this kind of runtime is known for, each one an edit of a line or two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        name: What is wrong then.
        module: File below `src/handfast`.
        find: Text that stands in it exactly once.
        put: What is planted in its place.
        test: The test that must notice, as pytest names it; run with `arguments`.
    """

    name: str
    module: str
    find: str
    put: str
    test: str

    @property
    def source(self) -> Path:
        """The file that the bug is planted in, in this tree."""
        return ROOT / "src" / "handfast" / self.module

    def planted(self, source: str) -> str:
        """The file's text with the bug.

        Raises:
            ValueError: The text to be replaced does not stand in it exactly once.
        """
        if source.count(self.find) != 1:
            raise ValueError(f"{self.name}: {self.find!r} stands {source.count(self.find)} times in {self.module}")
        return source.replace(self.find, self.put)


MUTANTS: Final = (
    Mutant(
        "no digest check",
        "activities/tool/run_tool.py",
        "        changed = None if call.digest is None else _changed(call, tool, call.digest, arguments)\n",
        "        changed = None\n",
        "tests/approvals/test_identity.py::test_an_input_that_was_tampered_with_runs_nothing",
    ),
    Mutant(
        "positional request ids",
        "workflows/state/runs.py",
        "            new_id=lambda: str(workflow.uuid4()),\n",
        '            new_id=lambda: f"request-{len(self.ledger.book.entries)}-{len(state.transcript.blocks)}",\n',
        "tests/approvals/test_old_decisions.py::test_a_new_run_of_the_same_id_takes_no_decision_of_the_one_before",
    ),
    Mutant(
        "a cancelled tool is not waited for",
        "workflows/tasks/timeouts.py",
        """        retry_policy=ONE_ATTEMPT if effect == "at_most_once" else _several_attempts(retry),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
""",
        """        retry_policy=ONE_ATTEMPT if effect == "at_most_once" else _several_attempts(retry),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
""",
        "tests/cancellation/test_cancellation.py::test_what_finishes_despite_a_cancel_is_kept",
    ),
    Mutant(
        "no begun mark",
        "activities/tool/run_tool.py",
        "self._runtime.beats.kept(begun.details(), body.stop, renewed=renewed)",
        "self._runtime.beats.kept([], body.stop, first=False)",
        "tests/crash/test_in_doubt.py::test_an_ungated_call_killed_in_the_middle_is_told_to_the_model",
    ),
    Mutant(
        "a heartbeat without details",
        "activities/runtime/beats.py",
        "        request = beat.request\n",
        "        request = RecordActivityTaskHeartbeatRequest(\n"
        "            namespace=beat.request.namespace, task_token=beat.request.task_token\n"
        "        )\n",
        "tests/tools/test_progress.py::test_progress_is_read_while_the_tool_runs",
    ),
    Mutant(
        "a cache by offset",
        "activities/model/call_model.py",
        "            reply = await self._planned(agent, planner, items, answer)\n",
        "            reply = await self._planned(agent, planner, items, answer)\n"
        '            reply = reply.model_copy(update={"block": f"{call.origin.frame}-{call.origin.turn}"})\n',
        "tests/crash/test_stalled_attempt.py::test_a_lost_reply_never_gets_into_a_later_request",
    ),
    Mutant(
        "no validator",
        "workflows/host.py",
        'update(f"{name}decide", decider.decide, decider.refuse)',
        'update(f"{name}decide", decider.decide, lambda *_: None)',
        "tests/bounds/test_hostile_updates.py::test_no_update_can_break_a_run",
    ),
    Mutant(
        "a decode that raises",
        "encryption/converter.py",
        "            return Undecodable(type(error).__name__)\n",
        "            raise\n",
        "tests/bounds/test_hostile_signals.py::test_no_signal_can_break_a_run",
    ),
    Mutant(
        "a type of error is retried that must not be",
        "workflows/tasks/timeouts.py",
        'NEVER_RETRIED: Final = ["PayloadsTooLarge", "TypeError", "ValidationError"]',
        "NEVER_RETRIED: Final[list[str]] = []",
        "tests/bounds/test_sizes.py::test_what_a_codec_makes_too_large_is_done_once",
    ),
    Mutant(
        "state restored after the first messages",
        "workflows/run.py",
        "        self._host.refuse_other_signals()\n",
        "        self._host.refuse_other_signals()\n"
        "        ledger = self._host._runs.ledger\n"
        "        asyncio.get_running_loop().call_soon(setattr, ledger.book, 'entries', ledger.book.entries)\n"
        "        ledger.book.entries = {}\n",
        "tests/history/test_continue_as_new.py::test_decisions_that_race_a_crossing_count_once",
    ),
    Mutant(
        "a deadline by timer alone",
        "workflows/ledger/entry.py",
        "    if deadline is not None and now >= deadline and not",
        "    if deadline is not None and not now and not",
        "tests/approvals/test_long_waits.py::test_an_approval_that_comes_late_does_not_count",
    ),
    Mutant(
        "a request that is decided twice",
        "workflows/ledger/entry.py",
        "    if not entry.waits:\n        raise _closed(entry)\n",
        "",
        "tests/bounds/test_hostile_updates.py::test_a_decision_counts_once",
    ),
    Mutant(
        "a signature that counts for another request",
        "payloads/signed.py",
        """    said = {name: value for name, value in wire.items() if name not in ("id", "signature")}
    known = {name: signature[name] for name in ("kid", "at", "method")}
    covered: JsonObject = {**said, **place.to_wire(), **known, "v": STATEMENT, "request": decision.id}
""",
        """    said = {name: value for name, value in wire.items() if name not in ("id", "signature", "digest")}
    known = {name: signature[name] for name in ("kid", "at", "method")}
    covered: JsonObject = {**said, **place.to_wire(), **known, "v": STATEMENT}
""",
        "tests/security/test_signed_decisions.py::test_an_attack_on_a_signed_decision_is_refused",
    ),
    Mutant(
        "a validator that verifies nothing",
        "workflows/handlers/decide.py",
        "            refuse_unverified(decision, self._runs.ledger, self._runs.identity)\n",
        "",
        "tests/security/test_signed_decisions.py::test_an_attack_on_a_signed_decision_is_refused",
    ),
    Mutant(
        "no proof before an effect",
        "activities/tool/run_tool.py",
        "            problem = Proving(call, tool.approval, arguments, self._runtime.trusted).problem(proofs)\n",
        "            problem = None if Proving else proofs\n",
        "tests/security/test_signed_channels.py::test_an_approval_from_before_keys_came_runs_nothing",
    ),
    Mutant(
        "a codec that raises",
        "encryption/codec.py",
        "            return Undecodable(problem, True, error.key)\n",
        "            raise\n",
        "tests/security/test_keys.py::test_a_signal_under_an_unknown_key_says_the_same_for_ever",
    ),
    Mutant(
        "a retry that takes over what has been done since",
        "workflows/handlers/decode.py",
        " and not info.cron_schedule and info.attempt == 1\n",
        "\n",
        "tests/history/test_continue_as_new.py::test_a_retry_of_ones_own_workflow_takes_over_nothing",
    ),
    Mutant(
        "heartbeats of a tool's own go out",
        "worker/parts.py",
        "        if OUR_BEAT.get() or not activity",
        "        if OUR_BEAT or not activity",
        "tests/effects/test_begun_mark.py::test_heartbeats_of_a_tools_own_never_erase_the_mark",
    ),
    Mutant(
        "a header that cannot be read raises",
        "encryption/converter.py",
        '_UNREAD: Final = b"binary/null"',
        '_UNREAD: Final = b"binary/unread"',
        "tests/security/test_beside_histories.py::test_headers_are_encrypted_and_read_where_they_go",
    ),
    Mutant(
        "tasks without a mark",
        "workflows/tasks/marks.py",
        "        self.note_command()\n        workflow.upsert_memo({MEMO_LOG: []})\n",
        "        return\n",
        "tests/history/test_task_boundaries.py::"
        "test_two_results_that_change_nothing_and_a_decision_replay_in_their_order",
    ),
    Mutant(
        "events acted on ahead of their task",
        "worker/held_signals.py",
        "            if self._is_early(act):\n",
        "            if False:\n",
        "tests/unit/test_early_events.py::test_a_run_is_begun_anew_after_events_that_came_without_their_task",
    ),
)
