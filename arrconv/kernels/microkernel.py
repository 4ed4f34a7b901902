"""The innermost loop of a convolution, compiled for the processor at hand: rows × vectors of sums in registers.

A tile is `rows` output channels times `vectors` vectors of neighbouring positions. Its sums stay in registers while it
walks over channels and taps; what it reads of the source, it reads where it lies, so that no window is ever copied.
Numba has no vectors of its own, hence these lines in LLVM's language, as functions that Numba's may call.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_INT, _LANE = ir.IntType(64), ir.IntType(32)
_FLOATS = {"float32": (ir.FloatType(), "f32"), "float64": (ir.DoubleType(), "f64")}


@cache
def vector_bytes() -> int:
    """The size of a vector register of this processor; 0 if it has no fused multiply-add."""
    features = binding.get_host_cpu_features()
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return 16
    if not features.get("fma"):
        return 0
    return 64 if features.get("avx512f") else 32


@cache
def vector_length(dtype: str) -> int:
    """How many numbers of a dtype a vector register holds."""
    return vector_bytes() // np.dtype(dtype).itemsize


@cache
def tile(dtype: str, rows: int, vectors: int) -> Any:
    """sum_up(source, offsets, factors, terms, result, step, is_begun), in addresses: the sums of one tile.

    To each row the product of its factor, of which there are `rows` a term, and the vectors at the term's offset in the
    source is added by fused multiply-add, term by term. The sums begin with what the result holds if `is_begun`; it
    has `step` elements from row to row. Returns whether any sum is not finite, 0 or 1.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def sum_up(
        _context: Any, source: Any, offsets: Any, factors: Any, terms: Any, result: Any, step: Any, is_begun: Any
    ) -> Any:
        def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return _Tile(builder, dtype, rows, vectors).emit(*arguments)

        return types.int64(source, offsets, factors, terms, result, step, is_begun), generate

    return sum_up


@intrinsic  # type: ignore[untyped-decorator]
def move(_context: Any, to: Any, source: Any, size: Any) -> Any:
    """Copy so many bytes, in addresses."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        to, source, size = arguments
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(to, byte), builder.inttoptr(source, byte), size, 1)
        return cgutils.get_null_value(_INT)

    return types.int64(to, source, size), generate


class _Tile:
    """Writes the code of a tile with a builder of LLVM's."""

    def __init__(self, builder: Any, dtype: str, rows: int, vectors: int) -> None:
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self.element, name = _FLOATS[dtype]
        self.length, self.align = vector_length(dtype), np.dtype(dtype).itemsize
        self.vector = ir.VectorType(self.element, self.length)
        self.add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fma.v{self.length}{name}"
        )

    def emit(self, source: Any, offsets: Any, factors: Any, terms: Any, result: Any, step: Any, is_begun: Any) -> Any:
        """Begin the sums, loop over the terms, store the sums, look at them."""
        build = self.builder
        source, factors, result = (build.inttoptr(at, self.element.as_pointer()) for at in (source, factors, result))
        offsets = build.inttoptr(offsets, _INT.as_pointer())
        places = [
            build.bitcast(
                build.gep(result, [build.add(build.mul(step, _INT(row)), _INT(column * self.length))]),
                self.vector.as_pointer(),
            )
            for row in range(self.rows)
            for column in range(self.vectors)
        ]
        before = build.block
        loads, loop, after = (build.append_basic_block(name) for name in ("begun", "term", "sums"))
        build.cbranch(build.icmp_signed("!=", is_begun, _INT(0)), loads, loop)
        build.position_at_end(loads)
        found = [self._load(place) for place in places]
        build.branch(loop)
        build.position_at_end(loop)
        term = build.phi(_INT)
        sums = [build.phi(self.vector) for _ in places]
        for phi, begun, empty in zip(
            [term, *sums], [_INT(0), *found], [_INT(0), *[self._zero()] * len(sums)], strict=True
        ):
            phi.add_incoming(begun, loads)
            phi.add_incoming(empty, before)
        added = self._added(sums, build.gep(source, [build.load(build.gep(offsets, [term]))]), factors, term)
        following = build.add(term, _INT(1))
        for phi, value in zip([term, *sums], [following, *added], strict=True):
            phi.add_incoming(value, loop)
        build.cbranch(build.icmp_signed("<", following, terms), loop, after)
        build.position_at_end(after)
        for value, place in zip(added, places, strict=True):
            build.store(value, place).align = self.align
        return self._is_any_not_finite(added)

    def _is_any_not_finite(self, sums: list[Any]) -> Any:
        """Whether s − s, which is 0 for all but NaN and infinities, is anything else for any sum."""
        build, found = self.builder, self._zero()
        for value in sums:
            found = build.fadd(found, build.fsub(value, value))
        bits = build.bitcast(build.fcmp_unordered("uno", found, found), ir.IntType(self.length))
        return build.zext(build.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), _INT)

    def _added(self, sums: list[Any], at: Any, factors: Any, term: Any) -> list[Any]:
        """The sums with one term more."""
        build = self.builder
        read = [
            self._load(build.bitcast(build.gep(at, [_INT(column * self.length)]), self.vector.as_pointer()))
            for column in range(self.vectors)
        ]
        factors = build.gep(factors, [build.mul(term, _INT(self.rows))])
        added = []
        for row in range(self.rows):
            one = build.insert_element(self._undefined(), build.load(build.gep(factors, [_INT(row)])), _LANE(0))
            same = ir.Constant(ir.VectorType(_LANE, self.length), [0] * self.length)
            factor = build.shuffle_vector(one, self._undefined(), same)
            some = sums[row * self.vectors : (row + 1) * self.vectors]
            added += [build.call(self.add, [factor, value, sum_]) for value, sum_ in zip(read, some, strict=True)]
        return added

    def _load(self, place: Any) -> Any:
        value = self.builder.load(place)
        value.align = self.align
        return value

    def _zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.length)

    def _undefined(self) -> Any:
        return ir.Constant(self.vector, ir.Undefined)
