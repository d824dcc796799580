"""The account of pipes finds what does not balance: each check can fail."""

from collections.abc import Callable

import pytest

from tests.crash.books import Account, Life
from tests.crash.ground import SEQUENCES
from tests.crash.journal import Act, Entry
from tests.crash.pipe_account import check_pipes


class Story:
    """Life 1 sends to life 2."""

    def __init__(self) -> None:
        self.sender = Life(1, killed=False)
        self.receiver = Life(2, killed=False)
        self.receiver.entries.append(Entry(Act.RECEIVING_FROM, 1, 0))

    def sends(self, *numbers: int) -> None:
        for number in numbers:
            self._note(self.sender, Act.SENDING, SEQUENCES + number)
            self._note(self.sender, Act.SENT, SEQUENCES + number)

    def is_killed_sending(self, number: int) -> None:
        self._note(self.sender, Act.SENDING, SEQUENCES + number)
        self.sender.killed = True

    def is_cancelled_sending(self, number: int) -> None:
        self._note(self.sender, Act.SENDING, SEQUENCES + number)
        self._note(self.sender, Act.NOT_SENT, SEQUENCES + number)

    def receives(self, *numbers: int) -> None:
        for number in numbers:
            self._note(self.receiver, Act.RECEIVED, SEQUENCES + number)

    def hears_the_last(self) -> None:
        self._note(self.receiver, Act.PEER_OVER)

    def hears_the_end(self) -> None:
        self._note(self.receiver, Act.PEER_GONE, 1)

    def settle(self) -> Account:
        account = Account([self.sender, self.receiver])
        check_pipes(account)
        return account

    def _note(self, life: Life, act: Act, number: int = 0) -> None:
        life.entries.append(Entry(act, number, 0))


@pytest.mark.parametrize("arrived", [(1, 2), (1, 2, 3)])
def test_a_message_whose_sender_was_killed_arrives_or_not(arrived: tuple[int, ...]) -> None:
    story = Story()
    story.sends(1, 2)
    story.is_killed_sending(3)
    story.receives(*arrived)
    story.hears_the_end()
    account = story.settle()
    assert account.wrong == []
    assert account.figures["pipes cut"] == 1


def test_a_receiver_that_is_killed_has_the_first_so_many() -> None:
    story = Story()
    story.sends(1, 2, 3)
    story.receives(1)
    story.receiver.killed = True
    assert story.settle().wrong == []


def test_a_number_that_a_cancelled_send_has_left_is_used_again() -> None:
    story = Story()
    story.sends(1)
    story.is_cancelled_sending(2)
    story.sends(2)
    story.receives(1, 2)
    story.hears_the_last()
    assert story.settle().wrong == []


def a_message_lost_on_the_way(story: Story) -> None:
    story.sends(1, 2, 3)
    story.receives(1, 3)
    story.hears_the_last()


def a_message_lost_at_the_end(story: Story) -> None:
    story.sends(1, 2)
    story.is_killed_sending(3)
    story.receives(1)
    story.hears_the_end()


def a_message_received_twice(story: Story) -> None:
    story.sends(1, 2)
    story.receives(1, 1, 2)
    story.hears_the_last()


def messages_out_of_order(story: Story) -> None:
    story.sends(1, 2)
    story.receives(2, 1)
    story.hears_the_last()


def a_message_that_arrives_though_its_send_was_cancelled(story: Story) -> None:
    story.sends(1)
    story.is_cancelled_sending(2)
    story.receives(1, 2)
    story.hears_the_last()


def an_end_whose_other_side_lives(story: Story) -> None:
    story.sends(1)
    story.receives(1)
    story.hears_the_end()


def an_end_that_nobody_was_told_of(story: Story) -> None:
    story.is_killed_sending(1)


@pytest.mark.parametrize(
    "tell",
    [
        a_message_lost_on_the_way,
        a_message_lost_at_the_end,
        a_message_received_twice,
        messages_out_of_order,
        a_message_that_arrives_though_its_send_was_cancelled,
        an_end_whose_other_side_lives,
        an_end_that_nobody_was_told_of,
    ],
)
def test_what_does_not_balance_is_found(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    assert story.settle().wrong
