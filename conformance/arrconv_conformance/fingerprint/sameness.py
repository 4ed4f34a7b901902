"""What the bits of a result depend on beside the numbers that it is made of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.data import operand
from arrconv_conformance.layouts import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv_conformance.data import Array
    from arrconv_conformance.fingerprint.subject import Subject
    from arrconv_conformance.members import Role

_LAYOUTS = ("last", "fortran", "strided")
_THREADS = (1, 2)


def dependences(subject: Subject) -> tuple[str, ...]:
    """What the bits depend on, in words: the run, the batch, the position, the memory layout, the number of threads."""
    arrays = {role: _numbers(subject, role) for role in subject.operands}
    signal = subject.operands[0]
    if subject.result != "w":
        arrays[signal][1:] = arrays[signal][:1]
    result = subject.call(arrays)
    found = ["the run"] if _differ(subject.call(arrays), result) else []
    if subject.result != "w" and len(result) > 1:
        if any(_differ(image, result[0]) for image in result[1:]):
            found.append("the position in the batch")
        if _differ(subject.call(arrays | {signal: arrays[signal][:1]})[0], result[0]):
            found.append("the batch size")
    if subject.result != "w" and _varies_in_space(subject, arrays):
        found.append("the position in space")
    if layouts := list(_layouts(subject, arrays, result)):
        found.append(f"the memory layout ({', '.join(layouts)})")
    if hasattr(subject.adapter, "set_threads") and _varies_with_threads(subject, arrays):
        found.append("the number of threads")
    return tuple(found)


def _numbers(subject: Subject, role: Role) -> Array:
    return operand(f"sameness {role}", subject.shape(role), "normal", subject.dtype, 0)


def _differ(first: Array, second: Array) -> bool:
    return first.tobytes() != second.tobytes()  # in C order, whatever their layouts


def _varies_in_space(subject: Subject, arrays: dict[Role, Array]) -> bool:
    """Whether results of a signal that is constant in space are not, where no padding is in reach."""
    signal = subject.operands[0]
    axes = subject.geometry.axes
    first: Any = (..., *(slice(1) for _ in axes))
    inner: Any = (..., *(slice(axis.kernel_size // 2, axis.input_size - axis.kernel_size // 2) for axis in axes))
    constant = np.broadcast_to(arrays[signal][first], arrays[signal].shape).copy()
    result = subject.call(arrays | {signal: constant})[inner]
    return _differ(np.broadcast_to(result[first], result.shape), result)


def _layouts(subject: Subject, arrays: dict[Role, Array], result: Array) -> Iterator[str]:
    for layout in _LAYOUTS:
        try:
            other = subject.call({role: LAYOUTS[layout](array) for role, array in arrays.items()})
        except Exception:  # a framework may well take no such views, which the suite reports elsewhere
            continue
        if _differ(other, result):
            yield layout


def _varies_with_threads(subject: Subject, arrays: dict[Role, Array]) -> bool:
    results = []
    for count in _THREADS:
        subject.adapter.set_threads(count)
        results.append(subject.call(arrays))
    subject.adapter.set_threads(os.cpu_count() or 1)
    return any(_differ(other, results[0]) for other in results[1:])
