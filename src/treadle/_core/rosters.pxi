# rosters.pxi: Roster, what the workers of a pool are at (word/roster.hpp).

cdef enum:
    REPORTING_NS = 1_000_000  # of a coarse clock: in fact at its next tick


@cython.final
cdef class Roster:
    """Roster(seats)\n--\n
    A seat for each worker process, where it notes the task that it has begun, for whoever finds it dead; and marks of the
    tasks that were withdrawn before anybody had begun them.

    Tasks are numbers from 1 on, never used twice. Shared, for processes to which it is sent.
    """

    cdef RosterBody* body
    cdef Handle handle
    cdef int64_t reported  # when the worker of this process last had reason to tell what it has so far

    def __init__(self, uint32_t seats):
        if self.body != NULL:
            raise TypeError("a Roster is made once")
        cdef Mapping* mapping = _arena_of(None)
        if not make_roster(mapping, _token_in(mapping), seats, self.handle):
            raise _arena_full("a roster", mapping)
        self.body = <RosterBody*>body_of(self.handle.block)

    def __dealloc__(self):
        drop_object(self.handle)

    cdef Seat* _seat(self, uint32_t index) except NULL:
        if self.body == NULL or index >= self.body.seats:
            raise IndexError("a roster has no such seat")
        return &seat_at(self.body, index)

    # ---- For the worker in that seat

    def begin(self, uint32_t seat, uint64_t task):
        """Notes the task; returns whether it may have been withdrawn, and is to be handed back."""
        cdef Seat* at = self._seat(seat)
        self.reported = monotonic_coarse_ns()
        at.begin(task, <uint64_t>self.reported)
        return self.body.marks.has(task)

    def run(self, uint32_t seat, call, items, Py_ssize_t start, list values not None):
        """Appends ``call(item)`` for each item from start on, having noted how far it has got, until they are done or it is
        time to tell the pool what came of them so far. What a call raises comes through.
        """
        cdef Seat* at = self._seat(seat)
        cdef Py_ssize_t index
        cdef int64_t now
        for index in range(start, len(items)):
            now = monotonic_coarse_ns()
            if now - self.reported > REPORTING_NS and index != start:
                self.reported = now
                return
            if index != 0:
                at.step(<uint32_t>index, <uint64_t>now)
            values.append(call(items[index]))

    def step(self, uint32_t seat, uint32_t step):
        """Notes which item of the task it is at."""
        self._seat(seat).step(step, <uint64_t>monotonic_coarse_ns())

    def finish(self, uint32_t seat):
        """Notes that the task is done with; False: it was stopped, and the worker must not take another."""
        return self._seat(seat).finish()

    # ---- For the pool

    def read(self, uint32_t seat):
        """The task (0: none), its step, and the seconds since that began."""
        cdef Seat* at = self._seat(seat)
        cdef uint64_t task = at.task()
        return task, at.current_step(), (monotonic_coarse_ns() - <int64_t>at.since()) / 1e9

    def stop(self, uint32_t seat, uint64_t task):
        """Whether the worker is at that task; if so it begins no other, and may be killed."""
        return self._seat(seat).stop(task)

    def vacate(self, uint32_t seat):
        """Its worker has ended, and what it was at has been read."""
        self._seat(seat).vacate()

    def mark(self, uint64_t task):
        """Withdraws a task that nobody has begun; look at the seats afterwards."""
        if self.body != NULL:
            self.body.marks.set(task)

    def unmark(self, uint64_t task):
        """That task, and no other that shares its mark, is withdrawn."""
        if self.body != NULL:
            self.body.marks.clear(task)

    MARKS = ROSTER_MARKS

    def __reduce__(self):
        if self.body == NULL:
            raise TypeError("this Roster has not been made")
        return _rebuild_roster, (_ticket_of(self.handle, self),)


def _rebuild_roster(ticket):
    cdef Roster roster = Roster.__new__(Roster)
    _attach(ticket, "roster", KIND_ROSTER, &roster.handle)
    roster.body = <RosterBody*>body_of(roster.handle.block)
    return roster
