"""The books of a campaign: what the journals say must agree with what the objects say.

What a killed worker was doing at that instant may have happened or not; nothing else may be
unknown. So every item that is missing must have its killer: a worker that was killed inside a call
that takes items, which accounts for as many as that call was to take at most.
"""

from collections import Counter, defaultdict

import treadle
from tests.crash.books import Account, Life, some
from tests.crash.ground import LOCKS, SEQUENCES, Guarded
from tests.crash.journal import Act, Journals, Violation
from tests.crash.pipe_account import check_pipes


def settle(
    journals: Journals,
    killed: dict[int, bool],
    *,
    items: treadle.QueueStatistics,
    jobs: treadle.QueueStatistics,
    signals: int = 0,
    in_order: bool = True,
) -> Account:
    """Reads all journals. `killed`: of each life, whether it was. The queues have been drained.

    signals: the permits that nobody has taken. in_order: the queues are first in, first out, as far
    as one producer's items go.
    """
    lives = [Life(n, was, list(journals.read(n))) for n, was in sorted(killed.items())]
    account = Account(lives)
    account.figures["steps"] = sum(len(life.entries) for life in lives)
    cancelled = sum(life.count(Act.CANCELLED) for life in lives)
    if cancelled:
        account.figures["cancellations"] = cancelled
    _check_lives(account)
    _check_items(account, items, in_order)
    _check_jobs(account, jobs)
    _check_locks(account, journals)
    _check_signals(account, signals)
    check_pipes(account)
    return account


def _check_lives(account: Account) -> None:
    for life in account.lives:
        for entry in life.entries:
            if entry.act is Act.VIOLATION:
                account.wrong.append(f"life {life.number} saw {Violation(entry.number).name}")
        last = life.last()
        if not life.killed:
            account.check(
                last is not None and last.act is Act.FAREWELL,
                f"life {life.number} was not killed, and ended after {last}",
            )


def _check_items(account: Account, statistics: treadle.QueueStatistics, in_order: bool) -> None:
    begun, put, refused = set[int](), set[int](), set[int]()
    got = Counter[int]()
    may_have_lost = 0
    for life in account.lives:
        begun.update(life.numbers(Act.PUTTING))
        put.update(life.numbers(Act.PUT))
        refused.update(life.numbers(Act.REFUSED))
        got.update(life.numbers(Act.GOT))
        may_have_lost += _takes_open(life)
        if in_order:
            _check_order(account, life)
    doubles = [number for number, times in got.items() if times > 1]
    account.check(not doubles, f"items delivered more than once: {some(doubles)}")
    strange = [number for number in got if number not in begun]
    account.check(not strange, f"items delivered that nobody put: {some(strange)}")
    taken_back = [number for number in got if number in refused]
    account.check(
        not taken_back,
        f"items delivered whose put was refused or cancelled: {some(taken_back)}",
    )
    account.check(
        statistics.qsize == 0 and statistics.gets == statistics.puts,
        f"the drained queue of items says {statistics}",
    )
    missing = put - set(got)
    lost = statistics.gets - len(got)  # taken from the queue, and not noted by who took them
    account.check(
        len(missing) <= lost <= may_have_lost,
        f"{lost} items were taken and never seen, {len(missing)} of them certainly put "
        f"({some(missing)}); the kills explain at most {may_have_lost}",
    )
    if not may_have_lost:
        for life in account.lives:
            _check_batches(account, life, got)
    unsure = len(begun - put - refused - set(got))
    account.check(
        lost - len(missing) <= unsure,
        f"{lost - len(missing)} more items went through the queue than were put",
    )
    account.figures |= {"items": len(put), "items gone with their getter": lost}


def _check_batches(account: Account, life: Life, got: Counter[int]) -> None:
    """Of a batch that was cancelled the first so many are put, perhaps none. Nobody took others."""
    cut = False
    for entry in life.entries:
        if entry.act is Act.PUTTING:
            came = got[entry.number] > 0
            account.check(
                not came or entry.extra == 0 or not cut,
                f"item {entry.number} of a batch was put, the one before it was not",
            )
            cut = not came


def _takes_open(life: Life) -> int:
    """How many items this life may have taken without saying so: the rest of its last get."""
    left = 0
    for entry in life.entries:
        if entry.act is Act.GETTING:
            left = entry.number
        elif entry.act is Act.GOT:
            left -= 1
        elif entry.act is Act.GET_OVER:
            left = 0
    return left if life.killed else 0


def _check_order(account: Account, life: Life) -> None:
    """The items of one producer reach one consumer in the order in which they were put."""
    newest = defaultdict[int, int](int)
    for number in life.numbers(Act.GOT):
        producer = number // SEQUENCES
        account.check(
            number > newest[producer],
            f"life {life.number} got item {number} of life {producer} after {newest[producer]}",
        )
        newest[producer] = number


def _check_jobs(account: Account, statistics: treadle.QueueStatistics) -> None:
    begun, put, refused = set[int](), set[int](), set[int]()
    deliveries = defaultdict[int, list[int]](list)
    ended, acted = Counter[int](), Counter[int]()
    final = dict[int, int]()
    may_be_acked = set[int]()
    last_acts = Counter[Act]()  # of the killed
    for life in account.lives:
        begun.update(life.numbers(Act.PUTTING_JOB))
        put.update(life.numbers(Act.PUT_JOB))
        refused.update(life.numbers(Act.JOB_REFUSED))
        ended.update(life.numbers(Act.ACKED))
        ended.update(life.numbers(Act.TAKEN))
        acted.update(life.numbers(Act.ACTED_ON))
        delivery = 0
        for entry in life.entries:
            if entry.act is Act.LEASED:
                deliveries[entry.number].append(delivery := entry.extra)
            elif entry.act is Act.ACKED:
                final[entry.number] = delivery
        last = life.last()
        if life.killed and last is not None:
            last_acts[last.act] += 1
            if last.act is Act.ACKING:
                may_be_acked.add(last.number)
    seen = put | set(deliveries) | set(ended)
    strange = seen - (begun - refused)
    account.check(not strange, f"jobs delivered that nobody put: {some(strange)}")
    doubles = [number for number, times in ended.items() if times > 1]
    account.check(not doubles, f"jobs acknowledged or taken more than once: {some(doubles)}")
    lost = {number for number in seen if not ended[number]} - may_be_acked
    account.check(
        len(lost) <= last_acts[Act.TAKING],
        f"jobs that were neither acknowledged nor taken: {some(lost)}; "
        f"the kills explain at most {last_acts[Act.TAKING]}",
    )
    late = [number for number, at in final.items() if max(deliveries[number]) != at]
    account.check(not late, f"jobs delivered again after their acknowledgement: {some(late)}")
    equal = [number for number, at in deliveries.items() if len(set(at)) != len(at)]
    account.check(not equal, f"jobs delivered twice under one count of deliveries: {some(equal)}")
    untold = [number for number, times in acted.items() if times > max(deliveries[number])]
    account.check(not untold, f"jobs done again without a raised count: {some(untold)}")
    unseen = sum(max(at) - len(at) for at in deliveries.values())
    account.check(
        unseen <= last_acts[Act.LEASING],
        f"{unseen} deliveries are counted that nobody saw; "
        f"the kills explain at most {last_acts[Act.LEASING]}",
    )
    unsure = len(begun - seen - refused)
    account.check(
        len(seen) <= statistics.puts <= len(seen) + unsure,
        f"{statistics.puts} jobs were put by the books, {len(seen)} certainly, {unsure} perhaps",
    )
    # An acknowledgement is done by itself; who took a job and was killed did not say so.
    silent = last_acts[Act.TAKING] + last_acts[Act.TAKEN]
    account.check(
        statistics.qsize == statistics.leased == 0 and len(lost) <= statistics.unfinished <= silent,
        f"the drained queue of jobs says {statistics}; the kills explain {silent} unfinished",
    )
    account.figures |= {
        "jobs": len(seen),
        "jobs gone with their taker": len(lost),
        "jobs delivered again": sum(max(at) > 1 for at in deliveries.values()),
    }


def _check_locks(account: Account, journals: Journals) -> None:
    for which in range(LOCKS):
        guarded = Guarded.by(which, journals)
        sure = perhaps = repairs = 0
        for life in account.lives:
            changed = life.count(Act.CHANGED, which)
            still_open = life.count(Act.CHANGING, which) - changed
            still_open -= life.count(Act.UNCHANGED, which)
            account.check(
                still_open <= life.killed,
                f"life {life.number} did not say whether it changed what lock {which} guards",
            )
            sure += changed
            perhaps += still_open
            repairs += life.count(Act.REPAIRED, which)
        changes = guarded.first.value
        account.check(
            guarded.inside.value == 0 and guarded.second.value == changes,
            f"what lock {which} guards is torn: {changes}, {guarded.second.value}",
        )
        account.check(
            sure <= changes <= sure + perhaps,
            f"lock {which} guarded {changes} changes; {sure} were made for sure, {perhaps} perhaps",
        )
        account.check(
            repairs <= perhaps,
            f"lock {which} was repaired {repairs} times after {perhaps} deaths",
        )
        if repairs:
            account.figures[f"repairs by lock {which}"] = repairs


def _check_signals(account: Account, left: int) -> None:
    """Permits that were given and neither taken nor left: as many as the killed explain."""
    given = taken = perhaps_given = perhaps_taken = 0
    for life in account.lives:
        given += sum(life.numbers(Act.SIGNALLED))
        taken += life.count(Act.HEARD)
        last = life.last()
        if life.killed and last is not None:
            perhaps_given += last.number if last.act is Act.SIGNALLING else 0
            perhaps_taken += last.act is Act.LISTENING
    balance = given - taken
    account.check(
        balance - perhaps_taken <= left <= balance + perhaps_given,
        f"{left} signals are left of {given} given, {taken} taken; the kills explain "
        f"{perhaps_given} more given and {perhaps_taken} more taken",
    )
