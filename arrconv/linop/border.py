"""Zero padding, inverted exactly: periodic on a larger torus, corrected on the border that is cropped away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import device_of
from arrconv.linop.factor import Factored
from arrconv.linop.frequencies import phase_circulant
from arrconv.linop.laws import adjoint_gap, random_like, two_norm
from arrconv.linop.operator import Operator
from arrconv.linop.simple import Pad, Phases, Reshape

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv._namespace import Array
    from arrconv.linop.circular import Circulant
    from arrconv.linop.convolution import Conv

_TRIES = 3  # tori, each larger by one, of which one should have no singular frequency
_AT_ONCE = 2**22  # elements of the border's matrix that are looked up together


@dataclass(frozen=True, slots=True)
class Embedding:
    """A zero-padded convolution as after.H @ circulant @ before.

    Attributes:
        circulant: a convolution on a torus so large that what is read across its edge is zero.
        before, after: x and y laid into arrays of the torus, the phases of x as channels; isometries.
        least, largest: singular values of the symbol, at any frequency.
    """

    circulant: Circulant
    before: Operator
    after: Operator
    least: float
    largest: float


def embedding(conv: Conv, extra: int = 0) -> Embedding:
    """The embedding of a convolution with zeros around its input, in the least torus, or one larger by `extra`."""
    geometry, like = conv.geometry, conv.example
    size, strides = [a.torus_size + extra for a in geometry.axes], [a.stride for a in geometry.axes]
    circulant = phase_circulant(conv.w, geometry, size)
    given, made = (geometry.in_channels, *geometry.input_size), (geometry.out_channels, *geometry.output_size)
    ends = [(0, s * m - n) for s, m, n in zip(strides, size, geometry.input_size, strict=True)]
    padded = Pad(given, ends, like)
    before = Phases(padded.shape_out, strides, like) @ (padded @ Reshape(conv.shape_in, given, like))
    missing = [(0, m - n) for m, n in zip(size, geometry.output_size, strict=True)]
    after = Pad(made, missing, like) @ Reshape(conv.shape_out, made, like)
    values = conv.xp.linalg.svdvals(circulant.symbol)
    return Embedding(circulant, before, after, float(conv.xp.min(values)), float(conv.xp.max(values)))


class Boxed:
    """A circulant, given arrays that are zero outside of boxes, and looked at within others alone: B.

    B u = f is solved by the circulant's inverse G. Let f be continued outside of its boxes by unknown numbers w; then
    G (f + w) must vanish outside of those of u, which are as many equations: G_SS w = −(G f)_S.

    Args:
        circulant: with as many channels in as out, whose symbol is invertible at each frequency.
        given, made: booleans (C, *size), the boxes of u and of f, which have as many elements.
    """

    def __init__(self, circulant: Circulant, given: Array, made: Array) -> None:
        xp = circulant.xp
        self._inverse = circulant.with_symbol(xp.linalg.inv(circulant.symbol))
        self._of_u, self._of_f = _Border(xp, given), _Border(xp, made)
        self._factored = Factored(_looked_up(self._inverse, self._of_u, self._of_f))

    def solve(self, f: Array) -> Array:
        """The u with B u = f, both (N, C, *size) and zero outside of their boxes."""
        return _solved(f, self._inverse, self._of_u, self._of_f, self._factored.solve)

    def solve_adjoint(self, u: Array) -> Array:
        """The f with B.H f = u."""
        return _solved(u, self._inverse.H, self._of_f, self._of_u, self._factored.solve_adjoint)


class _Border:
    """The places outside of boxes, in arrays (N, C, *size), and those of one channel if all have the same."""

    def __init__(self, xp: Any, is_inside: Array) -> None:
        self._xp, flat = xp, xp.reshape(is_inside, (-1,))
        self.places = xp.nonzero(~flat)[0]
        count = xp.cumulative_sum(xp.astype(~flat, xp.int64))
        self._rank = xp.where(flat, xp.zeros_like(count), count)  # from 1 on; 0 inside
        is_shared = bool(xp.all(is_inside == is_inside[:1, ...]))
        self.shared = xp.nonzero(~xp.reshape(is_inside[0, ...], (-1,)))[0] if is_shared else None  # of each channel

    def taken(self, array: Array) -> Array:
        """The numbers there, (N, places)."""
        flat = self._xp.reshape(array, (array.shape[0], math.prod(array.shape[1:])))
        return self._xp.take(flat, self.places, axis=1)

    def laid(self, numbers: Array, shape: tuple[int, ...]) -> Array:
        """Zeros, with numbers (N, places) there."""
        xp = self._xp
        zero = xp.zeros((numbers.shape[0], 1), dtype=numbers.dtype, device=device_of(numbers))
        return xp.reshape(xp.take(xp.concat([zero, numbers], axis=1), self._rank, axis=1), shape)


def _solved(f: Array, inverse: Circulant, of_u: _Border, of_f: _Border, solve: Callable[[Array], Array]) -> Array:
    xp = inverse.xp
    w = xp.matrix_transpose(solve(xp.matrix_transpose(-of_u.taken(inverse._map(f)))))
    return inverse._map(f + of_f.laid(w, f.shape))


def _looked_up(inverse: Circulant, of_u: _Border, of_f: _Border) -> Array:
    """G_SS, out of the kernel of G: what a number at q adds at p depends on p − q."""
    xp, channels = inverse.xp, inverse.shape_in[0]
    kernel = inverse.kernel()
    rows, columns = of_u.places.shape[0], of_f.places.shape[0]
    found = [xp.zeros((0, columns), dtype=inverse.dtype, device=inverse.device)]
    if of_u.shared is not None and of_f.shared is not None:  # one index for all pairs of channels: three times as fast
        there, here = (_unravelled(places, inverse.size) for places in (of_u.shared, of_f.shared))
        index = xp.reshape(_differences(there, here, inverse.size), (-1,))
        for channel in range(channels):
            flat = xp.reshape(kernel[channel, ...], (channels, math.prod(inverse.size)))
            part = xp.reshape(xp.take(flat, index, axis=1), (channels, rows // channels, columns // channels))
            found.append(xp.reshape(xp.permute_dims(part, (1, 0, 2)), (rows // channels, columns)))
        return xp.concat(found)
    (to, *there), (of, *here) = (_unravelled(border.places, inverse.shape_in) for border in (of_u, of_f))
    flat, step = xp.reshape(kernel, (-1,)), max(1, _AT_ONCE // max(1, columns))
    for start in range(0, rows, step):
        own = slice(start, min(rows, start + step))
        index = (to[own][:, None] * channels + of[None, :]) * math.prod(inverse.size)
        index = index + _differences([p[own] for p in there], here, inverse.size)
        found.append(xp.reshape(xp.take(flat, xp.reshape(index, (-1,))), (own.stop - own.start, columns)))
    return xp.concat(found)


def _differences(there: list[Array], here: list[Array], size: tuple[int, ...]) -> Array:
    """The place of p − q on the torus, in the order of `reshape`, for all pairs (p, q)."""
    index = there[0][:, None] * 0 + here[0][None, :] * 0
    for p, q, n in zip(there, here, size, strict=True):
        index = index * n + (p[:, None] - q[None, :]) % n
    return index


def _unravelled(flat: Array, shape: tuple[int, ...]) -> list[Array]:
    """The index along each axis of places in the order of `reshape`."""
    return [flat // math.prod(shape[axis + 1 :]) % n for axis, n in enumerate(shape)]


class BorderInverse(Operator):
    """The inverse of a zero-padded convolution A, in one of three senses, as a system on a torus.

    [[a, A], [A.H, b]] [r, x] = [y, 0] has for x: with a > 0 = b the least squares solution, where the columns of A are
    independent; with b > 0 = a the solution of least norm, where its rows are; with a = −b = damp > 0 Tikhonov's. Where
    A is square and invertible, A x = y itself will do.

    Args:
        conv: with zeros around its input.
        embedding: of it.
        diagonal: (a, b), or None for the last way.
    """

    def __init__(self, conv: Conv, embedding: Embedding, diagonal: tuple[float, float] | None) -> None:
        super().__init__(conv.shape_out, conv.shape_in, conv.example)
        circulant, before, after = embedding.circulant, embedding.before, embedding.after
        if diagonal is not None:
            rows, columns = circulant.shape_out[0], circulant.shape_in[0]
            circulant = _bordered(circulant, diagonal)
            after, before = _among(after, 0, columns), _among(before, rows, 0)
        self._before, self._after = before, after
        given, made = _reached(before), _reached(after)
        if diagonal is not None:
            given = made = given | made
        self._boxed = Boxed(circulant, given, made)

    def _map(self, y: Array) -> Array:
        return self._before._map_back(self._boxed.solve(self._after._map(y)))

    def _map_back(self, x: Array) -> Array:
        return self._after._map_back(self._boxed.solve_adjoint(self._before._map(x)))


def has_zeros_around(conv: Conv) -> bool:
    """Whether a convolution reads zeros, or nothing, beyond its input."""
    return conv.geometry.padding_mode == "zeros" or all(a.begin == a.end == 0 for a in conv.geometry.axes)


def bordered(
    conv: Conv, diagonal: Callable[[Operator, Embedding], tuple[float, float] | None], budget: int
) -> tuple[Operator | None, str]:
    """The inverse of a convolution with zeros around its input, or why there is none.

    Args:
        conv: the convolution.
        diagonal: what the system has on its diagonal, as for `BorderInverse`, for an embedding.
        budget: the bytes that the border's matrix may take.
    """
    for extra in range(_TRIES):
        found = embedding(conv, extra)
        chosen = diagonal(conv, found)
        is_damped = chosen is not None and 0.0 not in chosen
        if is_damped or found.least > conv.xp.finfo(conv.dtype).eps * found.largest:
            break
    else:
        return None, f"on {_TRIES} tori it has frequencies at which it is singular"
    side = border_size(found, chosen is not None)
    size = side**2 * conv.xp.finfo(conv.dtype).bits // 8 * (2 if conv.is_complex else 1)
    text = f"{side:,} unknown numbers around a torus of {found.circulant.size}, a matrix of {size / 2**20:,.0f} MiB"
    if size > budget:
        return None, f"{text}, but the budget is {budget / 2**20:,.0f} MiB"
    inverse = BorderInverse(conv, found, chosen)
    gap = _probed(conv, inverse, is_damped)
    limit = math.sqrt(float(conv.xp.finfo(conv.dtype).eps))
    if not gap <= limit:
        return None, f"{text}; a probe came back with an error of {gap:.0e}: the rank is not full, or nearly so"
    return inverse, f"{text}; a probe came back with an error of {gap:.0e}"


def _probed(conv: Conv, inverse: Operator, is_damped: bool) -> float:
    """How far A B A x is from A x, unless it is damped, and the adjoint of B from one: NaN or large if B is wrong."""
    x, y = (random_like(conv.example, (1, *shape), 11) for shape in (conv.shape_in, conv.shape_out))
    gap = adjoint_gap(inverse._map, inverse._map_back, y, x)
    if is_damped:
        return gap
    image = conv._map(x)
    return max(
        gap, two_norm(conv._map(inverse._map(image)) - image) / max(two_norm(image), math.ulp(0.0)), key=_nan_first
    )


def _nan_first(number: float) -> float:
    return math.inf if math.isnan(number) else number


def border_size(embedding: Embedding, is_augmented: bool) -> int:
    """How many unknown numbers lie on the border: the side of the matrix that is factored."""
    given, made = (op.size_out - op.size_in for op in (embedding.before, embedding.after))
    return given + made if is_augmented else made


def _bordered(circulant: Circulant, diagonal: tuple[float, float]) -> Circulant:
    """[[a, K], [K.H, b]]."""
    xp, symbol = circulant.xp, circulant.symbol
    rows, columns = symbol.shape[-2:]
    lead = symbol.shape[:-2]
    corners = [
        xp.broadcast_to(number * xp.eye(n, dtype=symbol.dtype, device=circulant.device), (*lead, n, n))
        for number, n in zip(diagonal, (rows, columns), strict=True)
    ]
    upper = xp.concat([corners[0], symbol], axis=-1)
    lower = xp.concat([circulant.H.symbol, corners[1]], axis=-1)
    return circulant.with_symbol(xp.concat([upper, lower], axis=-2))


def _among(operator: Operator, before: int, behind: int) -> Operator:
    """Its results (C, *size) with so many channels of zeros before and behind them."""
    ends = [(before, behind), *((0, 0),) * (len(operator.shape_out) - 1)]
    return Pad(operator.shape_out, ends, operator.example) @ operator


def _reached(operator: Operator) -> Array:
    """Where the results of an operator that lays numbers down have them."""
    xp = operator.xp
    ones = xp.ones((1, *operator.shape_in), dtype=operator.dtype, device=operator.device)
    return operator._map(ones)[0, ...] != 0
