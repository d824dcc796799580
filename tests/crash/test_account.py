"""The account of a campaign finds what does not balance: each check can fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import treadle
from tests.crash.account import Account, settle
from tests.crash.journal import Act, Journals, Violation, Writer
from tests.crash.worker import Guarded

_EMPTY = treadle.QueueStatistics(
    label="",
    shared=True,
    qsize=0,
    maxsize=0,
    bytes=0,
    maxbytes=0,
    puts=0,
    gets=0,
    unfinished=0,
    leased=0,
    redelivered=0,
    waiting=0,
    is_shutdown=False,
)
_FIRST, _SECOND = 65_537, 65_538  # the first two items of life 1


class Story:
    """Journals written by hand: life 1 is killed at the end, life 2 is not."""

    def __init__(self) -> None:
        self.journals = Journals(3)
        self.killed = self.journals.writer(1)
        self.survivor = self.journals.writer(2)
        self.puts = self.gets = self.job_puts = self.unfinished = 0

    def settle(self) -> Account:
        self.survivor.note(Act.FAREWELL)
        return settle(
            self.journals,
            {1: True, 2: False},
            replace(_EMPTY, puts=self.puts, gets=self.gets),
            replace(_EMPTY, puts=self.job_puts, unfinished=self.unfinished),
        )


def put(writer: Writer, number: int) -> None:
    writer.note(Act.PUTTING, number)
    writer.note(Act.PUT, number)


def get(writer: Writer, *numbers: int) -> None:
    writer.note(Act.GETTING, 1)
    for number in numbers:
        writer.note(Act.GOT, number)
    writer.note(Act.GET_OVER)


def put_job(writer: Writer, number: int) -> None:
    writer.note(Act.PUTTING_JOB, number)
    writer.note(Act.PUT_JOB, number)


def lease(writer: Writer, number: int, deliveries: int = 1) -> None:
    writer.note(Act.LEASING)
    writer.note(Act.LEASED, number, deliveries)
    writer.note(Act.ACTED_ON, number)


def ack(writer: Writer, number: int) -> None:
    writer.note(Act.ACKING, number)
    writer.note(Act.ACKED, number)


def test_an_item_gone_with_its_getter_balances() -> None:
    story = Story()
    story.puts = story.gets = 2
    put(story.survivor, _FIRST)
    put(story.survivor, _SECOND)
    get(story.survivor, _SECOND)
    story.killed.note(Act.GETTING, 1)
    assert story.settle().wrong == []


def test_a_job_done_again_after_a_kill_balances() -> None:
    story = Story()
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.killed, _FIRST)
    lease(story.survivor, _FIRST, deliveries=2)
    ack(story.survivor, _FIRST)
    account = story.settle()
    assert account.wrong == []
    assert account.figures["jobs delivered again"] == 1


def an_item_without_a_killer(story: Story) -> None:
    story.puts = story.gets = 1
    put(story.survivor, _FIRST)


def two_items_for_one_kill(story: Story) -> None:
    story.puts = story.gets = 2
    put(story.survivor, _FIRST)
    put(story.survivor, _SECOND)
    story.killed.note(Act.GETTING, 1)


def an_item_got_twice(story: Story) -> None:
    story.puts = story.gets = 1
    put(story.survivor, _FIRST)
    get(story.killed, _FIRST)
    get(story.survivor, _FIRST)


def an_item_nobody_put(story: Story) -> None:
    story.puts = story.gets = 1
    get(story.survivor, _FIRST)


def a_refused_item_delivered(story: Story) -> None:
    story.puts = story.gets = 1
    story.killed.note(Act.PUTTING, _FIRST)
    story.killed.note(Act.REFUSED, _FIRST)
    get(story.survivor, _FIRST)


def items_out_of_order(story: Story) -> None:
    story.puts = story.gets = 2
    put(story.killed, _FIRST)
    put(story.killed, _SECOND)
    get(story.survivor, _SECOND)
    get(story.survivor, _FIRST)


def an_item_left_in_the_queue(story: Story) -> None:
    story.puts = 1
    put(story.survivor, _FIRST)


def a_job_that_vanished(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.killed, _FIRST)


def a_job_acknowledged_twice(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    for deliveries in (1, 2):
        lease(story.survivor, _FIRST, deliveries)
        ack(story.survivor, _FIRST)


def a_job_delivered_after_its_acknowledgement(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.survivor, _FIRST)
    ack(story.survivor, _FIRST)
    lease(story.killed, _FIRST, deliveries=2)


def a_job_on_two_leases_at_once(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.killed, _FIRST)
    lease(story.survivor, _FIRST)
    ack(story.survivor, _FIRST)


def a_job_done_again_untold(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.killed, _FIRST)
    lease(story.killed, _FIRST)
    lease(story.survivor, _FIRST)
    ack(story.survivor, _FIRST)


def a_delivery_nobody_saw(story: Story) -> None:
    story.job_puts = 1
    put_job(story.survivor, _FIRST)
    lease(story.survivor, _FIRST, deliveries=2)
    ack(story.survivor, _FIRST)


def a_job_that_stays_unfinished(story: Story) -> None:
    story.job_puts = story.unfinished = 1
    put_job(story.survivor, _FIRST)
    lease(story.survivor, _FIRST)
    ack(story.survivor, _FIRST)


def a_lock_left_torn(story: Story) -> None:
    story.killed.note(Act.LOCKING, 0)
    Guarded.by(0, story.journals).first.value = 1


def a_change_under_a_lock_lost(story: Story) -> None:
    story.survivor.note(Act.LOCKING, 1)
    story.survivor.note(Act.UNLOCKED, 1)


def a_repair_without_a_death(story: Story) -> None:
    story.survivor.note(Act.LOCKING, 0)
    story.survivor.note(Act.REPAIRED, 0)
    story.survivor.note(Act.UNLOCKED, 0)
    guarded = Guarded.by(0, story.journals)
    guarded.first.value = guarded.second.value = 1


def a_violation_that_a_worker_saw(story: Story) -> None:
    story.killed.note(Act.VIOLATION, Violation.WRONG_BYTES)


def a_life_that_ended_untold(story: Story) -> None:
    story.survivor.note(Act.BUSY)
    story.survivor = story.journals.writer(0)  # its farewell goes elsewhere


@pytest.mark.parametrize(
    "tell",
    [
        an_item_without_a_killer,
        two_items_for_one_kill,
        an_item_got_twice,
        an_item_nobody_put,
        a_refused_item_delivered,
        items_out_of_order,
        an_item_left_in_the_queue,
        a_job_that_vanished,
        a_job_acknowledged_twice,
        a_job_delivered_after_its_acknowledgement,
        a_job_on_two_leases_at_once,
        a_job_done_again_untold,
        a_delivery_nobody_saw,
        a_job_that_stays_unfinished,
        a_lock_left_torn,
        a_change_under_a_lock_lost,
        a_repair_without_a_death,
        a_violation_that_a_worker_saw,
        a_life_that_ended_untold,
    ],
)
def test_what_does_not_balance_is_found(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    assert story.settle().wrong
