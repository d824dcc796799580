# leases.pxi: an item out on lease.

@cython.final
cdef class Lease:
    """An item out on lease, from ``Queue.lease()``; a context manager.

    When its block ends well the item is acknowledged; when it raises, the item is given back and delivered again. If
    the process dies, whoever waits for the queue gets the item again. Forgotten without either, it is given back.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> queue.put("job")
    >>> with queue.lease() as lease:
    ...     raise RuntimeError("not this time")
    Traceback (most recent call last):
    ...
    RuntimeError: not this time
    >>> with queue.lease() as lease:
    ...     lease.item, lease.deliveries
    ('job', 2)
    """

    cdef Queue _queue
    cdef _Claim claim
    cdef object __weakref__

    def __init__(self):
        raise TypeError("a Lease is made by Queue.lease()")

    @property
    def item(self):
        """The item.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().item
        'job'
        """
        return self._claimed().item

    @property
    def deliveries(self):
        """How often the item has been handed out, this time included: 1 at first.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().deliveries
        1
        """
        return self._claimed().deliveries

    def ack(self):
        """Says that the item is done with: it is gone, and counts as done for ``Queue.join``.

        Raises RuntimeError if the lease was settled before, or belongs to another process (a fork's parent).

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put("job")
        >>> queue.lease().ack()
        >>> queue.join(timeout=1)
        True
        """
        self._settle(True)

    def nack(self):
        """Gives the item back: it is delivered again, before newer ones. Raises as ``ack``.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.put_many(["older", "newer"])
        >>> queue.lease().nack()
        >>> queue.get()
        'older'
        """
        self._settle(False)

    cdef _Claim _claimed(self):
        if self.claim is None:
            raise TypeError("a Lease is made by Queue.lease()")
        return self.claim

    cdef _settle(self, bint done):
        self._claimed()
        if self.claim.pid != os.getpid():
            raise RuntimeError(f"this lease belongs to pid {self.claim.pid}, which took it before a fork")
        if not self.claim.open:
            raise RuntimeError("this lease has been settled already")
        if self.claim.settle(done) != DONE:
            raise RuntimeError("this lease is not held any more")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._claimed().open and self.claim.pid == os.getpid():  # a fork's child leaves the block as well, and holds nothing
            self._settle(kind is None)

    def __reduce__(self):
        raise TypeError(
            "a Lease cannot be pickled: it is settled by the process that took it, and given back when that dies; "
            "send its item, and call ack() here when you hear that the item is done with"
        )

    __class_getitem__ = classmethod(type(list[int]))

    def __repr__(self):
        state = "open" if self._claimed().open else "settled"
        return f"<treadle.Lease of {self._queue!r}, delivery {self.claim.deliveries}, {state}>"


cdef Lease _lease(Queue queue, _Claim claim):
    cdef Lease lease = Lease.__new__(Lease)
    lease._queue = queue
    lease.claim = claim
    return lease
