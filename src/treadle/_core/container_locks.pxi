# container_locks.pxi: the lock of a Dict or a List, whose word lies in the container itself (map/section.hpp), and whoever waits
# behind it.

cdef Token _token_behind_lock(const Handle& handle, Token token, str what, const char* label) except 0:
    """What to go by where somebody else seems to hold a container's lock: it may be the task that calls."""
    loops = _modules.get("treadle.aio._loops")  # without it no task holds anything
    identity = None if loops is None else loops.identity_of_caller()
    if identity is not None:
        token = (<TaskIdentity?>identity).token_in(handle)
    if map_locked_against(handle, token) and map_locked_by_task_here(handle):
        raise RuntimeError(
            f"a task of this thread's event loop holds the lock of {what} {_text(label)!r}: to wait for it here "
            "would be to wait for ever; take it by its .aio first"
        )
    return token


@cython.final
@cython.internal
cdef class _ContainerLock(RLock):
    """What ``Dict.lock()`` and ``List.lock()`` return."""

    cdef bint of_list

    def __init__(self):
        raise TypeError("the lock of a Dict or a List comes from its lock()")

    cdef int _taken(self) except -1:
        """Waits for the writers that are inside: those who come see the lock."""
        if self.of_list:
            list_pass(self.handle)
        else:
            map_pass(self.handle)
        return 0

    def acquire(self, blocking=True, timeout=-1):
        """As ``RLock.acquire``."""
        had = RLock.acquire(self, blocking, timeout)
        if had:
            self._taken()
        return had

    def __enter__(self):
        RLock.__enter__(self)
        self._taken()
        return True

    def _attempt_by(self, TaskIdentity identity not None, Waiter waiter not None):
        attempted = RLock._attempt_by(self, identity, waiter)
        if attempted is not _PENDING:
            self._taken()
        return attempted

    def __reduce__(self):
        return _rebuild_container_lock, (_ticket_of(self.handle, self), self.of_list)


cdef _container_lock(const Handle& of, bint of_list):
    cdef _ContainerLock lock = _ContainerLock.__new__(_ContainerLock)
    if not share_handle(of, _token(of), lock.handle):
        raise _arena_full(f"another handle of a {'list' if of_list else 'dict'}", of.mapping)
    return _of_container(lock, of_list)


def _rebuild_container_lock(bytes ticket, bint of_list):
    cdef _ContainerLock lock = _ContainerLock.__new__(_ContainerLock)
    _attach(ticket, "list" if of_list else "dict", KIND_LIST if of_list else KIND_MAP, &lock.handle)
    return _of_container(lock, of_list)


cdef _of_container(_ContainerLock lock, bint of_list):
    lock.body = map_lock_of(lock.handle)
    lock.take_over = True
    lock.of_list = of_list
    return lock
