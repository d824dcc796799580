# transit.pxi: objects whose handles are on their way (transit.hpp).
#
# A pickled handle keeps its object alive by itself: whoever pickled it may have dropped it before the other side has
# unpickled it (multiprocessing forgets the arguments of a process as soon as it has started). It does so for a minute, or
# until the handle has arrived and LATEST others have arrived after it: one pickle may be unpickled several times, as when a
# lease is delivered again, and a program that sends handles in a loop must not pile up a minute's worth of objects.
#
# Pins are looked at in turn, LOOKS of them that stay with each new object or pickle: all of them, while many are made.

cdef double TRANSIT_SECONDS = 60.0

cdef enum:
    LATEST = 128
    LOOKS = 4

cdef object _in_transit = deque()
cdef object _arrived = deque()
cdef dict _tables = {}  # those with a free place, by the address of their arena's mapping


@cython.final
cdef class _Transit:
    """A table of tickets in an arena; this process's."""

    cdef Handle handle
    cdef SharedTransit* body
    cdef list free  # places, each as the number that it is to be given next

    def __dealloc__(self):
        drop_object(self.handle)


@cython.final
cdef class _Pin:
    """Keeps an object whose handle has been pickled."""

    cdef object keep
    cdef double since
    cdef _Transit table  # None: nobody will tell that it has arrived
    cdef uint64_t number

    cdef bint has_arrived(self):
        return self.table is not None and has_arrived(self.table.body, self.number)

    cdef give_back(self):
        cdef _Transit table = self.table
        if table is None:
            return
        await_no_longer(table.body, self.number)
        if not table.free:
            _tables.setdefault(<uintptr_t>table.handle.mapping, []).append(table)
        table.free.append(self.number + TRANSIT_PLACES)


@cython.final
cdef class _Gathering:
    """What a value's pickle has handles of, where it is kept for longer than it takes to arrive: see map_values.pxi."""

    cdef Handle* keeper
    cdef bint names  # only who they are is asked for: for a key
    cdef list objects
    cdef list references  # as BlockRef, of those in the keeper's arena

    cdef bytes ticket_of(self, const Handle& handle, object keep):
        """None: it goes the usual way."""
        cdef Ticket ticket
        if self.names:
            return b"%d %d %d" % (identity_of(handle)[0], object_ref(handle), handle.serial)
        if handle.mapping != self.keeper.mapping:
            return None
        self.objects.append(keep)
        if handle.block != self.keeper.block:  # else it would keep itself
            self.references.append(object_ref(handle))
        write_ticket(handle, ticket)
        return PyBytes_FromStringAndSize(<const char*>&ticket, sizeof(Ticket))


cdef dict _gatherings = {}  # by thread


cdef bytes _ticket_of(const Handle& handle, object keep):
    cdef Ticket ticket
    cdef _Gathering gathering
    if _gatherings:
        gathering = _gatherings.get(threading.get_ident())
        if gathering is not None:
            text = gathering.ticket_of(handle, keep)
            if text is not None:
                return text
    cdef _Pin pin = _Pin.__new__(_Pin)
    write_ticket(handle, ticket)
    pin.keep = keep
    pin.since = time.monotonic()
    pin.table = table = _table_in(handle.mapping)
    if table is not None:
        pin.number = table.free.pop()
        if not table.free:
            _tables[<uintptr_t>handle.mapping].remove(table)
        note_sent(table.body, pin.number)
        address_ticket(ticket, table.handle, pin.number)
    _in_transit.append(pin)
    _let_go(LOOKS)
    return PyBytes_FromStringAndSize(<const char*>&ticket, sizeof(Ticket))


cdef _Transit _table_in(Mapping* mapping):
    """A table with a free place; None: the arena is full."""
    cdef _Transit table
    cdef list tables = _tables.setdefault(<uintptr_t>mapping, [])
    if tables:
        return tables[-1]
    table = _Transit.__new__(_Transit)
    if not make_transit(mapping, _token_in(mapping), table.handle):
        return None
    table.body = <SharedTransit*>body_of(table.handle.block)
    table.free = list(range(2 * TRANSIT_PLACES - 1, TRANSIT_PLACES - 1, -1))
    tables.append(table)
    return table


cdef _let_go(Py_ssize_t looks):
    """Lets go of what has been in transit for long enough; `looks`: how many that have not it may see."""
    cdef double latest = time.monotonic() - TRANSIT_SECONDS
    cdef _Pin pin
    try:
        while looks > 0:
            pin = _in_transit.popleft()
            if pin.since < latest:
                pin.give_back()
            elif pin.has_arrived():
                pin.give_back()
                _arrived.append(pin)
            else:
                _in_transit.append(pin)
                looks -= 1
    except IndexError:  # no more of them
        pass
    try:
        while len(_arrived) > LATEST or (<_Pin>_arrived[0]).since < latest:
            _arrived.popleft()
    except IndexError:
        pass


def forget_pickled():
    """Lets go of all objects that are kept only because they were pickled a short while ago."""
    _in_transit.clear()
    _arrived.clear()
    _tables.clear()
