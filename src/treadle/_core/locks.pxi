# locks.pxi: Lock and RLock, and what is said about the owners of locks.
#
# The two classes repeat each other's short methods on purpose: CPython specialises a call only where the method belongs
# to the exact class, which makes an uncontended acquire a third cheaper.

cdef bint _takes_over(on_owner_death) except -1:
    if on_owner_death == "raise":
        return False
    if on_owner_death == "recover":
        return True
    raise ValueError(f"on_owner_death must be 'raise' or 'recover', not {on_owner_death!r}")


# ---- What is said about the owners of locks

cdef tuple _identity(const Handle& handle, Token owner, uint64_t holder):
    """(pid, thread id, thread or task name, is it a task) of an owner who lives. `holder`: as the lock's body has it."""
    cdef Identity identity
    identify(handle.mapping, owner, holder, identity)
    if handle.mapping == NULL and identity.pid != os.getpid():
        # Held at the fork that made this process, by the thread that forked: now the only one, whose id is the pid.
        identity.pid = identity.tid = os.getpid()
    name = (<bytes>(<char*>identity.name)).decode("utf-8", "ignore")
    if not name and identity.pid == os.getpid():
        name = next((t.name for t in threading.enumerate() if t.native_id == identity.tid), "")
    return identity.pid, identity.tid, name, identity.task


cdef str _holder_text(tuple holder):
    pid, thread_id, name, is_task = holder
    return f"pid {pid} ({'task' if is_task else 'thread'} {name or thread_id})"


# Where a task meets what another task holds, or held when it ended.
cdef str _OF_WAIT_FOR = (
    "asyncio.wait_for() may run a coroutine in a task of its own (before Python 3.12), which then is the owner: "
    "use timeout= instead"
)

cdef str _not_the_holder(tuple holder, bint shared):
    """What the message of a task's release says about who holds the lock; nothing, if nobody does."""
    if holder is None:
        return ""
    who = _holder_text(holder) if shared else "another task, or a thread,"
    return f": {who} holds it, not this task; {_OF_WAIT_FOR}"


cdef bytes _adopted(str label, const Handle& handle, Token dead):
    return (
        f"lock {label!r} was held by {_who(handle, dead, 0)}, which ended; "
        "it was taken over as it is, and what it guards may be half changed"
    ).encode()


# `by_thread`: it is of threads and tasks, not of processes, so that it is inconsistent, too, when one of those has ended.
cdef _raise_inconsistent(str label, const Handle& handle, bint just_found, Token dead, uint64_t holder, bint by_thread):
    cdef Identity identity
    identify(handle.mapping, dead, holder, identity)
    who = _who(handle, dead, holder)
    if identity.task and is_of_living_process(handle, dead) and not is_of_living_thread(handle, dead):
        raise OwnerDiedError(
            f"lock {label!r} was held by {who}; the task ended without releasing it, its process lives; "
            f"call recover() before use. {_OF_WAIT_FOR}"
        )
    if just_found:
        what = f"was held by {who}, which was killed or ended without releasing it"
    elif is_of_living_thread(handle, dead) if by_thread else is_of_living_process(handle, dead):
        what = f"is inconsistent, and {who}, which took it to repair it, gave up"
    else:
        what = f"was held by {who}, which ended, and nobody has repaired it yet"
    raise OwnerDiedError(f"lock {label!r} {what}; call recover() before use")


# ---- Lock and RLock

cdef class _LockState:
    """What Lock and RLock have in common: where their state lies."""

    cdef LockBody* body
    cdef Handle handle
    cdef Retired* retired
    cdef LockBody own  # the state, if it is private
    cdef bint take_over
    cdef TaskLine tasks  # of this process, that wait through this object: served in order
    cdef Token task  # that has taken it by this object, if it is an RLock, latest
    cdef uint32_t releases_owed  # by tasks that do not hold it: see _restore_closed
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.body = &self.own  # a free private lock, until __init__ has run

    def __dealloc__(self):
        drop_object(self.handle)
        drop_retired(self.retired)

    cdef _place(self, bint reentrant, bint shared, label, name, bint persist):
        cdef _Naming named = _named(name, persist, shared)
        cdef bytes text = _label_of(label, name)
        cdef Mapping* mapping
        cdef Handle made
        if shared:
            mapping = _arena_of(named)
            if named is None or not named.found("RLock()" if reentrant else "Lock()", made):
                if not make_lock(mapping, _token_in(mapping), reentrant, text, made):
                    raise _arena_full("a lock", mapping)
                if named is not None:
                    named.publish(made)
            retire(self.handle, self.retired)  # __init__ may be called again
            self.handle = made
            self.body = <LockBody*>body_of(self.handle.block)
        else:
            retire(self.handle, self.retired)
            self.body = &self.own
            copy_label(self.own.label, sizeof(self.own.label), text)

    cdef str _label(self):
        return _text(self.body.label)

    cdef int _taken(self) except -1:
        """What a lock that is more than a word has to do once it is had."""
        return 0

    cdef bint _acquire(self, bint reentrant, int64_t timeout) except -1:
        cdef Token dead = 0
        cdef int result = lock_acquire(
            self.body, self.handle, _token(self.handle), reentrant, timeout, self.take_over, False, &dead
        )
        if result == DONE:
            self._acquired(dead)
            return True
        if result == INTERRUPTED:
            _interrupted()
        _tell()
        if result == TIMEOUT:
            return False
        _raise_inconsistent(self._label(), self.handle, result == OWNER_DIED, dead, self.body.holder, reentrant)

    cdef int _acquired(self, Token dead) except -1:
        """Says who died holding the lock; if that raises, the lock is free again."""
        try:
            self._taken()
            _tell()
            if dead != 0 and self.handle.mapping != NULL:
                PyErr_WarnEx(OwnerDiedWarning, _adopted(self._label(), self.handle, dead), 1)
        except BaseException:
            lock_release(self.body, self.handle)
            _tell()
            raise
        return 0

    # For a task: one attempt, for as which thread or task the token says.
    cdef object _attempt_as(self, Token token, bint reentrant, Waiter waiter):
        cdef Token dead = 0
        cdef int result
        waiter._begin(self.handle)
        doubt_owner(waiter.place, self.body)
        if waiter._joins(self, &self.tasks):
            lock_line_up(self.body, &waiter.wait)
            return _PENDING
        result = lock_attempt(
            self.body, self.handle, token, reentrant, waiter.look, self.take_over, False, &dead, &waiter.wait
        )
        if result == BLOCKED:
            return _PENDING
        if result == DONE:
            self._acquired(dead)
            return True
        _raise_inconsistent(self._label(), self.handle, result == OWNER_DIED, dead, self.body.holder, reentrant)

    # As _take_again, for a task that waits.
    cdef object _attempt_again(self, Token token, bint reentrant, uint32_t recursion, Waiter waiter):
        cdef Token dead = 0
        waiter._begin(self.handle)
        doubt_owner(waiter.place, self.body)
        if waiter._joins(self, &self.tasks):
            lock_line_up(self.body, &waiter.wait)
            return _PENDING
        if BLOCKED == lock_attempt(
            self.body, self.handle, token, reentrant, waiter.look, True, not self.take_over, &dead, &waiter.wait
        ):
            return _PENDING
        self._taken_again(recursion, None, dead)
        return True

    # For a condition's waiter, who must come back with the lock held, as it was, whatever happens meanwhile: what there is
    # to raise is raised after that. If the owner died, the lock is held and marked, and its release leaves it inconsistent.
    # False: the time is up; only for a task that may not wait, since its coroutine is being closed.
    cdef bint _take_again(self, Token token, bint reentrant, uint32_t recursion, int64_t timeout) except -1:
        cdef Token dead = 0
        cdef int result
        interruption = None
        while True:
            result = lock_acquire(self.body, self.handle, token, reentrant, timeout, True, not self.take_over, &dead)
            if result != INTERRUPTED:
                break
            try:
                _interrupted()
            except BaseException as error:
                interruption = interruption or error
        if result == TIMEOUT:
            _tell()
            if interruption is not None:
                raise interruption
            return False
        self._taken_again(recursion, interruption, dead)
        return True

    cdef _taken_again(self, uint32_t recursion, interruption, Token dead):
        self.body.recursion = recursion
        self._taken()
        _tell()
        if interruption is not None:
            raise interruption
        if dead != 0 and self.handle.mapping != NULL:
            if not self.take_over:
                _raise_inconsistent(self._label(), self.handle, True, dead, self.body.holder, True)
            PyErr_WarnEx(OwnerDiedWarning, _adopted(self._label(), self.handle, dead), 1)

    cdef _raise_not_held(self):
        if lock_is_inconsistent(self.body):
            raise RuntimeError(
                f"cannot release lock {self._label()!r}: its owner died, and it is not held; call recover() before use"
            )
        raise RuntimeError("release unlocked lock")

    cdef tuple _holder(self):
        if not lock_is_held(self.body, self.handle):
            return None
        return _identity(self.handle, lock_owner(self.body), self.body.holder)

    cdef _owner(self):
        cdef int64_t since = self.body.since
        cdef tuple holder = self._holder()
        return None if holder is None else _records().Holder(*holder[:3], since / 1e9)

    cdef _statistics(self):
        locked = lock_is_held(self.body, self.handle)
        return _records().LockStatistics(
            label=self._label(),
            shared=self.handle.mapping != NULL,
            locked=locked,
            inconsistent=lock_is_inconsistent(self.body),
            owner=self._owner(),
            recursion=self.body.recursion + 1 if locked else 0,
            waiting=count_waiting(self.handle),
        )

    # The shape is the standard library's, which its own tests check.
    cdef str _describe(self, str name):
        state, by = "unlocked", ""
        if lock_is_inconsistent(self.body):
            state, by = "inconsistent", f", last held by {_who(self.handle, lock_owner(self.body), self.body.holder)}"
        elif lock_is_held(self.body, self.handle):
            state = "locked"
            holder = self._holder()  # not _owner(): a repr must not import anything
            if holder is not None:
                by = f", held by {_holder_text(holder)}"
        storage = "shared" if self.handle.mapping != NULL else "private"
        return f"<{state} treadle.{name} object {self._label()!r} at {<size_t><void*>self:#x}, {storage}{by}>"

    cdef _reduce(self, rebuild, str name):
        if self.handle.mapping == NULL:
            raise TypeError(f"cannot pickle a private treadle.{name}; make it with shared=True")
        return _reduced(self, rebuild, (_ticket_of(self.handle, self), bool(self.take_over)))


cdef class _Recovery:
    """What ``recover()`` returns: see there."""

    cdef _LockState lock
    cdef bint reentrant
    cdef int64_t timeout
    cdef TaskIdentity task  # None: a thread's
    cdef bint marked

    cdef Token _token(self) except 0:
        if self.lock is None:
            raise TypeError("a recovery comes from a lock's recover()")
        return _token(self.lock.handle) if self.task is None else self.task.token_in(self.lock.handle)

    cdef int _check_not_mine(self, Token token) except -1:
        if self.reentrant and lock_is_mine(self.lock.body, token):
            who = "thread" if self.task is None else "task"
            raise RuntimeError(f"this {who} holds lock {self.lock._label()!r}: there is nothing to recover it from")
        return 0

    cdef object _had(self, Token token, Token dead):
        self.marked = dead != 0 and self.lock.handle.mapping != NULL
        try:
            self.lock._taken()
            _tell()
        except BaseException:  # as where the block raises
            lock_abandon(self.lock.body, self.lock.handle, token)
            _tell()
            raise
        return bool(self.marked)

    def __enter__(self):
        cdef Token token = self._token(), dead = 0
        cdef _LockState lock = self.lock
        cdef int result
        self._check_not_mine(token)
        result = lock_acquire(lock.body, lock.handle, token, self.reentrant, self.timeout, True, True, &dead)
        if result == INTERRUPTED:
            _interrupted()
        if result == TIMEOUT:
            self._too_late()
        return self._had(token, dead)

    # For a task.

    def _attempt(self, Waiter waiter not None):
        cdef Token token = self._token(), dead = 0
        cdef _LockState lock = self.lock
        self._check_not_mine(token)
        waiter._begin(lock.handle)
        doubt_owner(waiter.place, lock.body)
        if waiter._joins(lock, &lock.tasks):
            lock_line_up(lock.body, &waiter.wait)
            return _PENDING
        if BLOCKED == lock_attempt(
            lock.body, lock.handle, token, self.reentrant, waiter.look, True, True, &dead, &waiter.wait
        ):
            return _PENDING
        return self._had(token, dead)

    def _give_up(self):
        pass

    def _too_late(self):
        self._token()
        raise TimeoutError(f"lock {self.lock._label()!r} could not be had for its recovery in time")

    def __exit__(self, kind, error, trace):
        cdef _LockState lock = self.lock
        cdef Token token
        if lock is None:
            return
        token = self._token()
        if self.marked and kind is None:
            if lock_restore(lock.body, token) != DONE:
                raise RuntimeError(f"lock {lock._label()!r} was released during its recovery; it stays inconsistent")
        elif lock_abandon(lock.body, lock.handle, token) != DONE and kind is None:
            lock._raise_not_held()
        _tell()


cdef _Recovery _recovery(_LockState lock, bint reentrant, timeout, TaskIdentity task=None):
    cdef _Recovery recovery = _Recovery.__new__(_Recovery)
    recovery.task = task
    recovery.lock = lock
    recovery.reentrant = reentrant
    recovery.timeout = _lock_timeout(True, timeout)
    return recovery


cdef class Lock(_LockState):
    """Lock(*, shared=True, name=None, persist=False, on_owner_death='raise', label=None)\n--\n
    A mutual-exclusion lock, for threads and processes.

    Any thread may release it, as with ``threading.Lock``. It is not fair: a running thread may get it before one that
    is being woken. If the process that holds it ends, the lock is *inconsistent*: ``acquire`` raises OwnerDiedError for
    everybody until somebody recovers it; with ``on_owner_death="recover"`` acquire succeeds instead, and an
    OwnerDiedWarning says who died. That is an option of the handle, and not of the lock: it is pickled with the handle,
    but who opens the same name without it gets the error.

    shared: whether the state lies in shared memory, so that the lock can be pickled and used from other processes.
    name: opens the lock that has this name, or makes it: unrelated programs of one user meet at it. It is gone when its
    last user has ended; persist: it stays, until ``treadle.unlink(name)``. HandleError if the name is that of something
    else. label: what reports call it; by default the name, or the module and line that made it.

    >>> import treadle
    >>> lock = treadle.Lock()
    >>> with lock:
    ...     lock.locked()
    True
    """

    def __init__(self, *, shared=True, name=None, persist=False, on_owner_death="raise", label=None):
        self.take_over = False if on_owner_death == "raise" else _takes_over(on_owner_death)
        self._place(False, shared, label, name, persist)

    def acquire(self, blocking=True, timeout=-1):
        """Takes the lock; returns whether it was had.

        timeout: in seconds, -1 waits for ever. Raises OwnerDiedError if the owner died holding it.

        >>> import treadle
        >>> lock = treadle.Lock()
        >>> lock.acquire(), lock.acquire(timeout=0.01), lock.acquire(blocking=False)
        (True, False, False)
        """
        if blocking is True and timeout is _DEFAULT_TIMEOUT:
            if lock_try(self.body, _token(self.handle)):
                return True
            return self._acquire(False, FOREVER)
        cdef int64_t ns = _lock_timeout(blocking, timeout)
        if lock_try(self.body, _token(self.handle)):
            return True
        return self._acquire(False, ns)

    def release(self):
        """Frees the lock, whoever holds it. Raises RuntimeError if nobody does.

        >>> import treadle
        >>> treadle.Lock().release()
        Traceback (most recent call last):
        ...
        RuntimeError: release unlocked lock
        """
        if lock_release(self.body, self.handle) != DONE:
            self._raise_not_held()
        _tell()

    def __enter__(self):
        if lock_try(self.body, _token(self.handle)):
            return True
        return self._acquire(False, FOREVER)

    def __exit__(self, kind, error, trace):
        if lock_release(self.body, self.handle) != DONE:
            self._raise_not_held()
        _tell()

    def __aenter__(self):
        return self.aio.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self.aio.__aexit__(kind, error, trace)

    def locked(self):
        """Returns whether somebody holds the lock, at this instant.

        >>> import treadle
        >>> treadle.Lock().locked()
        False
        """
        return lock_is_held(self.body, self.handle)

    def recover(self, timeout=-1):
        """Returns a context manager that takes the lock even if its owner died, to repair what it guards.

        It yields True if that is needed, False if the lock was consistent (perhaps somebody else has repaired it by
        now). When the block ends well, the lock is consistent and free; when it raises, it stays inconsistent.

        timeout: in seconds, -1 waits for ever; TimeoutError.

        >>> import treadle
        >>> with treadle.Lock().recover() as needed:
        ...     needed
        False
        """
        return _recovery(self, False, timeout)

    @property
    def owner(self):
        """Who holds the lock: a ``Holder``, or None.

        >>> import treadle, os
        >>> lock = treadle.Lock()
        >>> with lock:
        ...     lock.owner.pid == os.getpid()
        True
        """
        return self._owner()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.Lock(label="jobs").label
        'jobs'
        """
        return self._label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Lock(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Lock(name="lock of the books").name
        'lock of the books'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``LockStatistics``.

        >>> import treadle
        >>> treadle.Lock().statistics().locked
        False
        """
        return self._statistics()

    @property
    def aio(self):
        """The same lock for tasks of event loops: a ``treadle.aio.Lock``.

        Tasks are served in order among themselves, but not before threads: who releases the lock and takes it again at
        once is faster than a task that is being woken. Beside threads that do nothing else, a task may wait for seconds.

        >>> import asyncio, treadle
        >>> lock = treadle.Lock()
        >>> async def main():
        ...     async with lock.aio:
        ...         return lock.locked()
        >>> asyncio.run(main())
        True
        """
        return _aio().Lock(self)

    def _waiting_tasks(self):
        return self.tasks.count()

    def _try(self):
        return self.tasks.count() == 0 and lock_try(self.body, _token(self.handle))

    def _attempt(self, Waiter waiter not None):
        return self._attempt_as(_token(self.handle), False, waiter)

    def _attempt_restore(self, saved, Waiter waiter not None):
        return self._attempt_again(_token(self.handle), False, 0, waiter)

    def _recovery_for_task(self):
        return _recovery(self, False, -1)

    # A task's coroutine that is closed while it waits for a condition cannot wait for the lock again. It will come by
    # _release_for_task all the same: the lock is nobody's in particular, so that one is passed over, whosever it is.
    def _restore_closed(self):
        if not self._take_again(_token(self.handle), False, 0, 0):
            self.releases_owed += 1

    def _release_for_task(self):
        if self.releases_owed != 0:
            self.releases_owed -= 1
        elif lock_release(self.body, self.handle) != DONE:
            self._raise_not_held()
        _tell()

    # What the standard library's Condition asks of a lock.

    def _is_owned(self):
        return lock_is_held(self.body, self.handle)

    def _release_save(self):
        self.release()

    def _acquire_restore(self, saved):
        self._take_again(_token(self.handle), False, 0, FOREVER)

    def _at_fork_reinit(self):
        lock_reinitialise(self.body)

    def __repr__(self):
        return self._describe("Lock")

    def __reduce__(self):
        return self._reduce(_rebuild_lock, "Lock")


cdef class RLock(_LockState):
    """RLock(*, shared=True, name=None, persist=False, on_owner_death='raise', label=None)\n--\n
    A lock that the thread which holds it may acquire again; it is free after as many releases.

    As Lock, but only its owner may release it; and its owner is the thread, so that a shared one counts as dead when
    the thread ends, even if its process lives on. (A private one stays held, as in the standard library.)

    >>> import treadle
    >>> lock = treadle.RLock()
    >>> with lock, lock:
    ...     lock.statistics().recursion
    2
    """

    def __init__(self, *, shared=True, name=None, persist=False, on_owner_death="raise", label=None):
        self.take_over = False if on_owner_death == "raise" else _takes_over(on_owner_death)
        self._place(True, shared, label, name, persist)

    def acquire(self, blocking=True, timeout=-1):
        """Takes the lock, or takes it once more; returns whether it was had.

        timeout: in seconds, -1 waits for ever. Raises OwnerDiedError if the owner died holding it.

        >>> import treadle
        >>> lock = treadle.RLock()
        >>> lock.acquire(), lock.acquire()
        (True, True)
        """
        if blocking is True and timeout is _DEFAULT_TIMEOUT:
            if rlock_try(self.body, _token(self.handle)):
                return True
            return self._acquire(True, FOREVER)
        cdef int64_t ns = _lock_timeout(blocking, timeout)
        if rlock_try(self.body, _token(self.handle)):
            return True
        return self._acquire(True, ns)

    def release(self):
        """Undoes one acquire. Raises RuntimeError if this thread does not hold the lock.

        >>> import treadle
        >>> treadle.RLock().release()
        Traceback (most recent call last):
        ...
        RuntimeError: cannot release un-acquired lock
        """
        if rlock_release(self.body, self.handle, _token(self.handle)) != DONE:
            raise RuntimeError("cannot release un-acquired lock")
        _tell()

    def __enter__(self):
        if rlock_try(self.body, _token(self.handle)):
            return True
        return self._acquire(True, FOREVER)

    def __exit__(self, kind, error, trace):
        if rlock_release(self.body, self.handle, _token(self.handle)) != DONE:
            raise RuntimeError("cannot release un-acquired lock")
        _tell()

    def __aenter__(self):
        return self.aio.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self.aio.__aexit__(kind, error, trace)

    def locked(self):
        """Returns whether somebody holds the lock, at this instant.

        >>> import treadle
        >>> treadle.RLock().locked()
        False
        """
        return lock_is_held(self.body, self.handle)

    def recover(self, timeout=-1):
        """Returns a context manager that takes the lock even if its owner died: as ``Lock.recover``.

        >>> import treadle
        >>> with treadle.RLock().recover() as needed:
        ...     needed
        False
        """
        return _recovery(self, True, timeout)

    @property
    def owner(self):
        """Who holds the lock: a ``Holder``, or None.

        >>> import treadle
        >>> treadle.RLock().owner
        """
        return self._owner()

    @property
    def label(self):
        """What reports call it.

        >>> import treadle
        >>> treadle.RLock(label="jobs").label
        'jobs'
        """
        return self._label()

    @property
    def shared(self):
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.RLock(shared=False).shared
        False
        """
        return self.handle.mapping != NULL

    @property
    def name(self):
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.RLock(name="rlock of the books").name
        'rlock of the books'
        """
        return _name_of(self.handle)

    def statistics(self):
        """Returns a ``LockStatistics``.

        >>> import treadle
        >>> treadle.RLock().statistics().recursion
        0
        """
        return self._statistics()

    @property
    def aio(self):
        """The same lock for tasks of event loops: a ``treadle.aio.RLock``, held by the task, not by its thread.

        Threads that take it again and again keep tasks waiting, as with ``Lock.aio``.

        >>> import asyncio, treadle
        >>> lock = treadle.RLock()
        >>> async def main():
        ...     async with lock.aio, lock.aio:
        ...         return lock.statistics().recursion
        >>> asyncio.run(main())
        2
        """
        return _aio().RLock(self)

    # For a task: `identity` is what it goes by (tasks.pxi).

    def _waiting_tasks(self):
        return self.tasks.count()

    def _attempt_by(self, TaskIdentity identity not None, Waiter waiter not None):
        cdef Token token = identity.token_in(self.handle)
        # Only when it comes, and nobody stands in line: a task that has parked leaves the mark of waiters to those behind it.
        if (
            waiter.lined_up_at is None
            and (self.tasks.count() == 0 or lock_is_mine(self.body, token))
            and rlock_try(self.body, token)
        ):
            self.task = token
            return True
        attempted = self._attempt_as(token, True, waiter)
        if attempted is not _PENDING:
            self.task = token
        return attempted

    def _release_by(self, TaskIdentity identity not None):
        if rlock_release(self.body, self.handle, identity.token_in(self.handle)) != DONE:
            if lock_is_inconsistent(self.body):
                self._raise_not_held()
            who = _not_the_holder(self._holder(), self.handle.mapping != NULL)
            raise RuntimeError(f"cannot release un-acquired lock {self._label()!r}{who}")
        _tell()

    def _is_owned_by(self, TaskIdentity identity not None):
        return lock_is_mine(self.body, identity.token_in(self.handle))

    def _release_save_by(self, TaskIdentity identity not None):
        cdef uint32_t recursion = self.body.recursion
        if not lock_is_mine(self.body, identity.token_in(self.handle)):
            raise RuntimeError("cannot release un-acquired lock")
        self.body.recursion = 0
        lock_release(self.body, self.handle)
        _tell()
        return recursion

    def _attempt_restore_by(self, TaskIdentity identity not None, uint32_t recursion, Waiter waiter not None):
        cdef Token token = identity.token_in(self.handle)
        try:
            return self._attempt_again(token, True, recursion, waiter)
        finally:
            if lock_is_mine(self.body, token):
                self.task = token

    def _recovery_by(self, TaskIdentity identity not None):
        return _recovery(self, True, -1, identity)

    # A task's coroutine that is closed runs in no task: who leaves the lock is told by who has come to it. If it was closed in a
    # condition's wait, and another has the lock, its own exits, which follow at once, are passed over.
    def _restore_closed_by(self, TaskIdentity identity not None, uint32_t recursion):
        cdef Token token = identity.token_in(self.handle)
        if self._take_again(token, True, recursion, 0):
            self.task = token
        else:
            self.releases_owed += recursion + 1

    def _exit_closed(self):
        if self.releases_owed != 0:
            self.releases_owed -= 1
        elif rlock_release(self.body, self.handle, self.task) == DONE:
            _tell()

    # What the standard library's Condition asks of a lock.

    def _is_owned(self):
        return lock_is_mine(self.body, _token(self.handle))

    def _release_save(self):
        cdef uint32_t recursion = self.body.recursion
        if not lock_is_mine(self.body, _token(self.handle)):
            raise RuntimeError("cannot release un-acquired lock")
        self.body.recursion = 0
        lock_release(self.body, self.handle)
        _tell()
        return recursion

    def _acquire_restore(self, recursion):
        self._take_again(_token(self.handle), True, recursion, FOREVER)

    def _recursion_count(self):
        return self.body.recursion + 1 if lock_is_mine(self.body, _token(self.handle)) else 0

    def _at_fork_reinit(self):
        lock_reinitialise(self.body)

    def __repr__(self):
        return self._describe("RLock")

    def __reduce__(self):
        return self._reduce(_rebuild_rlock, "RLock")


def _rebuild_lock(of, ticket, take_over):
    cdef Lock lock = of.__new__(of)
    _attach(ticket, "lock", KIND_LOCK, &lock.handle)
    lock.body = <LockBody*>body_of(lock.handle.block)
    lock.take_over = take_over
    return lock


def _rebuild_rlock(of, ticket, take_over):
    cdef RLock lock = of.__new__(of)
    _attach(ticket, "lock", KIND_RLOCK, &lock.handle)
    lock.body = <LockBody*>body_of(lock.handle.block)
    lock.take_over = take_over
    return lock
