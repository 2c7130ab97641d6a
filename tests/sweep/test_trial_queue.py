"""The queue between trial actors and workers, without Ray."""

from __future__ import annotations

import asyncio

import pytest
from logged import evaluation

from gensweep.sweep import trial_queue
from gensweep.sweep.events import Evaluated, Progressed, Saved, Stalled
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
