"""The books of pipes: what one end sent is what the other received, as far as it lived.

Messages are numbered by their senders, one after the other; one that was not sent, since its
sender was cancelled, leaves its number to the next. So the numbers that arrive are the first so
many, each once and in order, whatever happened.
"""

from tests.crash.books import Account, Life, some
from tests.crash.ground import SEQUENCES
from tests.crash.journal import Act


def check_pipes(account: Account) -> None:
    lives = {life.number: life for life in account.lives}
    messages = cut = 0
    for life in account.lives:
        for peer in life.numbers(Act.PEER_GONE):
            account.check(
                lives[peer].killed, f"life {life.number} was told that {peer} is gone, which lived"
            )
        for sender in life.numbers(Act.RECEIVING_FROM):
            messages += _check_direction(account, lives[sender], life)
            cut += Act.PEER_GONE in (entry.act for entry in life.entries)
    if messages:
        account.figures["messages"] = messages
    if cut:
        account.figures["pipes cut"] = cut


def _check_direction(account: Account, sender: Life, receiver: Life) -> int:
    """Checks what one life sent to another; returns how many messages arrived."""
    who = f"from life {sender.number} to {receiver.number}"
    received = receiver.numbers(Act.RECEIVED)
    first = sender.number * SEQUENCES + 1
    expected = list(range(first, first + len(received)))
    account.check(received == expected, f"messages {who} are not the first: {some(received)}")
    sent = sender.count(Act.SENT)
    last = sender.last()
    begun = sender.killed and last is not None and last.act is Act.SENDING
    account.check(
        len(received) <= sent + begun,
        f"{len(received)} messages came {who}; {sent} were sent, {int(begun)} perhaps",
    )
    over, gone = receiver.count(Act.PEER_OVER), receiver.count(Act.PEER_GONE)
    account.check(
        receiver.killed or over or gone, f"life {receiver.number} ended before its messages did"
    )
    if over or (gone and not receiver.killed):
        account.check(len(received) >= sent, f"{sent - len(received)} messages {who} were lost")
    return len(received)
