# dropins.pxi: the queues of treadle.queue: private, with the standard library's signatures and its hooks for subclasses.
#
# As native classes, since a call of an inherited method costs a third more (queues.pxi).

cdef _name_dropins():
    """They are known by the names under which treadle.queue has them."""
    (<CollectedType*>PrivateQueue).tp_name = "treadle.queue.Queue"
    (<CollectedType*>PrivateLifoQueue).tp_name = "treadle.queue.LifoQueue"
    (<CollectedType*>PrivatePriorityQueue).tp_name = "treadle.queue.PriorityQueue"
    (<CollectedType*>PrivateSimpleQueue).tp_name = "treadle.queue.SimpleQueue"


cdef bint _has_hooks_of_its_own(of, base) except -1:
    for name in ("_init", "_qsize", "_put", "_get"):
        if getattr(of, name) is not getattr(base, name):
            return True
    return False


cdef uint64_t _bound(maxsize) except? 0xffffffffffffffff:
    """How many items, as the standard library's comparisons have it: a broken number is its ceiling, infinity no bound."""
    if not maxsize > 0 or maxsize >= 1 << 63:
        return 0
    return import_lazily("math").ceil(maxsize)


cdef class PrivateQueue(Queue):
    """PrivateQueue(maxsize=0)\n--\n
    A first-in, first-out queue between threads: ``queue.Queue``.

    A subclass may keep the items as it likes, by ``_init``, ``_qsize``, ``_put`` and ``_get``, which are called under a
    lock: as in the standard library.

    >>> from treadle import queue
    >>> jobs = queue.Queue(maxsize=8)
    >>> jobs.put("job")
    >>> jobs.get()
    'job'
    """

    cdef object _maxsize  # as it was given

    def __init__(self, maxsize=0):
        self._make_private(maxsize, PrivateQueue)

    name = None  # not named, and left to subclasses, which may have a name of their own

    cdef int _make_private(self, maxsize, base) except -1:
        cdef uint64_t bound = _bound(maxsize)
        self._maxsize = maxsize
        if type(self) is not base and _has_hooks_of_its_own(type(self), base):
            self._set_store(_hook_store(self, bound, _label(None)))
            self._init(maxsize)
            return 0
        return self._make(bound, False, 0, None)

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

    @property
    def mutex(self):
        """Of a subclass with hooks of its own: keeps the others out of the queue, ``with self.mutex:``. AttributeError otherwise.

        >>> from treadle import queue
        >>> class Counted(queue.Queue):
        ...     def _put(self, item):
        ...         super()._put(item)
        ...         self.latest = item
        ...     def clear(self):
        ...         with self.mutex:
        ...             self.queue.clear()
        >>> jobs = Counted()
        >>> jobs.put(1)
        >>> jobs.clear()
        >>> jobs.empty()
        True
        """
        self._made()
        return _mutex(self.store)

    def _init(self, maxsize):
        self.queue = deque()

    def _qsize(self):
        return len(self.queue)

    def _put(self, item):
        self.queue.append(item)

    def _get(self):
        return self.queue.popleft()


cdef class PrivateLifoQueue(PrivateQueue):
    """PrivateLifoQueue(maxsize=0)\n--\n
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

    def _init(self, maxsize):
        self.queue = []

    def _get(self):
        return self.queue.pop()


cdef class PrivatePriorityQueue(PrivateQueue):
    """PrivatePriorityQueue(maxsize=0)\n--\n
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

    def _init(self, maxsize):
        self.queue = []

    def _put(self, item):
        import_lazily("heapq").heappush(self.queue, item)

    def _get(self):
        return import_lazily("heapq").heappop(self.queue)


cdef class PrivateSimpleQueue(Queue):
    """PrivateSimpleQueue()\n--\n
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
