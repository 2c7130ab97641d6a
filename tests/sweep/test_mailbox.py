"""The mailbox between trial actors and workers, without Ray."""

from __future__ import annotations

import asyncio

import pytest

from gensweep.sweep.mailbox import Assignment, Mailbox, Resume

SOON = 0.05


def mail(play, mode="min"):
    """Run a scene with a fresh mailbox; none of them may hang."""

    async def limited():
        await asyncio.wait_for(play(Mailbox("fd", mode)), 5)

    asyncio.run(limited())


def test_workers_get_each_generation_once():
    async def play(box):
        assert await box.next_generation("s", 0, SOON) == 0
        assert await box.assign("s", Assignment("t0", {"x": 1})) == 1
        assert await box.next_generation("s", 0, SOON) == 1
        assert (await box.assignment("s", 1)).config == {"x": 1}
        assert await box.next_generation("s", 1, SOON) == 0

    mail(play)


def test_reports_arrive_in_order_and_the_end_last():
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        for images in (1, 2):
            assert await box.report("s", 1, {"images": images}, None, False)
        await box.finish("s", 1)
        events = [await box.take("s", 1, SOON) for _ in range(4)]
        assert [e and e.kind for e in events] == ["report", "report", "finished", None]
        assert [e.metrics["images"] for e in events[:2]] == [1, 2]

    mail(play)


def test_a_checkpoint_report_waits_until_the_trial_is_told_to_go_on():
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        report = asyncio.create_task(box.report("s", 1, {"images": 1, "fd": 3.0}, "c1", True))
        assert (await box.take("s", 1, SOON)).objective == 3.0
        await asyncio.sleep(SOON)
        assert not report.done()
        await box.take("s", 1, SOON)
        assert await report is True

    mail(play)


@pytest.mark.parametrize("how", ["assign", "close"])
def test_a_waiting_worker_is_stopped_by_the_next_trial_and_by_the_end(how):
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        report = asyncio.create_task(box.report("s", 1, {"images": 1, "fd": 3.0}, "c1", True))
        await box.take("s", 1, SOON)
        await (box.assign("s", Assignment("t1", None)) if how == "assign" else box.close())
        assert await report is False
        assert await box.report("s", 1, {"images": 2}, None, False) is False

    mail(play)


def test_closing_wakes_a_trial_actor_at_once():
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        take = asyncio.create_task(box.take("s", 1, 60))
        await asyncio.sleep(SOON)
        await box.close()
        assert (await take).kind == "closed"

    mail(play)


def test_what_comes_late_from_an_old_generation_is_dropped():
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        await box.assign("s", Assignment("t1", None))
        await box.finish("s", 1)
        await box.fail("s", 1, "late", "", True)
        assert await box.take("s", 2, SOON) is None
        assert await box.assignment("s", 1) is None

    mail(play)


@pytest.mark.parametrize(("mode", "best"), [("min", [3.0, 2.0, 2.0]), ("max", [3.0, 3.0, 5.0])])
def test_the_objective_is_the_best_so_far(mode, best):
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        for images, value in enumerate((3.0, 2.0, 5.0)):
            await box.report("s", 1, {"images": images, "fd": value}, f"c{images}", False)
        assert [(await box.take("s", 1, SOON)).objective for _ in range(3)] == best

    mail(play, mode)


@pytest.mark.parametrize(("mode", "best"), [("min", [3.0, 2.0, 5.0, 4.0]), ("max", [3.0, 3.0, 5.0, 5.0])])
def test_a_score_of_another_kind_takes_the_place_of_the_best_whatever_its_value(mode, best):
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        for images, (value, samples) in enumerate([(3.0, 8), (2.0, 8), (5.0, 20), (4.0, 20)]):
            report = {"images": images, "fd": value, "identities": {"fd": {"samples": samples}}}
            await box.report("s", 1, report, f"c{images}", False)
        assert [(await box.take("s", 1, SOON)).objective for _ in range(4)] == best
        assert (await box.get_resume("t0")).identity == {"samples": 20}

    mail(play, mode)


def test_a_trial_that_starts_again_goes_on_from_its_last_two_checkpoints():
    async def play(box):
        await box.assign("s", Assignment("t0", None, Resume(("c0",), 9.0)))
        for images in (1, 2):
            await box.report("s", 1, {"images": images, "fd": 10.0 - images}, f"c{images}", False)
        await box.assign("other", Assignment("t0", None, Resume(("c0",), 9.0)))
        assert (await box.assignment("other", 1)).resume == Resume(("c2", "c1"), 8.0)

    mail(play)


def test_a_checkpoint_without_a_score_is_resumed_from_but_is_no_objective():
    async def play(box):
        await box.assign("s", Assignment("t0", None))
        await box.report("s", 1, {"images": 1}, "c1", False)
        assert (await box.take("s", 1, SOON)).objective is None
        assert await box.get_resume("t0") == Resume(("c1",), None)

    mail(play)
