# dropins.pxi: the queues of treadle.queue: private, with the standard library's signatures and its hooks for subclasses.
#
# As native classes, since a call of an inherited method costs a third more (queues.pxi).

cdef _name_dropins():
    """They are known by the names under which treadle.queue has them."""
    (<CollectedType*>PrivateQueue).tp_name = "treadle.queue.Queue"
    (<CollectedType*>PrivateLifoQueue).tp_name = "treadle.queue.LifoQueue"
    (<CollectedType*>PrivatePriorityQueue).tp_name = "treadle.queue.PriorityQueue"
    (<CollectedType*>PrivateSimpleQueue).tp_name = "treadle.queue.SimpleQueue"


cdef bint _keeps_its_items(of, base) except -1:
    """Every subclass does, from the beginning: what its instances may have for hooks is not known. But one whose instances have
    no attributes of their own, by __slots__, only if it has hooks, or another `queue`."""
    if of.__dictoffset__ != 0:
        return True
    for name in ("_init", "_qsize", "_put", "_get", "queue"):
        if getattr(of, name) is not getattr(base, name):
            return True
    return False


cdef uint64_t _bound(maxsize) except? 0xffffffffffffffff:
    """How many items, as the standard library's comparisons have it: a broken number is its ceiling, infinity no bound."""
    if not maxsize > 0 or maxsize >= 1 << 63:
        return 0
    return import_lazily("math").ceil(maxsize)


@cython.final
cdef class _QueueCondition:
    """A condition over a queue's mutex, as ``threading.Condition`` is."""

    cdef _Mutex mutex
    cdef ConditionCore core

    cdef int _check_held(self, str what) except -1:
        if self.mutex is None:
            raise TypeError("a queue's condition comes from its queue")
        if not self.mutex._is_owned():
            raise RuntimeError(f"cannot {what} on un-acquired lock")
        return 0

    def acquire(self, blocking=True, timeout=-1):
        return self.mutex.acquire(blocking, timeout)

    def release(self):
        self.mutex.release()

    def locked(self):
        return self.mutex.locked()

    def __enter__(self):
        return self.mutex.__enter__()

    def __exit__(self, kind, error, trace):
        self.mutex.release()

    def wait(self, timeout=None):
        """Lets others into the queue until a notification comes; returns whether one came. timeout: in seconds."""
        self._check_held("wait")
        return self.core.wait(self.mutex, timeout)

    def wait_for(self, predicate, timeout=None):
        """Waits until the predicate is true; returns its last value. timeout: in seconds, for the whole of it."""
        cdef double deadline = 0 if timeout is None else time.monotonic() + timeout
        left = None
        result = predicate()
        while not result:
            if timeout is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n=1):
        """Wakes up to n of those that wait here. Who waits in the queue's own methods is woken by the release."""
        self._check_held("notify")
        self.core.notify(n)

    def notify_all(self):
        """Wakes all that wait here."""
        self.notify(0x7fffffff)


cdef _QueueCondition _condition_over(_Mutex mutex):
    cdef _QueueCondition condition = _QueueCondition.__new__(_QueueCondition)
    condition.mutex = mutex
    condition.core = ConditionCore.__new__(ConditionCore, False, mutex.store.text, None, False, None)
    return condition


cdef class PrivateQueue(Queue):
    """Queue(maxsize=0)\n--\n
    A first-in, first-out queue between threads: ``queue.Queue``.

    It keeps its items natively, until it is asked for ``queue``, ``mutex`` or one of the conditions over that. From then on
    they lie in a deque (``queue``) under a lock (``mutex``), as in the standard library, and its calls are slower. A subclass
    does so from the beginning, or as it likes, by ``_init``, ``_qsize``, ``_put`` and ``_get``.

    >>> from treadle import queue
    >>> jobs = queue.Queue(maxsize=8)
    >>> jobs.put("job")
    >>> jobs.get()
    'job'
    """

    cdef object _maxsize  # as it was given
    cdef object items_of  # what it keeps its items in, if it `keeps` them itself
    cdef bint keeps

    def __init__(self, maxsize=0):
        self._make_private(maxsize, PrivateQueue)

    name = None  # not named, and left to subclasses, which may have a name of their own

    cdef _Mutex mutex_of
    cdef _QueueCondition not_empty_of, not_full_of, all_done_of  # made when they are asked for

    cdef int _make_private(self, maxsize, base) except -1:
        cdef uint64_t bound = _bound(maxsize)
        self._maxsize = maxsize
        self.mutex_of = self.not_empty_of = self.not_full_of = self.all_done_of = None
        if type(self) is not base and _keeps_its_items(type(self), base):
            self._set_store(_hook_store(self, bound, _label(None)))
            self._init(maxsize)
            return 0
        self._make(bound, False, 0, None)
        self.items_of = None
        return 0

    cdef _keep(self, items):
        self.items_of = items
        self.keeps = True

    cdef int64_t _put_timeout(self, block, timeout) except? -2:
        """Without a bound nothing is to be waited for, and the standard library does not look at the timeout."""
        return _queue_timeout(block, timeout) if self._maxsize > 0 else FOREVER

    cdef str _kind(self):
        return "queue.Queue"

    def put(self, item, block=True, timeout=None):
        """Puts an item: as ``queue.Queue.put``.

        >>> from treadle import queue
        >>> queue.Queue().put(1)
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else self._put_timeout(block, timeout))

    def get(self, block=True, timeout=None):
        """Takes an item: as ``queue.Queue.get``.

        >>> from treadle import queue
        >>> jobs = queue.Queue()
        >>> jobs.put(1)
        >>> jobs.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), False)

    def join(self):
        """Waits until every item that was put is done with: as ``queue.Queue.join``.

        >>> from treadle import queue
        >>> queue.Queue().join()
        """
        Queue.join(self)

    # A subclass's items may have been changed by hand since the last call.

    def qsize(self):
        """Returns how many items wait, at this instant: as ``queue.Queue.qsize``.

        >>> from treadle import queue
        >>> queue.Queue().qsize()
        0
        """
        self._made()
        if type(self.store) is _HookStore:
            (<_HookStore>self.store).look_unless_inside()
        return self.store.size()

    def empty(self):
        """Returns whether no item waits, at this instant: as ``queue.Queue.empty``.

        >>> from treadle import queue
        >>> queue.Queue().empty()
        True
        """
        self._made()
        if type(self.store) is _HookStore:
            (<_HookStore>self.store).look_unless_inside()
        return self.store.size() == 0

    def full(self):
        """Returns whether the queue has no room, at this instant: as ``queue.Queue.full``.

        >>> from treadle import queue
        >>> queue.Queue().full()
        False
        """
        self._made()
        if type(self.store) is _HookStore:
            (<_HookStore>self.store).look_unless_inside()
        return self.store.full()

    @property
    def maxsize(self):
        """How many items wait at most; 0 is no limit. May be set, as in the standard library.

        >>> from treadle import queue
        >>> queue.Queue(8).maxsize
        8
        """
        self._made()
        return self._maxsize

    @maxsize.setter
    def maxsize(self, maxsize):
        self._made()
        cdef uint64_t bound = _bound(maxsize)
        self._maxsize = maxsize
        (<_PrivateStore>self.store).set_maxsize(bound)

    @property
    def unfinished_tasks(self):
        """How many items were put and are not done with. May be set, as in the standard library.

        >>> from treadle import queue
        >>> queue.Queue().unfinished_tasks
        0
        """
        self._made()
        cdef QueueFigures figures
        self.store.figures(&figures)
        return <int64_t>figures.unfinished

    @unfinished_tasks.setter
    def unfinished_tasks(self, unfinished):
        self._made()
        (<_PrivateStore>self.store).set_unfinished(<uint64_t><int64_t>_whole(unfinished))  # a hook may count down before the put counts up

    # Whoever is asked for one of these keeps its items itself from then on, under a lock.

    @property
    def queue(self):
        """The items, in a deque; those of a LifoQueue and a PriorityQueue are in a list. May be changed and replaced, under
        ``mutex``, as in the standard library.

        What has come back from a lease lies beside them, until it is taken.

        >>> from treadle import queue
        >>> jobs = queue.Queue()
        >>> jobs.put("job")
        >>> jobs.queue
        deque(['job'])
        """
        if self._is_native():
            self._store_with_hooks()
        if not self.keeps:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'queue'")
        return self.items_of

    @queue.setter
    def queue(self, items):
        if self._is_native():
            self._store_with_hooks()
        self._keep(items)

    @property
    def mutex(self):
        """The lock under which the items are kept, and a subclass's hooks are called.

        Whoever holds it keeps the others out of the queue, and may change ``queue``, the deque or list of the items; the queue's
        own methods raise RuntimeError meanwhile, where they would wait for their caller.

        >>> from treadle import queue
        >>> jobs = queue.Queue()
        >>> jobs.put(1)
        >>> with jobs.mutex:
        ...     jobs.queue.clear()
        >>> jobs.empty()
        True
        """
        return self._the_mutex()

    @property
    def not_empty(self):
        """A condition over ``mutex`` that is notified of each item.

        >>> from treadle import queue
        >>> jobs = queue.Queue()
        >>> jobs.put(1)
        >>> with jobs.not_empty:
        ...     jobs.not_empty.wait_for(jobs._qsize)
        ...     jobs.queue[0]
        1
        1
        """
        if self.not_empty_of is None:
            made = _condition_over(self._the_mutex())
            if self.not_empty_of is None:  # unless another thread was faster
                self.not_empty_of = made
        return self.not_empty_of

    @property
    def not_full(self):
        """A condition over ``mutex`` that is notified of each item taken.

        >>> from treadle import queue
        >>> with queue.Queue().not_full as entered:
        ...     entered
        True
        """
        if self.not_full_of is None:
            made = _condition_over(self._the_mutex())
            if self.not_full_of is None:
                self.not_full_of = made
        return self.not_full_of

    @property
    def all_tasks_done(self):
        """A condition over ``mutex`` that is notified when no task is left.

        >>> from treadle import queue
        >>> jobs = queue.Queue()
        >>> jobs.put(1)
        >>> with jobs.all_tasks_done:
        ...     jobs.all_tasks_done.wait_for(lambda: not jobs.unfinished_tasks, timeout=0.01)
        False
        """
        if self.all_done_of is None:
            made = _condition_over(self._the_mutex())
            if self.all_done_of is None:
                self.all_done_of = made
        return self.all_done_of

    cdef object _the_mutex(self):
        cdef _HookStore store = self._store_with_hooks()
        if self.mutex_of is None or self.mutex_of.store is not store:  # __init__ may be called again
            self.mutex_of = _mutex(store)
        return self.mutex_of

    cdef inline bint _is_native(self) noexcept:
        return self.store is not None and type(self.store) is not _HookStore

    cdef _HookStore _store_with_hooks(self):
        """The store that keeps the items in `queue`. One that did not until now is replaced by it, whoever is inside."""
        cdef _PrivateStore before
        cdef _HookStore store
        self._made()
        while type(self.store) is not _HookStore:
            before = self.store
            store = _hook_store(self, 0, before.text)
            before.move_to(self, store, self._without_items())
            if before.successor is not None and self.store is before:
                self._set_store(before.successor)
        return self.store

    cdef object _without_items(self):
        return deque()

    # For asyncio's subclasses.

    def _attempt_room(self, Waiter waiter not None):
        """True if there is room, or the queue is shut down: of a subclass."""
        return self._hook_store().attempt_room(waiter)

    def _attempt_item_there(self, Waiter waiter not None):
        """True if there is an item, or the queue is shut down: of a subclass."""
        return self._hook_store().attempt_item_there(waiter)

    def _pass_on(self, bint room):
        """Tells the next to wait for room, or else for an item, that there is some: of a subclass."""
        self._hook_store().pass_on(room)

    cdef _HookStore _hook_store(self):
        self._made()
        if type(self.store) is not _HookStore:
            raise TypeError("only a subclass has hooks")
        return self.store

    def _init(self, maxsize):
        self.queue = self._without_items()

    def _qsize(self):
        return len(self.queue)

    def _put(self, item):
        self.queue.append(item)

    def _get(self):
        return self.queue.popleft()


cdef class PrivateLifoQueue(PrivateQueue):
    """LifoQueue(maxsize=0)\n--\n
    A last-in, first-out queue between threads: ``queue.LifoQueue``.

    >>> from treadle import queue
    >>> stack = queue.LifoQueue()
    >>> stack.put(1)
    >>> stack.put(2)
    >>> stack.get()
    2
    """

    def __init__(self, maxsize=0):
        self._make_private(maxsize, PrivateLifoQueue)

    cdef _Store _new_store(self, uint64_t maxsize, bint shared, uint64_t maxbytes, bytes label, _Naming named):
        return _local_store(maxsize, True, label)

    cdef str _kind(self):
        return "queue.LifoQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item: as ``queue.LifoQueue.put``.

        >>> from treadle import queue
        >>> queue.LifoQueue().put(1)
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else self._put_timeout(block, timeout))

    def get(self, block=True, timeout=None):
        """Takes the item that was put last: as ``queue.LifoQueue.get``.

        >>> from treadle import queue
        >>> stack = queue.LifoQueue()
        >>> stack.put(1)
        >>> stack.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), False)

    cdef object _without_items(self):
        return []

    def _get(self):
        return self.queue.pop()


cdef class PrivatePriorityQueue(PrivateQueue):
    """PriorityQueue(maxsize=0)\n--\n
    A queue between threads that gives out the least item first: ``queue.PriorityQueue``.

    >>> from treadle import queue
    >>> jobs = queue.PriorityQueue()
    >>> jobs.put((2, "later"))
    >>> jobs.put((1, "sooner"))
    >>> jobs.get()
    (1, 'sooner')
    """

    def __init__(self, maxsize=0):
        self._make_private(maxsize, PrivatePriorityQueue)

    cdef _Store _new_store(self, uint64_t maxsize, bint shared, uint64_t maxbytes, bytes label, _Naming named):
        return _heap_store(maxsize, label)

    cdef str _kind(self):
        return "queue.PriorityQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item: as ``queue.PriorityQueue.put``.

        >>> from treadle import queue
        >>> queue.PriorityQueue().put(1)
        """
        self._made()
        self.store.put(item, FOREVER if block is True and timeout is None else self._put_timeout(block, timeout))

    def get(self, block=True, timeout=None):
        """Takes the least item: as ``queue.PriorityQueue.get``.

        >>> from treadle import queue
        >>> jobs = queue.PriorityQueue()
        >>> jobs.put(1)
        >>> jobs.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), False)

    cdef object _without_items(self):
        return []

    def _put(self, item):
        import_lazily("heapq").heappush(self.queue, item)

    def _get(self):
        return import_lazily("heapq").heappop(self.queue)


cdef class PrivateSimpleQueue(Queue):
    """SimpleQueue()\n--\n
    An unbounded first-in, first-out queue between threads: ``queue.SimpleQueue``.

    >>> from treadle import queue
    >>> jobs = queue.SimpleQueue()
    >>> jobs.put("job")
    >>> jobs.get()
    'job'
    """

    name = None

    def __init__(self, *args, **kwargs):
        if args or kwargs:
            raise TypeError("SimpleQueue() takes no arguments")
        self._make(0, False, 0, None)

    cdef str _kind(self):
        return "queue.SimpleQueue"

    def put(self, item, block=True, timeout=None):
        """Puts an item; never waits. block and timeout are for the sake of ``Queue.put``.

        >>> from treadle import queue
        >>> queue.SimpleQueue().put(1)
        """
        self._made()
        self.store.put(item, FOREVER)

    def get(self, block=True, timeout=None):
        """Takes an item: as ``queue.SimpleQueue.get``.

        >>> from treadle import queue
        >>> jobs = queue.SimpleQueue()
        >>> jobs.put(1)
        >>> jobs.get()
        1
        """
        self._made()
        return self.store.get(FOREVER if block is True and timeout is None else _queue_timeout(block, timeout), False)
