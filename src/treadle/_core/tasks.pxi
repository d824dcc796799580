# tasks.pxi: tasks of event loops that wait for an object: parked without a thread, told by whoever changes the object.
# What treadle.aio builds its coroutines on.

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()
    object PyObject_Call(object callable, tuple arguments, dict named)
    ctypedef enum PySendResult:
        PYGEN_RETURN, PYGEN_ERROR, PYGEN_NEXT
    PySendResult PyIter_Send(object iterator, object value, PyObject** result) except PYGEN_ERROR
    ctypedef PySendResult (*Send "sendfunc")(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR
    ctypedef struct AwaitableSlots "PyAsyncMethods":
        Send am_send
    ctypedef struct AwaitableType "PyTypeObject":
        AwaitableSlots* tp_as_async


class _Pending:
    """What an attempt returns that has to wait."""

    def __repr__(self):
        return "PENDING"


PENDING = _Pending()
cdef object _PENDING = PENDING

cdef object _start_thread = import_lazily("_thread").start_new_thread
cdef object _reactor_of = None  # the pid whose reactor runs


cdef object _get_running_loop = None
cdef object _current_task = None
cdef dict _modules = import_lazily("sys").modules


cdef object _asyncio_loop():
    """The loop of asyncio's interface that runs in this thread, or None."""
    global _get_running_loop, _current_task
    if _get_running_loop is None:
        asyncio = import_lazily("asyncio")
        _current_task = asyncio.current_task
        _get_running_loop = asyncio._get_running_loop  # without an exception where there is none
    return _get_running_loop()


@cython.final
@cython.internal
cdef class _LoopNotes:
    """What is noted about an event loop: lives and dies with it."""

    cdef bint makes_plain_futures  # ``create_future()`` is asyncio's own
    cdef set parked  # the waiters that the loop keeps


cdef object _Future = None
cdef object _InvalidState = ()
cdef dict _future_arguments = {}

cdef _LoopNotes _notes_of(loop):
    global _Future, _InvalidState
    cdef _LoopNotes notes = getattr(loop, "_treadle_notes", None)
    if notes is None:
        asyncio = import_lazily("asyncio")
        _Future = asyncio.Future
        _InvalidState = asyncio.InvalidStateError
        notes = _LoopNotes.__new__(_LoopNotes)
        notes.makes_plain_futures = (
            getattr(type(loop), "create_future", None) is asyncio.BaseEventLoop.create_future
        )
        notes.parked = set()
        try:
            loop._treadle_notes = notes
        except AttributeError:  # not a loop of Python's making; trio refers to its tasks itself
            notes.parked = None
    return notes


@cython.no_gc_clear  # __dealloc__ passes on what is owed
@cython.freelist(64)
cdef class Waiter:
    """Waiter(attempt, timeout=None)\n--\n
    The wait of one task, to be awaited once: attempts, parks, is told, attempts again. Gives what the last attempt returned,
    PENDING if the time was up.

    attempt: called with this object; where it returns PENDING it says, in here, what to wait for. timeout: in seconds, or
    None. A notification that was not used, since the task was cancelled, is passed on. A subclass attempts by itself.

    A class and not a coroutine, which would cost each wait about as much as all else that it does.
    """

    cdef Place place
    cdef Wait wait
    cdef Mapping* mapping
    cdef bint look  # with the next attempt
    cdef int64_t section_since  # when it found an internal section taken that it waits for; 0: it does not
    cdef bint again  # it was told before, in vain
    cdef bint used
    cdef bint expired
    cdef bint lined_up  # it parks behind others, without having attempted
    cdef TaskLine* line  # how many tasks wait for the object, if they are served in order
    cdef uint64_t line_epoch
    cdef object lined_up_at
    cdef unsigned long thread
    cdef object loop  # has ``call_soon_threadsafe``, ``create_future``, and the like
    cdef bint set_by_loop  # its signal, which is safe nowhere else
    cdef _LoopNotes notes
    cdef object signal
    cdef object attempt
    cdef object timeout
    cdef object timer
    cdef object suspended  # what the task is suspended at, as an iterator; None: at a plain future
    cdef set kept  # among these its loop refers to it while it is parked

    def __cinit__(self, attempt=None, timeout=None):
        self.place.owner = <void*>self
        self.loop = _asyncio_loop()
        if self.loop is None or "trio" in _modules:
            self.loop, self.set_by_loop = import_lazily("treadle.aio._loops").running_loop(self.loop)
        self.attempt = attempt
        self._set_timeout(timeout)
        self.thread = PyThread_get_thread_ident()

    def __dealloc__(self):
        task_leave(self.place, self.mapping, self.used)
        self._leave_line()

    cdef int _set_timeout(self, timeout) except -1:
        if timeout is not None and _optional_timeout(timeout) != FOREVER:
            self.timeout = timeout
        return 0

    cdef int _leave_line(self) noexcept:
        if self.line != NULL:
            self.line.leave(self.line_epoch)
            self.line = NULL
        return 0

    cdef bint _joins(self, object owner, TaskLine* line) noexcept:
        """Must this task stand in line behind others, now that it has come?"""
        if self.lined_up_at is not None:
            if self.line == NULL:  # its loop has gone on
                self.line = line
                self.line_epoch = line.join()
            return False
        self.lined_up_at = owner
        self.line = line
        self.lined_up = line.count() != 0
        self.line_epoch = line.join()
        return self.lined_up

    cdef void _begin(self, const Handle& handle) noexcept:
        self.mapping = handle.mapping

    cdef object _try(self):
        return self.attempt(self)

    # ---- What an await does

    def __await__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Goes on to where the task is to be suspended."""
        cdef PyObject* result = NULL
        cdef PySendResult sent = self._go_on(value, &result)
        given = <object>result
        Py_DECREF(given)
        if sent == PYGEN_NEXT:
            return given
        raise StopIteration(given)

    def throw(self, kind, value=None, trace=None):
        """The task is cancelled, or what it was suspended at has failed."""
        try:
            if self.suspended is None:
                raise _thrown(kind, value, trace)
            return self.suspended.throw(kind, value, trace)
        except StopIteration:
            self.suspended = None
        except BaseException:
            self._end(False)
            raise
        return self.send(None)

    def close(self):
        """The task will not go on."""
        try:
            if self.suspended is not None:
                self.suspended.close()
        finally:
            self._end(False)

    cdef PySendResult _go_on(self, value, PyObject** result) except PYGEN_ERROR:
        cdef PySendResult sent
        result[0] = NULL
        try:
            while True:
                if self.suspended is not None:
                    sent = PyIter_Send(self.suspended, value, result)
                    if sent == PYGEN_NEXT:
                        return sent
                    Py_DECREF(<object>result[0])
                    result[0] = NULL
                    self.suspended = value = None
                task_begin_attempt(self.place, <void*>self.loop)
                try:
                    outcome = self._try()
                finally:
                    task_end_attempt()
                if outcome is not _PENDING or self.expired:
                    break
                if self.timeout is not None and self.timer is None:
                    self.timer = self.loop.call_later(max(self.timeout, 0), self.expire)
                signal = self._arm()
                if signal is None:
                    continue
                if self.notes.makes_plain_futures:
                    # As the iterator of asyncio's future does; that the future was cancelled is thrown by the task itself.
                    signal._asyncio_future_blocking = True
                    Py_INCREF(signal)
                    result[0] = <PyObject*>signal
                    return PYGEN_NEXT
                self.suspended = iter(signal)
        except BaseException:
            self._end(False)
            raise
        self._end(outcome is not _PENDING)
        Py_INCREF(outcome)
        result[0] = <PyObject*>outcome
        return PYGEN_RETURN

    cdef object _arm(self):
        """Parks where the last attempt said; returns what to await, or None if it is worth another attempt at once."""
        cdef Spun spun
        task_leave(self.place, self.mapping, True)  # it has made its attempt
        if self.wait.section and not self.lined_up:
            # Somebody is inside a short section: it lasts a microsecond, unless the system does not let it run, or it died there.
            if task_looks_into_section(&self.section_since):
                self.look = True
            return self._next_turn()
        self.section_since = 0
        # Not for shared objects: a task that spins would always be faster than threads of other processes that are woken.
        if not self.lined_up and self.mapping == NULL:
            spun = task_spin(self.wait)
            if spun != SPUN_PARK:
                return None if spun == SPUN_ATTEMPT else self._next_turn()
        if self.mapping != NULL:
            _need_reactor(self.mapping)
        self.signal = self._new_signal()
        self.look = False
        if not task_park(self.place, self.mapping, self.wait, self.again) and not self.lined_up:
            return None
        self.again = True
        self.lined_up = False
        if self.kept is None and self.timer is None and self.notes.parked is not None:
            # Nothing else may refer to the task: the lot does not, and asyncio does by weak references only. So the loop has
            # to, or the collector destroys a task that waits. With a timeout the loop's timer refers to it. A loop that was
            # closed lets go of its tasks when it is dropped itself.
            self.kept = self.notes.parked
            self.kept.add(self)
        return self.signal

    cdef object _next_turn(self):
        signal = self._new_signal()
        self.loop.call_soon(_set, signal)
        return signal

    cdef object _new_signal(self):
        """What the task is suspended at: ``loop.create_future()``, without the call in Python that it is with asyncio's loops."""
        if self.notes is None:
            self.notes = _notes_of(self.loop)
        if not self.notes.makes_plain_futures:
            return self.loop.create_future()
        _future_arguments["loop"] = self.loop  # read before anybody else runs, and a third of the cost of a new dict
        signal = PyObject_Call(_Future, (), _future_arguments)
        _future_arguments["loop"] = None
        return signal

    def expire(self):
        """The time is up: the task makes a last attempt."""
        self.expired = True
        if self.signal is not None:
            _set(self.signal)

    cdef int _end(self, bint used) except -1:
        """Ends the wait. used: the last attempt succeeded; otherwise a notification is passed on."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        self._let_go()
        self.suspended = None
        self.used = used
        task_leave(self.place, self.mapping, used)
        self._leave_line()
        if not used:
            _tell()
        elif tasks_notified():
            self._tell_later()
        return 0

    cdef int _let_go(self) except -1:
        kept, self.kept = self.kept, None
        if kept is not None:
            kept.discard(self)
        return 0

    cdef _tell_later(self):
        """Not here and now: if that raised, what the task has been given would not reach it."""
        try:
            self.loop.call_soon(_deliver_later, self.loop)
        except RuntimeError:  # the loop is closed
            _deliver()


cdef _thrown(kind, value, trace):
    """The exception of the arguments of a generator's ``throw``."""
    error = kind if isinstance(kind, BaseException) else kind() if value is None else value
    return error if trace is None else error.with_traceback(trace)


cdef PySendResult _send(PyObject* waiter, PyObject* value, PyObject** result) except PYGEN_ERROR:
    return (<Waiter><object>waiter)._go_on(<object>value, result)


# The slot by which an awaitable gives its result without raising StopIteration, which Cython has no name for. It is not
# inherited: the subclasses are made before it is set.
cdef _send_natively(of):
    (<AwaitableType*>of).tp_as_async.am_send = _send


_send_natively(Waiter)


def _set(signal):
    if not signal.done():
        signal.set_result(None)


def _nothing():
    pass


def _set_all(list signals):
    """In the loop's thread."""
    task_told_from_elsewhere()
    for signal in signals:
        if not signal.done():
            signal.set_result(None)


cdef _need_reactor(Mapping* mapping):
    global _reactor_of
    need_reactor(mapping, _token_in(mapping))
    if _reactor_of != os.getpid():
        _reactor_of = os.getpid()
        try:
            _start_thread(_react, ())
        except BaseException:
            _reactor_of = None
            raise


def _react():
    """The reactor: hands the wakes of other processes to this one's event loops. One thread of each process at most."""
    cdef int64_t looked = 0
    while True:
        reactor_turn(&looked)
        try:
            _deliver()
        except BaseException:  # at the interpreter's end
            pass


# ---- Telling tasks

def _deliver_later(loop):
    """Called by the loop."""
    called_by_loop(<void*>loop)
    try:
        _deliver()
    finally:
        called_by_loop(NULL)


cdef bint _runs_here(loop):
    return calling_loop() == <void*>loop or _asyncio_loop() is loop


cdef inline int _tell() except -1:
    """What every call ends with that may have woken somebody: tells the tasks among them."""
    if tasks_notified():
        _deliver()
    return 0


cdef Waiter _next_notified():
    cdef void* owner = take_notified()
    if owner == NULL:
        return None
    waiter = <Waiter><object>owner
    Py_DECREF(waiter)
    return waiter


cdef int _deliver() except -1:
    cdef Waiter waiter
    cdef unsigned long here = PyThread_get_thread_ident()
    cdef dict elsewhere
    cdef list idle
    cdef bint sleeps
    raised = None
    while tasks_notified():  # again: what is passed on below notifies others
        elsewhere = idle = None
        while tasks_notified():
            waiter = _next_notified()
            if waiter is None:
                break
            waiter.look = waiter.place.told_to
            if waiter.thread == here and (waiter.set_by_loop or _runs_here(waiter.loop)):
                sleeps = False
                raised = _deliver_here(waiter, &sleeps) or raised  # the others are told first
                if sleeps and (idle is None or waiter.loop not in idle):
                    idle = [waiter.loop, *(idle or ())]
                continue
            if elsewhere is None:
                elsewhere = {}
            elsewhere.setdefault(waiter.loop, []).append(waiter)
        if elsewhere is not None:
            for loop, waiters in elsewhere.items():
                raised = _deliver_elsewhere(loop, waiters) or raised
        for loop in idle or ():
            _rouse(loop)
    if raised is not None:
        raise raised
    return 0


cdef object _deliver_here(Waiter waiter, bint* sleeps):
    """To a loop that runs in this thread. Returns what a handler of signals has raised meanwhile, or None.

    sleeps: becomes whether the loop has to be roused. It runs none of its tasks now: this may be a signal handler, or a
    finalizer, that has come between the loop's look at what there is to do and its sleep.
    """
    raised = None
    try:
        if waiter.set_by_loop:
            waiter.loop.call_soon(_set, waiter.signal)
            return None
        waiter.signal.set_result(None)
        sleeps[0] = calling_loop() != <void*>waiter.loop and _current_task(waiter.loop) is None
        return None
    except _InvalidState:  # it is cancelled already
        pass
    except RuntimeError:  # the run of trio's is over: its task will never run again
        waiter._let_go()
        waiter._leave_line()
    except BaseException as error:  # as in asyncio, its task may never run again
        raised = error
    task_leave(waiter.place, waiter.mapping, False)  # it goes to the next at once
    return raised


cdef _rouse(loop):
    try:
        loop.call_soon_threadsafe(_nothing)
    except RuntimeError:  # it is closed
        pass


cdef bint _is_stopped(loop) except -1:
    """May it be a while until the loop runs its tasks?"""
    is_running = getattr(loop, "is_running", None)  # trio's run has none: it is over once it ends
    return is_running is not None and not is_running()


cdef object _deliver_elsewhere(loop, list waiters):
    """Returns what a handler of signals has raised meanwhile, or None: they are told all the same, once more if need be."""
    cdef Waiter waiter
    cdef int attempts
    raised = None
    signals = [(<Waiter>waiter).signal for waiter in waiters]
    for attempts in range(10):  # not for ever: a shortage of memory may stay
        try:
            loop.call_soon_threadsafe(_set_all, signals)
            if _is_stopped(loop):  # others are told as well, for whom it may be sooner, and nobody stands behind these
                for waiter in waiters:
                    waiter._leave_line()
                    task_leave(waiter.place, waiter.mapping, False)
            return raised
        except RuntimeError:  # the loop is closed: its tasks will never run again
            break
        except BaseException as error:
            raised = raised or error
    for waiter in waiters:
        waiter._leave_line()
        task_leave(waiter.place, waiter.mapping, False)
        waiter._let_go()
    return raised


# ---- Who a task is

@cython.final
cdef class TaskIdentity:
    """TaskIdentity(name)\n--\n
    What one task goes by where owners are told apart: a token in each arena, as a thread has it. It ends with this object.
    """

    cdef bytes name
    cdef Token private
    cdef dict tokens  # by mapping
    cdef int pid

    def __cinit__(self, str name):
        self.name = name.encode("utf-8", "replace")[:39]
        self.tokens = {}
        self.pid = os.getpid()

    def __dealloc__(self):
        if self.tokens and self.pid == os.getpid():
            for mapping, token in self.tokens.items():
                (<Mapping*><size_t>mapping).end_task(<Token>token)

    cdef Token token_in(self, const Handle& handle) except 0:
        cdef Token token
        cdef const char* text = self.name
        if handle.mapping == NULL:
            if self.private == 0:
                self.private = new_private_token()
            return self.private
        key = <size_t>handle.mapping
        known = self.tokens.get(key)
        if known is not None:
            return known
        _token_in(handle.mapping)  # the thread has one of its own
        token = handle.mapping.register_task(text)
        if token == 0:
            raise ArenaFullError("the arena has no memory left for the record of another task")
        self.tokens[key] = token
        return token
