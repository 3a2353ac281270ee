"""The side of the candidate: what runs inside the sandbox, and the plain data that crosses its border.

The file is run from its source by the system's interpreter, so it knows the standard library only. It executes one
program and then answers calls by number: a value that is plain data is sent as JSON, anything else stays here and
goes out as the number by which it can be handed back. Nothing here decides whether a test passed, and nothing that
a test expects ever comes here; a program that takes this process over can only send other values than it computed.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, cast

Remotes = Callable[[Any], int]
HEADER = struct.Struct(">I")
LARGEST = 8 * 2**20
"""Bytes of a message; what is longer is not read."""
LONGEST_WORDS = 300
"""Characters of what an exception says."""
TYPES = {kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)}
"""The built-in types, which a test may hand over as such."""
COLLECTIONS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
RARER: dict[str, Callable[[Any], Any]] = {
    "int": lambda digits: int(digits, 16),
    "complex": lambda parts: complex(*parts),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "type": TYPES.__getitem__,
}
DECIMAL_BITS = 8192
"""Longer integers travel as hexadecimal digits: Python limits how many decimal ones it reads."""


def encode(value: Any, remote: Remotes) -> Any:
    """Return a value as JSON; what is no plain data becomes the number that ``remote`` gives it.

    Subclasses of built-in types travel as the built-in type: nothing that they define leaves the process.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return _scalar(value)
    if isinstance(value, list):
        return [encode(item, remote) for item in cast(list[Any], value)]
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(item, remote) for item in cast(tuple[Any, ...], value)]}
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value).items()
        return {"dict": [[encode(key, remote), encode(item, remote)] for key, item in pairs]}
    return _rarer(value) or {"remote": remote(value)}


def _scalar(value: bool | int | float | str | None) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= DECIMAL_BITS else {"int": hex(value)}
    return float(value) if isinstance(value, float) else str(value)


def _rarer(value: Any) -> dict[str, Any] | None:
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes" if isinstance(value, bytes) else "bytearray": value.hex()}
    if isinstance(value, type) and TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    return None


def decode(data: Any, remote: Callable[[int], Any]) -> Any:
    """Return the value of what ``encode`` made, of exact built-in types; ``remote`` finds what has a number.

    Raises ValueError, TypeError or LookupError for anything else.
    """
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [decode(item, remote) for item in cast(list[Any], data)]
    [(kind, content)] = cast(dict[str, Any], data).items()
    if kind in COLLECTIONS:
        return COLLECTIONS[kind](decode(item, remote) for item in content)
    if kind == "dict":
        return {decode(key, remote): decode(item, remote) for key, item in content}
    if kind == "remote":
        return remote(int(content))
    return RARER[kind](content)


def packed(message: Any) -> bytes:
    """Return a message as bytes. Raises ValueError for one that is too long."""
    body = json.dumps(message).encode("ascii")
    if len(body) > LARGEST:
        raise ValueError(f"got {len(body)} bytes of data, expected at most {LARGEST}")
    return HEADER.pack(len(body)) + body


def write(descriptor: int, content: bytes) -> None:
    """Write all bytes."""
    while content:
        content = content[os.write(descriptor, content) :]


def receive(piece: Callable[[int], bytes]) -> Any:
    """Return the next message; ``piece`` waits for up to so many bytes.

    Raises EOFError when the other side is gone, and ValueError or RecursionError for what is no message.
    """
    (size,) = HEADER.unpack(_exactly(piece, HEADER.size))
    if size > LARGEST:
        raise ValueError(f"got {size} bytes of data, expected at most {LARGEST}")
    return json.loads(_exactly(piece, size))


def _exactly(piece: Callable[[int], bytes], size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        more = piece(min(size - len(found), 2**16))
        if not more:
            raise EOFError
        found += more
    return bytes(found)


def described(error: BaseException) -> str:
    """Return what an exception says, in one line; its own ``__str__`` may fail."""
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    except BaseException:  # noqa: BLE001 - the candidate's code runs here, and anything that it raises is its own
        text = type(error).__name__
    return text[:LONGEST_WORDS]


class Kept:
    """The values that stayed here, by number."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def number(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def answer(self, request: dict[str, Any], module: types.ModuleType) -> Any:
        """Carry out one request: run the program, find a name, or call, go through or judge the truth of a value."""
        if "run" in request:
            return exec(compile(request["run"], "<program>", "exec"), module.__dict__)
        if "name" in request:
            if request["name"] not in vars(module):
                raise NameError(f"the program does not define {request['name']}")
            return {"remote": self.number(vars(module)[request["name"]])}
        if "iterate" in request:
            return encode(list(self.values[request["iterate"]]), self.number)
        if "truth" in request:
            return bool(self.values[request["truth"]])
        found = self.values.__getitem__
        arguments, options = decode(request["arguments"], found), decode(request["options"], found)
        return encode(self.values[request["call"]](*arguments, **options), self.number)


def set_limits(limits: dict[str, int]) -> None:
    """Lower this process's limits for good: ``cpu`` in seconds, ``memory`` and ``file`` in bytes, ``processes``."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu"], limits["cpu"] + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file"], limits["file"]))
    resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))


def serve(limits: dict[str, int]) -> None:
    """Answer requests until the other side is gone; what the program prints goes nowhere."""
    requests, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    set_limits(limits)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    kept = Kept()
    write(answers, packed({"ready": True}))
    while True:
        try:
            request = receive(partial(os.read, requests))
        except EOFError:
            return
        try:
            reply = packed({"value": kept.answer(request, module)})
        except BaseException as error:  # noqa: BLE001 - whatever the program raises is its answer
            reply = packed({"raised": described(error)})
        write(answers, reply)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
