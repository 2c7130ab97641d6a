"""The queue between trial actors and workers, without Ray."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError

from gensweep.sweep import trial_queue
from gensweep.sweep.trial_queue import Assignment, Event, TrialQueue

SOON = 0.05


class Runner:
    """A handle of a trial actor that lives until `answers` holds an error."""

    def __init__(self):
        self.answers = asyncio.Queue()

    @property
    def __ray_ready__(self):
        return self

    async def remote(self):
        answer = await self.answers.get()
        if answer is not None:
            raise answer


def scene(play):
    """Run a scene with a fresh queue; none of them may hang.  Returns the names of the runners that were freed."""
    freed = []

    async def limited():
        await asyncio.wait_for(play(TrialQueue(freed.append)), 5)

    asyncio.run(limited())
    return freed


async def start(queue, number=1, trial="t0", *, runner="r", checkpoints=()):
    return await queue.assign(runner, Runner(), number, Assignment(trial, {"x": 1}, checkpoints))


def test_workers_get_each_generation_once():
    async def play(queue):
        assert await queue.next_generation("r", 0, SOON) == 0
        await start(queue)
        assert await queue.next_generation("r", 0, SOON) == 1
        assert (await queue.assignment("r", 1)).config == {"x": 1}
        assert await queue.next_generation("r", 1, SOON) == 0

    scene(play)


def test_reports_arrive_in_order_and_as_they_were_sent_and_the_end_last():
    async def play(queue):
        await start(queue)
        sent = [object(), object()]
        for images, report in enumerate(sent):
            assert await queue.report("r", 1, images, report, None)
        await queue.finish("r", 1)
        events = [await queue.take("r", 1, SOON) for _ in range(4)]
        assert events == [Event("report", 0, sent[0]), Event("report", 1, sent[1]), Event("finished"), None]

    scene(play)


def test_a_checkpoint_report_waits_until_the_trial_is_told_to_go_on():
    async def play(queue):
        await start(queue)
        report = asyncio.create_task(queue.report("r", 1, 1, None, "c1"))
        assert (await queue.take("r", 1, SOON)).checkpoints == ("c1",)
        await asyncio.sleep(SOON)
        assert not report.done()
        await queue.take("r", 1, SOON)
        assert await report is True

    scene(play)


@pytest.mark.parametrize("how", ["assign", "close"])
def test_a_waiting_worker_is_stopped_by_the_next_trial_and_by_the_end(how):
    async def play(queue):
        await start(queue)
        report = asyncio.create_task(queue.report("r", 1, 1, None, "c1"))
        await queue.take("r", 1, SOON)
        await (start(queue, 2, "t1") if how == "assign" else queue.close())
        assert await report is False
        assert await queue.report("r", 1, 2, None, None) is False

    scene(play)


def test_closing_wakes_a_trial_actor_at_once():
    async def play(queue):
        await start(queue)
        take = asyncio.create_task(queue.take("r", 1, 60))
        await asyncio.sleep(SOON)
        await queue.close()
        assert await take == Event("closed")

    scene(play)


def test_what_comes_late_from_an_old_generation_is_dropped():
    async def play(queue):
        await start(queue)
        await start(queue, 2, "t1")
        await queue.finish("r", 1)
        await queue.job_raised("r", 1, 0, "late", "")
        await queue.group_ended("r", 1, "late")
        assert await queue.take("r", 2, SOON) is None
        assert await queue.assignment("r", 1) is None

    scene(play)


def test_a_trial_that_starts_again_goes_on_from_its_last_two_checkpoints():
    async def play(queue):
        assert await start(queue, checkpoints=("c0",)) == ("c0",)
        for images in (1, 2):
            report = asyncio.create_task(queue.report("r", 1, images, None, f"c{images}"))
            assert (await queue.take("r", 1, SOON)).checkpoints == (f"c{images}", f"c{images - 1}")
            assert not report.done()
        assert await start(queue, runner="other", checkpoints=("c0",)) == ("c2", "c1")
        assert (await queue.assignment("other", 1)).checkpoints == ("c2", "c1")

    scene(play)


def test_a_queue_that_was_started_again_forgets_runners_and_stops_their_workers_until_they_assign_anew():
    async def play(queue):
        assert await queue.take("r", 3, SOON) == Event("forgotten")
        assert await queue.report("r", 3, 1, None, "c1") is False
        assert await start(queue, 4, checkpoints=("c0",)) == ("c0",)
        assert await queue.next_generation("r", 3, SOON) == 4

    scene(play)


def test_what_the_job_raised_fails_its_trial_with_the_lowest_ranks_words():
    async def play(queue):
        await start(queue)
        await queue.job_raised("r", 1, 1, "ValueError: one", "trace of one")
        await queue.job_raised("r", 1, 0, "ValueError: zero", "trace of zero")
        await queue.group_ended("r", 1, "the run failed")
        details = "rank 0:\ntrace of zero\nrank 1:\ntrace of one"
        assert await queue.take("r", 1, SOON) == Event("failed", error="ValueError: zero", details=details)

    scene(play)


@pytest.mark.parametrize("said", [None, "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"])
def test_workers_that_vanish_are_lost_whatever_their_peers_say(said):
    async def play(queue):
        await start(queue)
        if said:
            await queue.job_raised("r", 1, 0, said, "trace")
        await queue.group_ended("r", 1, "ActorDiedError\nand more")
        event = await queue.take("r", 1, SOON)
        assert (event.kind, event.lost) == ("failed", True)
        assert event.error == f"worker lost ({f'rank 0: {said}' if said else 'ActorDiedError'})"

    scene(play)


def test_what_a_dead_runner_leaves_behind_is_freed_and_a_living_one_is_left_alone(monkeypatch):
    monkeypatch.setattr(trial_queue, "WATCH_INTERVAL", 0.0)

    async def play(queue):
        dead, alive = Runner(), Runner()
        await queue.assign("dead", dead, 1, Assignment("t0", None))
        await queue.assign("alive", alive, 1, Assignment("t1", None))
        for answer in (None, ActorUnavailableError("not reachable for a moment", None), None):
            dead.answers.put_nowait(answer)
            alive.answers.put_nowait(answer)
        await asyncio.sleep(SOON)
        assert await queue.assignment("dead", 1)
        dead.answers.put_nowait(RayActorError())
        await asyncio.sleep(2 * SOON)
        assert await queue.take("dead", 1, SOON) == Event("forgotten")
        assert await queue.assignment("alive", 1)

    assert scene(play) == ["dead"]
