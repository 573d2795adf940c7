"""The process that reads HDF5: damaged files end libhdf5 by a signal, which only a process of its own contains.

A request is a line of JSON on the standard input, an answer one on the standard output, followed by an array's
bytes where there is one. It ends with its input.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)
_CACHE_SLOTS = 100_003  # a prime, far above the number of chunks held
_MOST_SECONDS = 300  # of computing for one answer: a strip takes a few, and a slow disk none

_Answer = tuple[Mapping[str, Any], NDArray[Any] | None]


class _Files:
    """The open files by their numbers, and what is asked of them."""

    def __init__(self) -> None:
        self._open: dict[int, Any] = {}

    def open(self, number: int, path: str, cache: int) -> _Answer:
        import h5py

        self._open[number] = h5py.File(path, "r", rdcc_nbytes=cache, rdcc_nslots=_CACHE_SLOTS)
        return {}, None

    def close(self, number: int) -> _Answer:
        file = self._open.pop(number, None)
        if file is not None:
            file.close()
        return {}, None

    def names(self, number: int, group: str) -> _Answer:
        item = self._item(number, group)
        names = tuple(item) if item is not None and hasattr(item, "keys") else ()
        # A name that is no UTF-8 is given as bytes.
        return {"names": [name for name in names if isinstance(name, str)]}, None

    def describe(self, number: int, name: str) -> _Answer:
        """Tell what lies under a name: nothing, a link that is not followed, a group or an array."""
        import h5py

        item = self._item(number, name)
        if not isinstance(item, h5py.Dataset):
            return {"kind": "group" if isinstance(item, h5py.Group) else item}, None
        return {
            "kind": "array",
            "shape": None if item.shape is None else list(item.shape),
            "dtype": item.dtype.str,
            "fields": item.dtype.names,
            "chunks": item.chunks and list(item.chunks),
            "elsewhere": bool(item.external or item.is_virtual),
        }, None

    def attribute(self, number: int, name: str, of: str, most: int) -> _Answer:
        item = self._item(number, of)
        if not hasattr(item, "attrs") or name not in item.attrs:
            return {}, None
        if int(np.prod(item.attrs.get_id(name).shape, dtype=float)) > most:
            return {"long": True}, None
        return _told(item.attrs[name])

    def scalar(self, number: int, name: str) -> _Answer:
        return _told(self._item(number, name)[()])

    def read(self, number: int, name: str, key: list[tuple[int | None, int | None]]) -> _Answer:
        values = self._item(number, name)[tuple(slice(*bounds) for bounds in key)]
        return {}, np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def _item(self, number: int, name: str) -> Any:
        """A group or an array, by hard links alone; "link" for another kind of link, None where there is none."""
        import h5py

        item = self._open[number]
        for part in name.strip("/").split("/") if name.strip("/") else ():
            if not isinstance(item, h5py.Group) or part not in item:
                return None
            if not isinstance(item.get(part, getlink=True), h5py.HardLink):
                return "link"
            item = item[part]
        return item


def _told(value: Any) -> _Answer:
    """A number or several as an array, text as text; another kind by its name."""
    array = np.asarray(value)
    if array.dtype.kind in "biuf":
        return {"single": array.ndim == 0}, np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in array.flat]
    if not all(isinstance(text, str) for text in texts):
        return {"other": type(value).__name__}, None
    return {"text": texts[0] if len(texts) == 1 else texts}, None


def _limit_computing() -> None:
    """Have the system end this process (SIGXCPU) where damage leads libhdf5 round in a circle."""
    try:
        import resource
    except ImportError:  # of POSIX alone
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = math.ceil(used.ru_utime + used.ru_stime) + _MOST_SECONDS
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    files = _Files()
    for line in requests:
        _limit_computing()
        request = json.loads(line)
        try:
            told, array = getattr(files, request.pop("ask"))(**request)
        except ERRORS as error:
            told, array = {"error": " ".join(str(error).split()) or type(error).__name__}, None
        if array is not None:
            told = {**told, "of": array.dtype.str, "in": list(array.shape)}
        answers.write(json.dumps(told).encode() + b"\n")
        if array is not None:
            answers.write(array.reshape(-1).view(np.uint8).data)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
