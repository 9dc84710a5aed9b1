"""The queue: slots, and jobs that nobody waits for."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from coseg.serve.jobs import Gone, Job, Jobs, Limits, Refused


def test_a_slot_is_free_when_the_last_holder_has_released_it() -> None:
    jobs = Jobs(Limits(waiting=0))
    slot = jobs.take()
    slot.hold()
    with pytest.raises(Refused) as refused:
        jobs.take()
    assert refused.value.status == 503 and refused.value.retry_after >= 1
    slot.release()
    assert jobs.taken == 1
    slot.release()
    assert jobs.taken == 0
    jobs.take()


@pytest.mark.parametrize("fair", [True, False])
def test_clients_that_ask_again_at_once_leave_slots_to_those_that_wait(
    monkeypatch: pytest.MonkeyPatch, fair: bool
) -> None:
    """Nine clients and four slots, one of which is free at each second."""
    now = 0.0
    monkeypatch.setattr("coseg.serve.jobs.time.monotonic", lambda: now)
    jobs = Jobs(Limits(waiting=3))
    monkeypatch.setattr(jobs, "_chance", random.Random(0).random if fair else lambda: 1.0)
    jobs.computed, jobs.seconds = 1, 1.0  # a second for each
    answers, queue, asking = [0] * 9, [], {client: 0.0 for client in range(9)}
    for _ in range(600):
        if queue:
            client, slot = queue.pop(0)
            slot.release()
            answers[client] += 1
            asking[client] = now
        for client in sorted(asking, key=lambda client: asking[client], reverse=True):  # the answered one comes first
            if asking[client] <= now:
                try:
                    queue.append((client, jobs.take()))
                    del asking[client]
                except Refused as refused:
                    asking[client] = now + (refused.retry_after or 1) - 0.5
        now += 1.0
    assert (min(answers) > 20) == fair, answers
    assert sum(answers) > 500


def test_a_client_that_leaves_stops_its_job() -> None:
    jobs = Jobs(Limits())
    began, ended = threading.Event(), threading.Event()

    def work(job: Job) -> int:
        began.set()
        while True:
            job.check()
            time.sleep(0.01)

    async def leave() -> None:
        while not began.is_set():
            await asyncio.sleep(0.01)

    async def scene() -> None:
        slot = jobs.take()
        with pytest.raises(Gone):
            await jobs.run(slot, work, leave(), ended.set)
        slot.release()

    asyncio.run(scene())
    assert ended.wait(10)
    for _ in range(500):
        if jobs.taken == 0:
            break
        time.sleep(0.01)
    assert jobs.taken == jobs.running == 0 and jobs.computed == 1


def test_a_stopping_queue_takes_nothing() -> None:
    jobs = Jobs(Limits())
    slot = jobs.take()
    jobs.stop()
    with pytest.raises(Refused):
        jobs.take()
    closed: list[bool] = []

    async def scene() -> None:
        with pytest.raises(Refused):
            await jobs.run(slot, lambda job: 1, asyncio.sleep(9), lambda: closed.append(True))
        slot.release()

    asyncio.run(scene())
    assert closed and jobs.taken == 0
