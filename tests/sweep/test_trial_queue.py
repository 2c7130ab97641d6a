"""The queue between trial actors and workers, without Ray."""

from __future__ import annotations

import asyncio

import pytest
from logged import evaluation

from gensweep.phases import RESTING
from gensweep.sweep import trial_queue
from gensweep.sweep.events import Entered, Evaluated, Progressed, Saved, Stalled
from gensweep.sweep.stalls import Sign, StallWatch
from gensweep.sweep.trial_queue import Assignment, GroupEnd, JobError, Message, TrialQueue

SOON = 0.05


def evaluated(images):
    return Evaluated("t0", evaluation(images, 1.0), f"c{images}")


def scene(play):
    """Run a scene with a fresh queue; none of them may hang."""

    async def limited():
        await asyncio.wait_for(play(TrialQueue()), 5)

    asyncio.run(limited())


async def start(queue, number=1, trial="t0", *, runner="r", checkpoints=()):
    assigned = await queue.assign(runner, Assignment(trial, {"x": 1}, checkpoints, number))
    return assigned.checkpoints


def test_workers_get_each_generation_once():
    async def play(queue):
        assert await queue.next_assignment("r", 0, SOON) is None
        await start(queue)
        assert await queue.next_assignment("r", 0, SOON) == Assignment("t0", {"x": 1}, (), 1)
        assert await queue.next_assignment("r", 1, SOON) is None

    scene(play)


def test_reports_arrive_in_order_and_as_they_were_sent_and_the_end_last():
    async def play(queue):
        await start(queue)
        sent = [Progressed("t0", images, {}) for images in (1, 2)]
        for event in sent:
            assert await queue.report("r", 1, event)
        await queue.finish("r", 1)
        events = [await queue.take("r", 1, SOON) for _ in range(4)]
        assert events == [*sent, Message("finished"), None]

    scene(play)


def test_a_checkpoint_report_waits_until_the_trial_is_told_to_go_on():
    async def play(queue):
        await start(queue)
        report = asyncio.create_task(queue.report("r", 1, evaluated(1)))
        assert await queue.take("r", 1, SOON) == evaluated(1)
        await asyncio.sleep(SOON)
        assert not report.done()
        await queue.take("r", 1, SOON)
        assert await report is True

    scene(play)


@pytest.mark.parametrize("how", ["assign", "close"])
def test_a_waiting_worker_is_stopped_by_the_next_trial_and_by_the_end(how):
    async def play(queue):
        await start(queue)
        report = asyncio.create_task(queue.report("r", 1, evaluated(1)))
        await queue.take("r", 1, SOON)
        await (start(queue, 2, "t1") if how == "assign" else queue.close())
        assert await report is False
        assert await queue.report("r", 1, Progressed("t0", 2, {})) is False

    scene(play)


def test_a_checkpoint_is_where_a_trial_leaves_off_once_the_sweep_is_to_stop_and_all_else_goes_on_until_then():
    saved = Saved("t0", 1, "c1")

    async def play(queue):
        await start(queue)
        assert not await queue.is_closing()
        assert await queue.report("r", 1, saved) is True
        await queue.begin_to_close()
        assert await queue.is_closing()
        assert await queue.report("r", 1, Progressed("t0", 2, {})) is True
        assert await queue.report("r", 1, saved) is False
        assert [await queue.take("r", 1, SOON) for _ in range(4)] == [saved, Progressed("t0", 2, {}), saved, None]

    scene(play)


def test_closing_wakes_a_trial_actor_at_once():
    async def play(queue):
        await start(queue)
        take = asyncio.create_task(queue.take("r", 1, 60))
        await asyncio.sleep(SOON)
        await queue.close()
        assert await take == Message("closed")

    scene(play)


def test_what_comes_late_from_an_old_generation_is_dropped():
    async def play(queue):
        await start(queue)
        await start(queue, 2, "t1")
        await queue.finish("r", 1)
        await queue.job_raised("r", 1, 0, JobError("late", ""))
        await queue.group_ended("r", 1, GroupEnd("late"))
        assert await queue.take("r", 2, SOON) is None
        assert await queue.report("r", 1, Progressed("t0", 1, {})) is False

    scene(play)


def test_a_trial_goes_on_from_the_last_two_checkpoints_of_its_reports():
    assignment = Assignment("t0", {}, ("c0",)).after(Progressed("t0", 1, {}))
    assert assignment.checkpoints == ("c0",)
    assert assignment.after(evaluated(1)).after(evaluated(2)).checkpoints == ("c2", "c1")
    assert assignment.after(evaluated(1)).after(evaluated(1)).checkpoints == ("c1", "c0")


def test_a_trial_that_a_runner_begins_starts_from_where_the_driver_says_and_then_from_what_the_runner_knows():
    async def play(queue):
        await queue.start_from("t0", ("c2", "c1"))
        assert await start(queue) == ("c2", "c1")
        assert (await queue.next_assignment("r", 0, SOON)).checkpoints == ("c2", "c1")
        assert await start(queue, 2, checkpoints=("c3", "c2")) == ("c3", "c2")

    scene(play)


def test_a_queue_that_was_started_again_forgets_runners_and_stops_their_workers_until_they_assign_anew():
    async def play(queue):
        assert await queue.take("r", 3, SOON) == Message("forgotten")
        assert await queue.report("r", 3, evaluated(1)) is False
        assert await start(queue, 4, checkpoints=("c0",)) == ("c0",)
        assert (await queue.next_assignment("r", 3, SOON)).generation == 4

    scene(play)


def test_what_the_job_raised_fails_its_trial_with_the_lowest_ranks_words():
    async def play(queue):
        await start(queue)
        await queue.job_raised("r", 1, 1, JobError("ValueError: one", "trace of one"))
        await queue.job_raised("r", 1, 0, JobError("ValueError: zero", "trace of zero"))
        await queue.group_ended("r", 1, GroupEnd("the run failed"))
        details = "rank 0:\ntrace of zero\nrank 1:\ntrace of one"
        assert await queue.take("r", 1, SOON) == Message("failed", error="ValueError: zero", details=details)

    scene(play)


@pytest.mark.parametrize("said", [None, "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"])
def test_workers_that_vanish_are_lost_whatever_their_peers_say(said):
    async def play(queue):
        await start(queue)
        if said:
            await queue.job_raised("r", 1, 0, JobError(said, "trace"))
        await queue.group_ended("r", 1, GroupEnd("ActorDiedError", "ActorDiedError\nand more"))
        event = await queue.take("r", 1, SOON)
        assert (event.kind, event.outside) == ("failed", True)
        assert event.error == f"worker lost ({f'rank 0: {said}' if said else 'ActorDiedError'})"

    scene(play)


@pytest.mark.parametrize("known", [{"died": True}, {"preempted": True}])
def test_whatever_ranks_raise_once_a_process_of_their_group_is_gone_is_no_failure_of_the_trial(known):
    async def play(queue):
        await start(queue)
        await queue.job_raised("r", 1, 0, JobError("RuntimeError: peer said nothing", "trace"))
        await queue.group_ended("r", 1, GroupEnd("rank 1: end of file", **known))
        event = await queue.take("r", 1, SOON)
        assert (event.outside, event.preempted) == (True, known.get("preempted", False))

    scene(play)


@pytest.mark.parametrize("outside", [(True, True), (True, False)])
def test_a_cause_is_outside_of_a_trial_if_all_ranks_that_raise_say_so(outside):
    async def play(queue):
        await start(queue)
        for rank, each in enumerate(outside):
            await queue.job_raised("r", 1, rank, JobError(f"OSError: {rank}", "trace", each))
        await queue.group_ended("r", 1, GroupEnd("the run failed"))
        event = await queue.take("r", 1, SOON)
        assert (event.error, event.outside) == ("OSError: 0", all(outside))

    scene(play)


def test_workers_that_take_a_trial_say_where_they_are():
    async def play(queue):
        await start(queue)
        await queue.begin("r", 0, ("old",))
        await queue.begin("r", 1, ("n1", "n2"))
        assert await queue.take("r", 1, SOON) == Message("begun", nodes=("n1", "n2"))

    scene(play)


def test_a_storage_that_workers_cannot_use_ends_the_sweep():
    async def play(queue):
        await start(queue)
        await queue.storage_failed("r", 1, "no such bucket")
        await queue.group_ended("r", 1, GroupEnd("as it had to"))
        message = await queue.take("r", 1, SOON)
        assert (message.error, message.ends_sweep, message.outside) == ("no such bucket", True, False)

    scene(play)


@pytest.mark.waits
def test_a_runner_is_told_that_its_workers_make_no_progress_and_then_which_are_stuck():
    async def play(queue):
        await start(queue)
        sign = Sign(0, "host", "node", 1, None, "training", 1, 1, 2.0, 1.2)
        await queue.hear("r", "g", sign)
        while (first := await queue.take("r", 1, SOON)) is None:
            await queue.hear("r", "g", sign)
        assert isinstance(first, Stalled)
        assert 0.1 < first.seconds < 1.2
        while (second := await queue.take("r", 1, SOON)) is None:
            await queue.hear("r", "g", sign)
        assert (second.kind, [each.sign for each in second.stuck]) == ("stalled", [sign])

    scene(play)


def test_late_signs_of_an_earlier_group_are_not_those_of_a_worker_that_is_stuck(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(trial_queue, "StallWatch", lambda: StallWatch(lambda: clock[0]))

    async def play(queue):
        await queue.assign("r", Assignment("t0", {}, generation=1), new_group="r-1")
        await queue.hear("r", "r-1", Sign(1, "host", "node", 1, None, "training", 1, 1, 5.0, 5.0))
        await queue.assign("r", Assignment("t0", {}, generation=2), new_group="r-2")
        await queue.hear("r", "r-1", Sign(1, "host", "node", 1, None, "training", 2, 1, 5.0, 5.0))
        clock[0] = 6.0
        assert await queue.take("r", 2, SOON) is None

    scene(play)


def test_a_runner_is_told_what_rank_0_is_busy_with_once_its_workers_have_taken_the_trial():
    async def play(queue):
        await start(queue)

        async def say(phase, rank=0):
            await queue.hear("r", "g", Sign(rank, "host", "node", 1, None, phase, 1, 1, 60.0, 60.0))

        await say("saving")  # the trial before
        await queue.begin("r", 1, ("n",))
        for phase, rank in [(RESTING, 0), ("loading data", 0), ("loading data", 0), ("training", 1), ("training", 0)]:
            await say(phase, rank)
        told = [await queue.take("r", 1, SOON) for _ in range(4)]
        assert told == [Message("begun", nodes=("n",)), Entered("t0", "loading data"), Entered("t0", "training"), None]

    scene(play)


def test_an_evaluation_waits_no_longer_because_a_phase_is_told_behind_it():
    async def play(queue):
        await start(queue)
        await queue.begin("r", 1, ("n",))
        await queue.take("r", 1, SOON)
        report = asyncio.create_task(queue.report("r", 1, evaluated(1)))
        assert await queue.take("r", 1, 1) == evaluated(1)
        await queue.hear("r", "g", Sign(0, "host", "node", 1, None, "saving", 1, 1, 60.0, 60.0))
        assert await queue.take("r", 1, 1) == Entered("t0", "saving")
        assert await asyncio.wait_for(report, 1)

    scene(play)


def test_workers_that_wait_for_the_driver_are_not_stuck(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(trial_queue, "StallWatch", lambda: StallWatch(lambda: clock[0]))

    async def play(queue):
        await start(queue)
        await queue.hear("r", "g", Sign(0, "host", "node", 1, None, "training", 1, 1, 5.0, 5.0))
        report = asyncio.create_task(queue.report("r", 1, evaluated(1)))
        assert await queue.take("r", 1, 1) == evaluated(1)
        clock[0] = 6.0
        assert await queue.take("r", 1, SOON) is None
        assert await report
        clock[0] = 12.0
        assert await queue.take("r", 1, 1) == Stalled("t0", 6.0)

    scene(play)
