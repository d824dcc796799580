"""The account of a campaign finds what does not balance: each check can fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import treadle
from tests.crash.account import Account, settle
from tests.crash.ground import Guarded
from tests.crash.journal import Act, Journals, Violation, Writer

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
        self.puts = self.gets = self.job_puts = self.unfinished = self.signals = 0
        self.in_order = True

    def settle(self) -> Account:
        self.survivor.note(Act.FAREWELL)
        return settle(
            self.journals,
            {1: True, 2: False},
            items=replace(_EMPTY, puts=self.puts, gets=self.gets),
            jobs=replace(_EMPTY, puts=self.job_puts, unfinished=self.unfinished),
            signals=self.signals,
            in_order=self.in_order,
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


def signal(writer: Writer, count: int) -> None:
    writer.note(Act.SIGNALLING, count)
    writer.note(Act.SIGNALLED, count)


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


def test_what_was_cancelled_and_did_not_happen_balances() -> None:
    story = Story()
    for act, number in (
        (Act.PUTTING, _FIRST),
        (Act.REFUSED, _FIRST),
        (Act.GETTING, 1),
        (Act.GET_OVER, 0),
        (Act.PUTTING_JOB, _SECOND),
        (Act.JOB_REFUSED, _SECOND),
        (Act.LEASING, 0),
        (Act.NONE_LEASED, 0),
        (Act.CHANGING, 0),
        (Act.UNCHANGED, 0),
        (Act.LISTENING, 0),
        (Act.NOT_HEARD, 0),
        (Act.CANCELLED, 0),
    ):
        story.survivor.note(act, number)
    account = story.settle()
    assert account.wrong == []
    assert account.figures["cancellations"] == 1


@pytest.mark.parametrize("came", [(), (_FIRST,), (_FIRST, _SECOND)])
def test_the_first_so_many_of_a_batch_that_was_cancelled_balance(came: tuple[int, ...]) -> None:
    story = Story()
    story.puts = story.gets = len(came)
    story.survivor.note(Act.PUTTING, _FIRST, 0)
    story.survivor.note(Act.PUTTING, _SECOND, 1)
    for number in came:
        get(story.survivor, number)
    assert story.settle().wrong == []


def test_items_of_a_stack_come_in_any_order() -> None:
    story = Story()
    items_out_of_order(story)
    story.in_order = False
    assert story.settle().wrong == []


@pytest.mark.parametrize("left", [1, 2, 3, 4])
def test_signals_given_or_taken_by_the_killed_balance(left: int) -> None:
    story = Story()
    story.signals = left
    signal(story.survivor, 3)
    story.survivor.note(Act.LISTENING)
    story.survivor.note(Act.HEARD)
    if left < 2:
        story.killed.note(Act.LISTENING)
    elif left > 2:
        story.killed.note(Act.SIGNALLING, 2)
    assert story.settle().wrong == []


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


def a_batch_without_its_first(story: Story) -> None:
    story.puts = story.gets = 1
    story.survivor.note(Act.PUTTING, _FIRST, 0)
    story.survivor.note(Act.PUTTING, _SECOND, 1)
    get(story.survivor, _SECOND)


def an_item_left_in_the_queue(story: Story) -> None:
    story.puts = 1
    put(story.survivor, _FIRST)


def a_job_delivered_whose_put_was_cancelled(story: Story) -> None:
    story.job_puts = 1
    story.survivor.note(Act.PUTTING_JOB, _FIRST)
    story.survivor.note(Act.JOB_REFUSED, _FIRST)
    lease(story.survivor, _FIRST)
    ack(story.survivor, _FIRST)


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
    story.killed.note(Act.CHANGING, 0)
    Guarded.by(0, story.journals).first.value = 1


def a_change_under_a_lock_lost(story: Story) -> None:
    story.survivor.note(Act.CHANGING, 1)
    story.survivor.note(Act.CHANGED, 1)


def a_repair_without_a_death(story: Story) -> None:
    story.survivor.note(Act.CHANGING, 0)
    story.survivor.note(Act.REPAIRED, 0)
    story.survivor.note(Act.CHANGED, 0)
    guarded = Guarded.by(0, story.journals)
    guarded.first.value = guarded.second.value = 1


def a_change_by_who_was_cancelled_before(story: Story) -> None:
    story.survivor.note(Act.CHANGING, 0)
    story.survivor.note(Act.UNCHANGED, 0)
    guarded = Guarded.by(0, story.journals)
    guarded.first.value = guarded.second.value = 1


def a_change_that_the_living_leave_open(story: Story) -> None:
    story.survivor.note(Act.CHANGING, 0)


def a_signal_that_vanished(story: Story) -> None:
    signal(story.survivor, 1)


def a_signal_that_nobody_gave(story: Story) -> None:
    story.signals = 1


def a_signal_lost_by_who_was_cancelled(story: Story) -> None:
    signal(story.survivor, 1)
    story.survivor.note(Act.LISTENING)
    story.survivor.note(Act.NOT_HEARD)


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
        a_batch_without_its_first,
        an_item_left_in_the_queue,
        a_job_delivered_whose_put_was_cancelled,
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
        a_change_by_who_was_cancelled_before,
        a_change_that_the_living_leave_open,
        a_signal_that_vanished,
        a_signal_that_nobody_gave,
        a_signal_lost_by_who_was_cancelled,
        a_violation_that_a_worker_saw,
        a_life_that_ended_untold,
    ],
)
def test_what_does_not_balance_is_found(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    assert story.settle().wrong
