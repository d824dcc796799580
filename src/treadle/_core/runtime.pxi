# runtime.pxi: this process's arena, thread identities, labels, handles in pickles, and the errors that all objects share.

import os
import sys
import threading
import time
from _collections import deque
from _operator import index as _whole
from _weakref import ref as _weak_reference

from treadle._errors import (
    ArenaFullError,
    Empty,
    Full,
    HandleError,
    ItemError,
    OwnerDiedError,
    OwnerDiedWarning,
    ShutDown,
)

cdef object _DEFAULT_TIMEOUT = -1  # compared by identity: the default that nobody passed
cdef object _ONE = 1  # compared by identity, too
cdef double _TIMEOUT_MAX = threading.TIMEOUT_MAX
cdef uint64_t _arena_limit = 0  # 0: not decided yet


def _install():
    """Installs the at-fork handlers; once, when the module is imported."""
    Mapping.install()
    install_private_threads()
    install_tasks()
    os.register_at_fork(after_in_child=forget_pickled)  # the parent keeps them
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


# ---- Modules that not every program needs

cdef object _importing = threading.RLock()
cdef dict _imported = {}


def import_lazily(str name):
    """Returns a module, imported by the first call: what would make ``import treadle`` slow is left for those who use it.

    No fork falls into such an import: in the child a module that another thread was importing would never be complete,
    and whoever imports it again would wait for that thread for ever.
    """
    module = _imported.get(name)
    if module is None:
        with _importing:
            __import__(name)
        _imported[name] = module = sys.modules[name]
    return module


cdef object _aio():
    return import_lazily("treadle.aio")


cdef object _records():
    return import_lazily("treadle._records")


# ---- The arena

cdef uint64_t _granted_memory():
    """What the machine, or this process's control group, grants, in bytes."""
    granted = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/proc/self/cgroup") as groups:
            path = next((line.split(":", 2)[2].strip() for line in groups if line.startswith("0::")), "/")
        for folder in (f"/sys/fs/cgroup{path}", "/sys/fs/cgroup"):
            try:
                with open(f"{folder}/memory.max") as file:
                    text = file.read().strip()
            except OSError:
                continue
            if text != "max":
                granted = min(granted, int(text))
    except (OSError, ValueError, IndexError):
        pass
    return granted


cdef uint64_t _limit() except 0:
    global _arena_limit
    if _arena_limit == 0:
        text = os.environ.get("TREADLE_ARENA_LIMIT")
        if text is None:
            _arena_limit = max(_granted_memory() // 2, 1 << 20)
        else:
            try:
                size = int(text)
            except ValueError:
                raise ValueError(f"TREADLE_ARENA_LIMIT must be a number of bytes, not {text!r}") from None
            _arena_limit = _checked_limit(size)
    return _arena_limit


cdef uint64_t _checked_limit(size) except 0:
    if size < 1 << 20:
        raise ValueError(f"the arena's limit must be at least 1 MiB (1048576), not {size}")
    return min(size, CAPACITY)


cdef Mapping* _home() except NULL:
    """The arena that this process makes its objects in, made by the first of them."""
    cdef Mapping* mapping = Mapping.home()
    cdef uint64_t limit
    if _in_transit or _arrived:
        _let_go(LOOKS)
    if mapping == NULL:
        limit = _limit()
        with nogil:
            mapping = Mapping.make_home(limit)
        if mapping == NULL:
            raise ArenaFullError(
                "the shared arena cannot be made: it takes 64 GiB of address space, a file descriptor, and memory as it is "
                "used; does a limit (ulimit -v, ulimit -n) forbid one of them?"
            )
    if not mapping.member():
        raise _no_member()
    return mapping


cdef _no_member():
    return HandleError(
        "this process has no place in the arena that it was forked with: the arena had no memory or the parent no file "
        "descriptor left for it, or it has entered another pid or time namespace; mend that in the parent, then fork again"
    )


def arena_statistics():
    """Returns an ``ArenaStatistics`` of the arena that this process makes its shared objects in.

    An arena comes into being with the first shared object; before that all figures but the limit are 0.

    >>> import treadle
    >>> treadle.arena_statistics().limit > 0
    True
    """
    cdef ArenaFigures figures
    if Mapping.home() == NULL:
        return _records().ArenaStatistics(limit=_limit(), backed=0, used=0, blocks=0, rebuilds=0)
    arena_figures(Mapping.home(), figures)
    return _records().ArenaStatistics(
        limit=figures.limit,
        backed=figures.backed,
        used=figures.used,
        blocks=figures.blocks,
        rebuilds=figures.rebuilds,
    )


def set_arena_limit(size):
    """Sets how many bytes of memory the arena may take, for all processes that share it.

    The default is half of what the machine or its control group grants, or what the environment variable
    ``TREADLE_ARENA_LIMIT`` says. A limit below what is in use stops growth; it frees nothing.

    Raises ValueError if it is less than 1 MiB.

    >>> import treadle
    >>> limit = treadle.arena_statistics().limit
    >>> treadle.set_arena_limit(1 << 30)
    >>> treadle.arena_statistics().limit
    1073741824
    >>> treadle.set_arena_limit(limit)
    """
    global _arena_limit
    _arena_limit = _checked_limit(_whole(size))
    if Mapping.home() != NULL:
        native_set_arena_limit(Mapping.home(), _arena_limit)


def sweep():
    """Frees what processes that died had in this process's arenas; returns how many there were.

    treadle does this by itself, at most once a second, where objects are made, and before it reports that
    memory is short.

    >>> import treadle
    >>> found = treadle.sweep()
    >>> treadle.sweep()  # nobody has died since
    0
    """
    cdef Mapping* mapping = Mapping.first()
    cdef uint32_t removed = 0
    _let_go(len(_in_transit))
    while mapping != NULL:
        if mapping.member():
            removed += _sweep(mapping)
        mapping = mapping.next()
    return removed


# The interpreter is free meanwhile: the arena's section may be held by a process that the system does not let run.
cdef uint32_t _sweep(Mapping* mapping):
    cdef uint32_t removed
    with nogil:
        removed = mapping.sweep()
    return removed


# ---- Threads

cdef Token _register(Mapping* mapping) except 0:
    if not mapping.member():
        raise _no_member()
    try:
        name = threading.current_thread().name.encode("utf-8", "replace")[:39]
    except Exception:  # at the interpreter's end
        name = b""
    cdef Token token = 0
    cdef const char* text = name
    with nogil:
        token = mapping.register_thread(text)
        if token == 0 and mapping.sweep() != 0:
            token = mapping.register_thread(text)
    if token == 0:
        raise ArenaFullError("the arena has no memory left for the record of another thread")
    return token


cdef inline Token _token(const Handle& handle) except 0:
    cdef Token token
    if handle.mapping == NULL:
        return private_token()
    token = handle.mapping.token()
    return token if token != 0 else _register(handle.mapping)


cdef inline Token _token_in(Mapping* mapping) except 0:
    cdef Token token = mapping.token()
    return token if token != 0 else _register(mapping)


# ---- Labels

cdef dict _call_sites = {}


def call_site(depth=1):
    """Returns ``module:line`` of the caller's caller, as bytes: an object's label when none is given."""
    return _site_of(sys._getframe(depth))


cdef bytes _site_of(frame):
    cdef bytes site
    key = (frame.f_code, frame.f_lasti)
    found = _call_sites.get(key)
    if found is not None:
        return <bytes>found
    module = frame.f_globals.get("__name__", "?")
    site = f"{module}:{frame.f_lineno}".encode("utf-8", "replace")[-35:]
    if len(_call_sites) > 10_000:  # code made at run time must not pile up here
        _call_sites.clear()
    _call_sites[key] = site
    return site


cdef bytes _label(label):
    # Cython functions have no frame of their own: depth 0 is whoever called the constructor.
    if label is None:
        try:
            return _site_of(sys._getframe(0))
        except ValueError:  # called from C, without any Python frame
            return b"?"
    if type(label) is bytes:
        return label
    if not isinstance(label, str):
        raise TypeError(f"label must be a str, not {type(label).__name__}")
    return label.encode("utf-8", "replace")[:35]


# A text that was cut to its room may have been cut within a character.
cdef str _text(const char* label):
    return (<bytes>label).decode("utf-8", "ignore")


# ---- Time

cdef int64_t _nanoseconds(double seconds) except? -2:
    if seconds != seconds:
        raise ValueError("timeout must be a number, not nan")
    if seconds > _TIMEOUT_MAX:
        raise OverflowError(f"timeout must be at most threading.TIMEOUT_MAX ({_TIMEOUT_MAX:.0f} s)")
    return <int64_t>ceil(seconds * 1e9)  # a wait is never shorter than it was asked for


cdef int64_t _lock_timeout(blocking, timeout) except? -2:
    """The timeout of ``acquire(blocking, timeout)``, where -1 is for ever."""
    cdef double seconds
    if timeout is _DEFAULT_TIMEOUT:
        return FOREVER if blocking else 0
    seconds = timeout
    if not blocking:
        if seconds != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0
    if seconds == -1:
        return FOREVER
    if seconds < 0:
        raise ValueError("timeout value must be a non-negative number")
    return _nanoseconds(seconds)


cdef int64_t _optional_timeout(timeout) except? -2:
    """A timeout of which None is for ever, and a negative one none at all."""
    cdef double seconds
    if timeout is None:
        return FOREVER
    seconds = timeout
    return _nanoseconds(seconds) if seconds > 0 else (0 if seconds == seconds else _nanoseconds(seconds))


# ---- Handles in pickles

cdef tuple _reduced(object self, object rebuild, tuple arguments):
    """What ``__reduce__`` returns: with the class, which may be a subclass, and what the instance carries besides."""
    state = getattr(self, "__dict__", None)
    if state:
        return rebuild, (type(self), *arguments), state
    return rebuild, (type(self), *arguments)


cdef _attach(bytes text, str what, int kind, Handle* handle):
    """Reaches the object that a ticket names; raises HandleError where that cannot be."""
    cdef Ticket ticket
    cdef AttachFailure failure = ATTACHED
    cdef Mapping* mapping
    if len(text) != sizeof(Ticket):
        raise HandleError(f"this {what}'s handle is damaged: it has {len(text)} bytes, not {sizeof(Ticket)}")
    memcpy(&ticket, <const char*>text, sizeof(Ticket))
    if ticket_check(ticket) != ticket.check:
        raise HandleError(f"this {what}'s handle is damaged: its bytes were changed")
    if ticket.kind != <uint32_t>kind:
        raise HandleError(f"this is no {what}'s handle, but that of something else")
    with nogil:
        mapping = reach_arena(ticket, failure)
    if mapping == NULL and ticket.creator_pid == 0:
        mapping = _reach_names(ticket)
    if mapping == NULL:
        raise HandleError(_reason(failure, ticket, what))
    if mapping.named():
        leave_at_exit()
    failure = attach_object(mapping, _token_in(mapping), ticket, <Kind>kind, handle[0])
    if failure == ATTACH_FULL and _sweep(mapping) != 0:
        failure = attach_object(mapping, _token_in(mapping), ticket, <Kind>kind, handle[0])
    if failure == ATTACH_FULL:
        raise ArenaFullError(f"the arena has no memory left for another handle of this {what}")
    if failure != ATTACHED:
        raise HandleError(
            f"the {what} of this handle is gone: the last process that held it has dropped it; "
            "keep it alive until the handle has arrived"
        )


cdef Mapping* _reach_names(const Ticket& ticket) except? NULL:
    """The arena of names, if it is the one that the ticket is of; NULL: it is not there any more."""
    cdef NamedFailure failure
    _open_names(False, &failure)
    return find_arena(ticket)


cdef str _reason(AttachFailure failure, const Ticket& ticket, str what):
    if failure == OTHER_VERSION:
        return f"this {what} is of a treadle with another memory layout; run one version in all processes"
    if failure == OTHER_NAMESPACE:
        return f"this {what} belongs to processes of another pid or time namespace (container), which cannot be joined"
    if failure == ATTACH_FULL:
        return f"the arena of this {what} has no memory left for another process"
    if ticket.creator_pid == 0:
        return f"the arena of names that this {what} lay in is gone: all who used it have ended"
    return (
        f"the arena of this {what} cannot be reached: pid {ticket.sender_pid}, which sent the handle, and "
        f"pid {ticket.creator_pid}, which made the arena, have ended or are not this user's"
    )


# ---- What all objects raise

cdef int _interrupted() except -1:
    """Hands on the exception that a signal's handler has set, once the tasks are told that this call may have woken."""
    cdef object error = _take_error()
    _tell()
    raise error


cdef object _take_error():
    try:
        _raise_set()
    except BaseException as error:
        return error


cdef int _raise_set() except -1:
    return -1

cdef _arena_full(str what, Mapping* mapping=NULL):
    if mapping != NULL and mapping.named():
        return ArenaFullError(
            f"no room for {what}: the arena of names has reached its limit, or the file system of {names_path()} is full; "
            "treadle ls shows what lies in it"
        )
    return ArenaFullError(
        f"no room for {what}: the arena has reached its limit of {arena_statistics().limit} bytes; "
        "free something, or raise it with treadle.set_arena_limit()"
    )


cdef str _who(const Handle& handle, Token token, uint64_t holder):
    cdef Identity identity
    identify(handle.mapping, token, holder, identity)
    if identity.pid == 0:
        return "a process no longer on record" if handle.mapping != NULL else "a thread that a fork has left behind"
    name = (<bytes>(<char*>identity.name)).decode("utf-8", "ignore")
    kind = "task" if identity.task else "thread"
    return f"pid {identity.pid} ({kind} {name or identity.tid})" if name or identity.tid else f"pid {identity.pid}"
