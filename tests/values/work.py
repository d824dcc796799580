"""What the tests have other processes do with shared data; quickly imported."""

from __future__ import annotations

import ctypes
from typing import Any

import treadle


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double), ("name", ctypes.c_char * 8))


class Segment(ctypes.Structure):
    _fields_ = (("ends", Point * 2), ("bits", ctypes.c_uint, 3))


def change(value: Any, array: Any, point: Any, text: Any, raw: Any) -> None:
    """One access of each kind to each."""
    with value.get_lock():
        value.value += 1
    array[1:3] = [10, 20]
    point.x, point.y = 5, point.y * 2
    text.value = b"changed"
    raw.ends[1].name = b"end"
    raw.bits = 5


def count(value: treadle.Synchronized, array: treadle.SynchronizedArray, times: int) -> None:
    """Adds `times` in each way that there is, beside others who do the same."""
    for _ in range(times):
        value.fetch_add(1)
        array.fetch_add(1, 2)
        seen = array.load(2)
        while not array.compare_exchange(2, seen, seen + 3):
            seen = array.load(2)
        with array:
            array[3] += 1


def fill(arrays: Any, number: float) -> None:
    """Writes the number into each array of a nest of lists and tuples."""
    if isinstance(arrays, (list, tuple)):
        for array in arrays:
            fill(array, number)
    else:
        arrays[...] = number


def fill_and_sum(array: Any, number: float) -> float:
    array[...] = number
    return float(array.sum())
