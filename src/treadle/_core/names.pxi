# names.pxi: objects that unrelated programs of one user find by name. They lie in an arena of their own, which has a path.

# ---- The arena of names

def names_path():
    """Returns the path of the file in which the user's named objects lie; it need not exist."""
    folder = os.environ.get("TREADLE_NAMES_DIR")
    if not folder:
        # Where memory is what it is made of; else where every program of the user looks for it, too.
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK, effective_ids=True) else "/tmp"
    elif not os.path.isabs(folder):
        raise ValueError(f"TREADLE_NAMES_DIR must be an absolute path, not {folder!r}")
    return f"{folder}/treadle-{os.geteuid()}"


cdef Mapping* _open_names(bint make, NamedFailure* failure) except? NULL:
    """The arena of names; NULL: there is none, and none was to be made."""
    cdef bytes path = os.fsencode(names_path())
    cdef const char* text = path
    cdef uint64_t limit = _limit()
    cdef Mapping* mapping
    if _in_transit:
        _let_go(LOOKS)
    while True:
        mapping = open_named_arena(text, limit, make, failure[0])
        if mapping != NULL or failure.error != NAMES_INTERRUPTED:
            break
        PyErr_CheckSignals()
    if mapping == NULL and failure.error != NAMES_ABSENT:
        raise _names_error(failure[0], os.fsdecode(path))
    if mapping != NULL and not mapping.member():
        raise _no_member()
    return mapping


cdef Mapping* _names() except NULL:
    cdef NamedFailure failure
    cdef Mapping* mapping = _open_names(True, &failure)
    if mapping == NULL:  # not with make=True
        raise HandleError(f"{names_path()} vanished while it was opened")
    return mapping


cdef _names_error(const NamedFailure& failure, str path):
    cdef NamedError error = failure.error
    cdef Refusal why = failure.refused.why
    what = f"{path}, where this user's named objects lie,"
    if error == NAMES_REFUSED:
        if why == SYMBOLIC_LINK:
            reason = "is a symbolic link, which another user could have laid there"
        elif why == NOT_REGULAR:
            reason = "is no regular file"
        elif why == FOREIGN:
            reason = "belongs to another user"
        elif why == EXPOSED:
            reason = "lets other users in by its mode"
        elif why == HARD_LINKED:
            reason = "has a second name, by which others may reach it"
        else:
            return HandleError(
                f"{what} cannot be opened: {os.strerror(failure.refused.error)}; "
                "mend that, or set TREADLE_NAMES_DIR to a folder that can be written"
            )
        return HandleError(f"{what} {reason}; remove it, or set TREADLE_NAMES_DIR to a folder of your own")
    if error == NAMES_NOT_AN_ARENA:
        return HandleError(f"{what} holds something else; remove it, or set TREADLE_NAMES_DIR to another folder")
    if error == NAMES_DAMAGED:
        return HandleError(f"{what} was cut short, and what was in it is lost; remove it")
    if error == NAMES_OTHER_VERSION:
        return HandleError(
            f"{what} is of a treadle with another memory layout; run one version in all programs, or end those of the "
            "other one and remove the file, with what persists in it"
        )
    if error == NAMES_OTHER_NAMESPACE:
        return HandleError(
            f"{what} is in use by processes of another pid or time namespace (container), which cannot be joined; "
            "set TREADLE_NAMES_DIR to another folder in one of them"
        )
    if error == NAMES_FULL:
        return ArenaFullError(f"{what} has no memory left for another process")
    return HandleError(
        f"{what} cannot be made or joined: it takes 64 GiB of address space, a few file descriptors (ulimit -n), a file "
        "system with file locks, and memory as it is used; see treadle doctor"
    )


# ---- Opening

cdef enum:
    NAME_ROOM = 200  # bytes of a user's name; a part's suffix comes on top

cdef bytes _checked_name(name):
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    try:
        text = (<str>name).encode()
    except UnicodeEncodeError:
        raise ValueError(f"name {name!r} cannot be written in UTF-8") from None
    if not text:
        raise ValueError("name must not be empty")
    if len(text) > NAME_ROOM:
        raise ValueError(f"name must have at most {NAME_ROOM} bytes of UTF-8, not {len(text)}")
    if name[0] == ".":
        raise ValueError(f"name {name!r} must not begin with a dot")
    for character in name:
        if character == "/":
            raise ValueError(f"name {name!r} must not contain a slash: names have no folders")
        if character < " " or "\x7f" <= character <= "\x9f":
            raise ValueError(f"name {name!r} must not contain control characters")
    return text


@cython.final
cdef class _Naming:
    """A name to open an object by: ``found`` it, or make one and ``publish`` it."""

    cdef Mapping* mapping
    cdef bytes text
    cdef bytes description
    cdef bint persist

    cdef bint found(self, str description, Handle& handle) except -1:
        """Refers to the object that has the name already. Raises HandleError if it is not what is described."""
        cdef NameOutcome outcome
        cdef bytes text = description.encode()
        self.description = text
        if len(text) > LONGEST_DESCRIPTION:
            raise ValueError(f"the parameters of a named object take at most {LONGEST_DESCRIPTION} bytes, not {len(text)}")
        sweep_name(self.mapping, _token_in(self.mapping), _text_of(self.text))
        return self._open(NULL, handle) == NAME_FOUND

    cdef publish(self, Handle& made):
        """Names the object that was made; if another was faster, `made` becomes a handle of that one's object."""
        cdef Handle mine = made
        try:
            self._open(&mine, made)
        except BaseException:
            drop_object(mine)
            made = mine
            raise
        if made.block != mine.block or made.slot != mine.slot:
            drop_object(mine)

    cdef NameOutcome _open(self, const Handle* made, Handle& handle) except *:
        cdef Token token = _token_in(self.mapping)
        cdef Description existing
        cdef NameOutcome outcome
        cdef Text name = _text_of(self.text), description = _text_of(self.description)
        outcome = open_name(self.mapping, token, name, description, self.persist, made, handle, existing)
        if outcome == NAME_FULL and _sweep(self.mapping) != 0:
            outcome = open_name(self.mapping, token, name, description, self.persist, made, handle, existing)
        if outcome == NAME_FULL:
            raise _arena_full("another name", self.mapping)
        if outcome == NAME_DIFFERENT:
            there = PyUnicode_DecodeUTF8(existing.text, existing.bytes, NULL)
            raise HandleError(
                f"name {_user_name(self.text)!r} is that of {there}, and {self.description.decode()} was asked for; "
                "ask for the same, or choose another name"
            )
        return outcome


cdef Text _text_of(bytes text):
    return Text(PyBytes_AS_STRING(text), <uint32_t>PyBytes_GET_SIZE(text))


cdef inline _Naming _named(name, bint persist, bint shared):
    """What to open an object by; None: it has no name."""
    return None if name is None and not persist else _naming(name, persist, shared)


cdef _Naming _naming(name, bint persist, bint shared):
    cdef _Naming opened
    if name is None:
        raise ValueError("persist=True needs a name, by which the object is found again")
    if not shared:
        raise ValueError("an object with a name is shared: leave shared=False out")
    opened = _Naming.__new__(_Naming)
    opened.text = (<NameOfPart>name).text if type(name) is NameOfPart else _checked_name(name)
    opened.mapping = _names()
    opened.persist = persist
    return opened


@cython.final
cdef class NameOfPart:
    """NameOfPart(name, part)\n--\n
    The name of a part of an object that consists of several: with a suffix that no user can write.
    """

    cdef bytes text

    def __cinit__(self, name, part):
        self.text = _checked_name(name) + f"/{part}".encode()


cdef inline Mapping* _arena_of(_Naming named) except NULL:
    """Where to make a shared object."""
    return _home() if named is None else named.mapping


cdef _name_of(const Handle& handle):
    """The name without a part's suffix, or None."""
    cdef Text text = name_of(handle)
    if text.bytes == 0:
        return None
    return _user_name(text.data[:text.bytes])


cdef str _user_name(bytes text):
    """Without the suffix that names a part of an object of several."""
    return text.decode().partition("/")[0]


cdef inline bytes _label_of(label, name):
    return _label(name if label is None and name is not None else label)


# ---- What there is

def list_names():
    """Yields (name, description, persistent, users, pids, bytes, ticket) of each named object, parts included.

    users: how many processes; pids has the first of them. ticket: what its handle's pickle holds.
    """
    cdef NamedFailure failure
    cdef Mapping* mapping = _open_names(False, &failure)
    cdef NameFigures figures
    cdef uint32_t cursor = 0, i
    if mapping == NULL:
        return []
    found = []
    while next_name(mapping, _token_in(mapping), cursor, figures):
        pids = []
        for i in range(min(figures.users, 64)):
            pids.append(figures.pids[i])
        found.append((
            PyUnicode_DecodeUTF8(figures.name, figures.name_bytes, NULL),
            PyUnicode_DecodeUTF8(figures.description.text, figures.description.bytes, NULL),
            bool(figures.persistent),
            figures.users,
            pids,
            figures.bytes,
            PyBytes_FromStringAndSize(<const char*>&figures.ticket, sizeof(Ticket)),
        ))
    return found


def object_of(bytes ticket):
    """Returns the object of a ticket of ``list_names``, or what it is built on; None for a kind that is not known here.

    Raises HandleError if it is gone.
    """
    cdef uint32_t kind = (<const Ticket*>PyBytes_AS_STRING(ticket)).kind
    if kind == KIND_LOCK:
        return _rebuild_lock(Lock, ticket, False)
    if kind == KIND_RLOCK:
        return _rebuild_rlock(RLock, ticket, False)
    if kind == KIND_SEMAPHORE or kind == KIND_PERMITS:
        return _rebuild_semaphore(Semaphore, ticket, kind == KIND_PERMITS)
    if kind == KIND_EVENT:
        return _rebuild_event(Event, ticket)
    if kind == KIND_CONDITION:
        return _rebuild_condition(ticket)
    if kind == KIND_BARRIER:
        return _rebuild_barrier(ticket)
    if kind == KIND_RWLOCK:
        return _rebuild_rwlock(RWLock, ticket, False)
    if kind == KIND_LATCH:
        return _rebuild_latch(Latch, ticket)
    if kind == KIND_QUEUE:
        return _rebuild_queue(Queue, ticket)
    if kind == KIND_PRIORITY_QUEUE:
        return _rebuild_queue(PriorityQueue, ticket)
    if kind == KIND_LIFO_QUEUE:
        return _rebuild_queue(LifoQueue, ticket)
    if kind == KIND_LIST:
        return _rebuild_list(List, ticket)
    if kind == KIND_MAP:
        return _rebuild_dict(Dict, ticket)
    return None


def owner_ended(lock):
    """Says in words that the owner of a shared lock has ended, if the lock still names it; else "". Changes nothing."""
    cdef Token owner
    cdef Handle handle
    cdef bint held
    if isinstance(lock, _LockState):
        handle = (<_LockState>lock).handle
        owner = lock_owner((<_LockState>lock).body)
        ended = _end_of(handle, owner, isinstance(lock, RLock))
        held = lock_is_held((<_LockState>lock).body, handle) and lock_owner((<_LockState>lock).body) == owner
    elif isinstance(lock, RWLock):
        handle = (<RWLock>lock).handle
        owner = rwlock_writer((<RWLock>lock).body)
        ended = _end_of(handle, owner, True)
        held = rwlock_is_written((<RWLock>lock).body, handle) and rwlock_writer((<RWLock>lock).body) == owner
    else:
        return ""
    return ended if held else ""  # it may have changed hands meanwhile


cdef str _end_of(const Handle& handle, Token owner, bint by_thread):
    if not is_of_living_process(handle, owner):
        return "which has ended"
    return "whose thread has ended" if by_thread and not is_of_living_thread(handle, owner) else ""


def sweep_names():
    """Looks into the arena of names; returns (whether there is one, whether a useless one was removed, how many dead
    processes were swept, how many others are in it, whether something in it persists).
    """
    cdef NamedFailure failure
    cdef Mapping* mapping = _open_names(False, &failure)
    cdef uint32_t swept
    if mapping == NULL:
        return False, bool(failure.removed), 0, 0, False
    swept = mapping.swept_when_joined + _sweep(mapping)
    mapping.swept_when_joined = 0
    return True, False, swept, count_processes(mapping, _token_in(mapping)) - 1, bool(may_persist(mapping))


def unlink(name):
    """Lets go of a persistent name: its object is gone as soon as nobody uses it, at once if nobody does.

    Those who use it go on, and whoever opens the name meanwhile meets them. Raises HandleError if nothing has that name.

    >>> import treadle
    >>> jobs = treadle.Queue(name="jobs", persist=True)
    >>> treadle.unlink("jobs")  # without this it would stay when the program has ended
    """
    cdef bytes text = _checked_name(name)
    cdef NamedFailure failure
    cdef Mapping* mapping = _open_names(False, &failure)
    if mapping == NULL or not release_name(mapping, _token_in(mapping), _text_of(text)):
        raise HandleError(f"nothing is named {name!r}; treadle ls shows what there is")
