"""What is public is what the contract has (contract.py), and takes what that promises."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import pickle
import queue
import re
import tempfile
import threading
import types
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import pytest

import treadle
from tests.contract import ATTRIBUTE, CONTRACT

_CALLS = [
    (name, member, parameters)
    for name, members in CONTRACT.items()
    for member, parameters in members.items()
    if parameters != ATTRIBUTE
]
_each_call = pytest.mark.parametrize(
    ("name", "member", "parameters"), _CALLS, ids=[".".join(call[:2]).strip(".") for call in _CALLS]
)
_COUNTED = {"Barrier", "Latch"}  # which are made with a number
_TOLD_BY_CONTENT = {"Dict", "List"}  # whose repr says what is in them, and not what they are called
_OBJECTS: dict[str, Callable[..., Any]] = {
    name: functools.partial(getattr(treadle, name), *([2] if name in _COUNTED else []))
    for name, members in CONTRACT.items()
    if "label" in members and "" in members
}
_WITH_STORAGES = [name for name in _OBJECTS if "shared=True" in CONTRACT[name][""]]
_each_object = pytest.mark.parametrize("name", _OBJECTS)


# ---- Names and parameters


def test_the_public_names_are_those_of_the_contract() -> None:
    assert set(treadle.__all__) == {
        *CONTRACT,
        *_ERRORS,
        "Empty",
        "Full",
        "ShutDown",
        "BrokenBarrierError",
        "Holder",
        *_STATISTICS,
    }
    assert sorted(set(treadle.__all__)) == treadle.__all__


@pytest.mark.parametrize("name", [name for name in CONTRACT if name[0].isupper()])
def test_the_members_are_those_of_the_contract(name: str) -> None:
    members = {member for member in dir(getattr(treadle, name)) if not member.startswith("_")}
    assert members == {member for member in CONTRACT[name] if not member.startswith("__")} - {""}


def _parameters(subject: Callable[..., Any]) -> list[Parameter]:
    parameters = list(inspect.signature(subject).parameters.values())
    is_method = parameters and parameters[0].name == "self"
    return parameters[1:] if is_method else parameters


def _of_the_contract(text: str) -> list[Parameter]:
    return _parameters(eval(f"lambda {text}: None"))


def _assert_takes(actual: list[Parameter], promised: list[Parameter]) -> None:
    """Every call that fits the promised parameters fits the actual ones, and means the same."""
    by_name = {parameter.name: parameter for parameter in actual}
    for place, parameter in enumerate(promised):
        own = by_name.pop(parameter.name)
        assert (own.kind, own.default) == (parameter.kind, parameter.default), parameter.name
        if parameter.kind is not Parameter.KEYWORD_ONLY:
            assert actual[place] is own, f"{parameter.name} has moved"
    for parameter in by_name.values():
        assert parameter.default is not Parameter.empty, f"{parameter.name} must be optional"


@_each_call
def test_the_parameters_are_those_of_the_contract(name: str, member: str, parameters: str) -> None:
    subject = getattr(treadle, name)
    subject = getattr(subject, member) if member else subject
    _assert_takes(_parameters(subject), _of_the_contract(parameters))


# ---- Calls


UNSIGNED_BYTES = 33  # as in values.pxi
_RUNNING = {"Process", "Thread"}
_POOLS = {"Pool", "Executor"}
_OF_A_POOL = {"Pool", "Executor", "AsyncResult", "MapResult", "ImapIterator", "Future"}
_OF_THE_STARTED = {"join", "is_alive", "result", "exception", "terminate", "kill", "close"}
_SAMPLES: dict[str, Any] = {
    "action": None,
    "attributes": 1,
    "args": [],
    "backoff": 0.01,
    "block": True,
    "blocking": True,
    "binary": True,
    "blas_threads": 1,
    "buf": bytearray(20),
    "buffersize": 2,
    "callback": repr,
    "cancel_futures": True,
    "chunksize": 2,
    "copy": False,
    "count": 2,
    "create": True,
    "daemon": True,
    "dtype": int,
    "data": b"data",
    "duplex": False,
    "encoding": "utf-8",
    "error": None,
    "error_callback": repr,
    "errors": "strict",
    "exc_tb": None,
    "exc_type": None,
    "exc_val": None,
    "default": 5,
    "expected": 2,
    "f": repr,
    "fn": repr,
    "func": int,
    "function": int,
    "group": None,
    "immediate": True,
    "index": 0,
    "initargs": ["1"],
    "initial": 1,
    "initializer": int,
    "interval": 0.01,
    "item": 1,
    "items": [1, 2],
    "iterable": [],
    "key": None,
    "mapping_or_items": {1: 2},
    "kind": None,
    "kwargs": {},
    "kwds": {},
    "label": "sample",
    "lock": None,
    "max_items": 2,
    "max_tasks_per_worker": 3,
    "max_workers": 1,
    "maxbytes": 1 << 16,
    "maxlength": 100,
    "maxsize": 8,
    "memory_limit": 1 << 40,
    "mode": "r",
    "n": 1,
    "name": "sample",
    "new": 3,
    "newline": "",
    "obj": 1,
    "of": None,
    "offset": 1,
    "on_owner_death": "recover",
    "order": "F",
    "parties": 1,
    "persist": False,
    "path": f"{tempfile.mkdtemp()}/fifo",
    "permissions": 0o640,
    "persistent": True,
    "pin": True,
    "predicate": lambda: True,
    "priority": 1,
    "raw": True,
    "reclaim": True,
    "retries": 1,
    "sequence": [1, 2],
    "shape": (2, 3),
    "reverse": True,
    "shared": False,
    "size": 1 << 30,
    "size_or_initializer": [1, 2],
    "start_method": "fork",
    "target": int,
    "timeout": 0.01,
    "trace": None,
    "track": True,
    "typecode_or_type": "i",
    "value": 2,
    "wait": True,
    "workers": 1,
}
_SAMPLES_OF: dict[tuple[str, str], dict[str, Any]] = {
    ("Fifo", "send_bytes"): {"size": 3},
    ("List", "index"): {"start": 0, "stop": 1},
    ("Connection", "send_bytes"): {"size": 3},
    ("Pipe", ""): {"end": 0},
    ("SharedMemory", ""): {"size": 100},
    **{(name, call): {"timeout": 60} for name in _RUNNING for call in _OF_THE_STARTED},
    **{(name, call): {"timeout": 60} for name in _OF_A_POOL for call in CONTRACT[name] if call},
    **{(name, ""): {"kind": "process", "timeout": 60} for name in _POOLS},
}


_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _sample(name: str, member: str, parameter: Parameter) -> Any:
    samples = _SAMPLES | _SAMPLES_OF.get((name, member), {})
    return samples[parameter.name]


def _ended(pool: Any) -> Any:
    """The pool, or executor, which takes nothing more."""
    pool.close() if isinstance(pool, treadle.Pool) else pool.shutdown()
    return pool


@contextlib.contextmanager
def _of_a_pool_ready_for(name: str, member: str) -> Any:
    if not member:
        yield lambda *args, **kwargs: _ended(getattr(treadle, name)(*args, **kwargs))
        return
    if name in {"Executor", "Future"}:
        with treadle.Executor(1, kind="thread") as executor:
            if name == "Executor":
                yield getattr(executor, member)
                return
            future = executor.submit(int)
            future.result()
            yield getattr(future, member)
            return
    with treadle.Pool(1, kind="thread") as pool:
        subject: Any = pool
        if name == "ImapIterator":
            subject = pool.imap(abs, [1, 2, 3])
        elif name != "Pool":
            subject = pool.map_async(abs, [1]) if name == "MapResult" else pool.apply_async(int)
            subject.wait()
        elif member == "join":
            pool.close()
        yield getattr(subject, member)


@contextlib.contextmanager
def _fifo_ready_for(member: str) -> Any:
    raw = member in {"read", "write", "makefile"}
    path = f"{tempfile.mkdtemp()}/fifo"
    with treadle.Fifo(path, raw=raw) as reader, treadle.Fifo(path, "w", raw=raw) as writer:
        if member in {"send", "send_bytes", "write"}:
            yield writer
            return
        if raw:
            writer.write(b"data")
        else:
            writer.send(1)
        writer.close()
        yield reader


@contextlib.contextmanager
def _segment_ready_for(name: str, member: str) -> Any:
    of = getattr(treadle, name)
    made = [of([1, 2]) if name == "ShareableList" else of(create=True, size=100)]

    def make(*args: Any, **kwargs: Any) -> None:
        made.append(of(*args, **kwargs))

    yield getattr(made[0], member) if member else make
    for each in made:
        with contextlib.suppress(FileNotFoundError):
            getattr(each, "shm", each).unlink()


_MADE_WITH_ARGUMENTS: dict[str, Callable[[], Any]] = {
    "Barrier": functools.partial(treadle.Barrier, 1),
    "Latch": functools.partial(treadle.Latch, 1),
    "Synchronized": functools.partial(treadle.Value, "i"),
    "SynchronizedArray": functools.partial(treadle.Array, "i", 2),
    "SynchronizedString": lambda: treadle.SynchronizedString(
        treadle.RawArray("B", 2), treadle.RLock(), UNSIGNED_BYTES
    ),
    "Dict": functools.partial(treadle.Dict, {None: 2}),
    "List": functools.partial(treadle.List, [2]),
    "Timer": functools.partial(treadle.Timer, 0, int),
}


@contextlib.contextmanager
def _ready_for(name: str, member: str) -> Any:
    """What the member can be called on without an error and without a wait."""
    if name in _OF_A_POOL:
        with _of_a_pool_ready_for(name, member) as call:
            yield call
        return
    if name in {"SharedMemory", "ShareableList"}:
        with _segment_ready_for(name, member) as call:
            yield call
        return
    if not member:
        limit = treadle.arena_statistics().limit
        kept = treadle.Lock(name="sample") if name == "unlink" else None
        yield getattr(treadle, name)
        treadle.set_arena_limit(limit)
        del kept
        return
    subject: Any
    if name == "Fifo":
        with _fifo_ready_for(member) as fifo:
            yield getattr(fifo, member)
        return
    if name == "Connection":
        here, there = treadle.Pipe()
        if member.startswith("recv"):
            there.send(1)
        yield getattr(here, member)
        return
    if name == "Lease":
        jobs: treadle.Queue[int] = treadle.Queue()
        jobs.put(1)
        subject = jobs.lease()
    else:
        subject = _MADE_WITH_ARGUMENTS.get(name, getattr(treadle, name))()
    if name.endswith("Queue") and member in {"get", "get_nowait", "get_many", "lease", "task_done"}:
        subject.put(1)
    if (name, member) == ("Timer", "join") or (name in _RUNNING and member in _OF_THE_STARTED):
        subject.start()
    if (name, member) == ("Process", "close"):
        subject.join()
    if name == "Condition" or (name != "Lease" and member in {"release", "__exit__"}):
        subject.acquire()
    if name == "Latch":
        subject.count_down()
    if member in {"release_read", "release_write"}:
        getattr(subject, member.replace("release", "acquire"))()
    yield getattr(subject, member)


@_each_call
def test_a_call_takes_every_parameter_by_name(name: str, member: str, parameters: str) -> None:
    named, placed = {}, []
    for parameter in _of_the_contract(parameters):
        if parameter.kind is Parameter.VAR_POSITIONAL:
            continue
        sample = _sample(name, member, parameter)
        if parameter.kind is Parameter.POSITIONAL_ONLY:  # as list has it
            placed.append(sample)
        else:
            named[parameter.name] = sample
    if "shared" in named:  # as what has a name is, and has a number of bytes
        named["shared"] = True
    with _ready_for(name, member) as call:
        call(*placed, **named)


@_each_call
def test_a_call_takes_parameters_by_place(name: str, member: str, parameters: str) -> None:
    promised = _of_the_contract(parameters)
    placed = [_sample(name, member, p) for p in promised if p.kind in _BY_PLACE]
    with _ready_for(name, member) as call:
        call(*placed)


@_each_call
def test_a_call_refuses_one_argument_more(name: str, member: str, parameters: str) -> None:
    promised = _of_the_contract(parameters)
    placed = [_sample(name, member, p) for p in promised if p.kind in _BY_PLACE]
    with _ready_for(name, member) as call:
        with pytest.raises(TypeError):
            call(*placed, None)
        if any(p.kind is Parameter.VAR_KEYWORD for p in promised):  # it may have any name
            return
        with pytest.raises(TypeError):
            call(*placed, no_such_parameter=1)


# ---- Beside the standard library


_REPLACED: list[tuple[type, type]] = [
    (threading._RLock, treadle.RLock),  # type: ignore[attr-defined]  # the one that has signatures
    (threading.Semaphore, treadle.Semaphore),
    (threading.BoundedSemaphore, treadle.BoundedSemaphore),
    (threading.Event, treadle.Event),
    (threading.Condition, treadle.Condition),
    (threading.Barrier, treadle.Barrier),
    (threading.Timer, treadle.Timer),
    (queue.Queue, treadle.Queue),
]
_OLD_SPELLINGS = {"notifyAll", "isSet", "getName", "setName", "isDaemon", "setDaemon"}


@pytest.mark.parametrize(("theirs", "ours"), _REPLACED, ids=lambda kind: kind.__name__)
def test_whatever_is_called_as_in_the_standard_library_works(theirs: type, ours: type) -> None:
    _assert_takes(_parameters(ours), _parameters(theirs))
    instance = _MADE_WITH_ARGUMENTS.get(ours.__name__, ours)()
    methods = inspect.getmembers(theirs, inspect.isfunction)
    names = {name for name, _ in methods if not name.startswith("_")} - _OLD_SPELLINGS
    assert names
    for name in names:
        _assert_takes(_parameters(getattr(instance, name)), _parameters(getattr(theirs, name)))
    properties = inspect.getmembers(theirs, lambda member: isinstance(member, property))
    assert {name for name, _ in properties} <= set(dir(instance))


def test_the_exceptions_of_the_standard_library_are_its_own() -> None:
    assert treadle.Empty is queue.Empty
    assert treadle.Full is queue.Full
    assert treadle.BrokenBarrierError is threading.BrokenBarrierError
    if hasattr(queue, "ShutDown"):
        assert treadle.ShutDown is queue.ShutDown
    else:
        assert issubclass(treadle.ShutDown, Exception)


_ERRORS: dict[str, tuple[type, ...]] = {
    "TreadleError": (Exception,),
    "OwnerDiedError": (treadle.TreadleError,),
    "HandleError": (treadle.TreadleError,),
    "ItemError": (treadle.TreadleError,),
    "ArenaFullError": (treadle.TreadleError, MemoryError),
    "WorkerDiedError": (treadle.TreadleError,),
    "TaskError": (treadle.TreadleError,),
    "TaskTimeoutError": (treadle.TreadleError, TimeoutError),
    "WorkerMemoryError": (treadle.TreadleError, MemoryError),
    "RemoteTraceback": (Exception,),
    "OwnerDiedWarning": (RuntimeWarning,),
}


@pytest.mark.parametrize("name", _ERRORS)
def test_the_errors_are_caught_as_the_contract_says(name: str) -> None:
    error = getattr(treadle, name)
    assert error.__bases__ == _ERRORS[name]
    copy = pickle.loads(pickle.dumps(error("who, what")))
    assert type(copy) is error
    assert str(copy) == "who, what"


# ---- Records


_STATISTICS = {
    "LockStatistics": [treadle.Lock, treadle.RLock],
    "RWLockStatistics": [treadle.RWLock],
    "SemaphoreStatistics": [treadle.Semaphore, treadle.BoundedSemaphore],
    "EventStatistics": [treadle.Event],
    "LatchStatistics": [lambda: treadle.Latch(1)],
    "ConditionStatistics": [treadle.Condition],
    "BarrierStatistics": [lambda: treadle.Barrier(1)],
    "QueueStatistics": [treadle.Queue],
    "DictStatistics": [treadle.Dict],
    "ListStatistics": [treadle.List],
    "ConnectionStatistics": [lambda: treadle.Pipe()[0]],
    "TimerStatistics": [lambda: treadle.Timer(60, print)],
    "PoolStatistics": [
        lambda: _ended(treadle.Pool(1, kind="thread")),
        lambda: _ended(treadle.Executor(1, kind="thread")),
    ],
    "ArenaStatistics": [],
}


@pytest.mark.parametrize("name", ["Holder", *_STATISTICS])
def test_a_record_is_a_frozen_dataclass(name: str) -> None:
    record = getattr(treadle, name)
    assert dataclasses.is_dataclass(record)
    some = record(*range(len(dataclasses.fields(record))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(some, dataclasses.fields(record)[0].name, 1)
    assert pickle.loads(pickle.dumps(some)) == some
    assert hash(some) == hash(dataclasses.replace(some))


def test_a_holder_has_the_fields_of_the_contract() -> None:
    fields = [field.name for field in dataclasses.fields(treadle.Holder)]
    assert fields == ["pid", "thread_id", "thread_name", "since"]


def test_statistics_have_the_type_that_is_named_after_the_object() -> None:
    for name, makers in _STATISTICS.items():
        for make in makers:
            assert type(make().statistics()) is getattr(treadle, name)
    assert type(treadle.arena_statistics()) is treadle.ArenaStatistics


# ---- What all objects have in common


@_each_object
def test_an_object_tells_its_label(name: str) -> None:
    subject = _OBJECTS[name](label="the label")
    assert subject.label == "the label"
    assert subject.statistics().label == "the label"
    if name in _TOLD_BY_CONTENT:
        return
    assert repr(subject).startswith("<")
    assert f"treadle.{name}" in repr(subject)
    assert "'the label'" in repr(subject)


@_each_object
def test_without_a_label_it_tells_where_it_was_made(name: str) -> None:
    frame = inspect.currentframe()
    assert isinstance(frame, types.FrameType)
    subject, line = _OBJECTS[name](), frame.f_lineno
    assert subject.label == f"{__name__}:{line}"


@_each_object
def test_a_label_must_be_text(name: str) -> None:
    with pytest.raises(TypeError, match="label must be a str, not int"):
        _OBJECTS[name](label=7)


@_each_object
def test_an_object_can_be_pickled(name: str) -> None:
    subject = _OBJECTS[name](label="sent")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(subject, protocol))
        assert type(copy) is type(subject)
        assert copy.label == "sent"


@pytest.mark.parametrize("name", _WITH_STORAGES)
def test_a_private_object_says_why_it_cannot_be_pickled(name: str) -> None:
    message = f"cannot pickle a private treadle.{name}; make it with shared=True"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        pickle.dumps(_OBJECTS[name](shared=False))


def test_a_queue_and_its_lease_can_be_annotated_with_their_items() -> None:
    assert treadle.Queue[int].__origin__ is treadle.Queue
    assert treadle.Lease[int].__args__ == (int,)
    assert treadle.Queue[int](8).maxsize == 8
