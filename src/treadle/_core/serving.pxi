# serving.pxi: what a worker process of a pool does for the most frequent of batches, natively (src/treadle/_pool/worker.py does
# the rest).

cdef enum:
    SERVED_AT_ONCE = 256  # then Python has its turn: signals, other threads
    SINGLE_WAYS = 1  # the ways of calls.py that are served here: MAP, STAR
    PER_LANE = 256  # calls.LANE


cdef inline bint _is_plain(value):
    """As plain() says, of one value."""
    return (
        PyLong_CheckExact(value) or PyFloat_CheckExact(value) or PyUnicode_CheckExact(value) or PyBytes_CheckExact(value)
        or value is None or value is True or value is False
    )


def serve_singles(worker, Roster roster not None, uint32_t seat, PriorityQueue tasks not None, list outs not None, packed, function):
    """serve_singles(worker, roster, seat, tasks, outs, packed, function)\n--\n
    Serves batches of one call of that function with plain arguments, told to ``outs[lane]``, one after the other.

    Returns the lease of a batch that is anything else, and has not begun; or None: Python is to have its turn. Raises ShutDown
    when there is no more to do, or the worker is not to begin anything. Values that are not plain, and errors, are the
    worker's to tell.
    """
    cdef Seat* at = roster._seat(seat)
    cdef _Claim claim
    cdef tuple task
    cdef Queue out
    cdef uint64_t serial
    cdef int64_t began
    cdef int how, way
    tasks._made()
    for _ in range(SERVED_AT_ONCE):
        claim = tasks.store.claim(FOREVER, False)
        task = <tuple?>claim.item
        _, serial, how, its, items = task
        way = how % PER_LANE
        if (
            claim.deliveries != 1 or way > SINGLE_WAYS or type(items) is not tuple or len(items) != 1 or its != packed
            or roster.body.marks.has(serial)
        ):
            return _lease(tasks, claim)
        began = monotonic_ns()
        at.begin(serial, <uint64_t>monotonic_coarse_ns())
        if roster.body.marks.has(serial):  # withdrawn meanwhile
            if at.finish():
                return _lease(tasks, claim)
            raise ShutDown
        out = <Queue?>outs[how // PER_LANE]
        goes_on = True
        try:
            value = function(*items[0]) if way else function(items[0])
        except BaseException as error:
            goes_on = worker._tell_call_failed(serial, out, error, function)
        else:
            if _is_plain(value):
                value = (value,)
                try:
                    out.store.put((0, serial, 0, monotonic_ns() - began, value), FOREVER)
                except ArenaFullError:
                    goes_on = worker._tell_value(serial, out, value[0], function, began)
            else:
                goes_on = worker._tell_value(serial, out, value, function, began)
        value = task = items = its = None  # nothing of it lives on while the worker waits for the next
        if not at.finish():
            raise ShutDown  # without acknowledging: whoever stopped the task says what came of it
        if claim.settle(True) != DONE:
            raise RuntimeError("this lease is not held any more")
        claim = None
        if not goes_on:
            return None
    return None
