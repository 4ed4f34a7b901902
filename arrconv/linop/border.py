"""Zero padding, inverted exactly: periodic on a larger torus, corrected on the border that is cropped away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrconv._namespace import device_of, namespace_of
from arrconv.linop.circular import differences, unravelled
from arrconv.linop.factor import Factored
from arrconv.linop.frequencies import phase_circulant, symbol_bytes
from arrconv.linop.laws import adjoint_gap, random_like, two_norm
from arrconv.linop.matrices import itemsize, over_budget
from arrconv.linop.operator import Operator
from arrconv.linop.simple import Pad, Phases, Reshape
from arrconv.linop.stacked import inverses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrconv._namespace import Array
    from arrconv.linop.circular import Circulant
    from arrconv.linop.convolution import Conv

_TRIES = 3  # tori, each larger by one, of which one should have no singular frequency


@dataclass(frozen=True, slots=True)
class Embedding:
    """A zero-padded convolution as after.H @ circulant @ before.

    Attributes:
        circulant: a convolution on a torus so large that what is read across its edge is zero.
        before, after: x and y laid into arrays of the torus, the phases of x as channels; isometries.
    """

    circulant: Circulant
    before: Operator
    after: Operator


def embedding(conv: Conv, extra: int = 0) -> Embedding:
    """The embedding of a convolution with zeros around its input, in the least torus, or one larger by `extra`."""
    geometry, like = conv.geometry, conv.example
    size, strides = torus_size(conv, extra), [a.stride for a in geometry.axes]
    circulant = phase_circulant(conv.w, geometry, size)
    given, made = (geometry.in_channels, *geometry.input_size), (geometry.out_channels, *geometry.output_size)
    ends = [(0, s * m - n) for s, m, n in zip(strides, size, geometry.input_size, strict=True)]
    padded = Pad(given, ends, like)
    before = Phases(padded.shape_out, strides, like) @ (padded @ Reshape(conv.shape_in, given, like))
    missing = [(0, m - n) for m, n in zip(size, geometry.output_size, strict=True)]
    after = Pad(made, missing, like) @ Reshape(conv.shape_out, made, like)
    return Embedding(circulant, before, after)


def torus_size(conv: Conv, extra: int) -> tuple[int, ...]:
    """The least torus that a convolution is part of, or one larger by `extra`, in steps of its stride."""
    return tuple(axis.torus_size + extra for axis in conv.geometry.axes)


class Boxed:
    """A circulant, given arrays that are zero outside of boxes, and looked at within others alone: B.

    B u = f is solved by the circulant's inverse G. Let f be continued outside of its boxes by unknown numbers w; then
    G (f + w) must vanish outside of those of u, which are as many equations: G_SS w = −(G f)_S.

    Args:
        inverse: G, with as many channels in as out.
        given, made: booleans (C, *size), the boxes of u and of f, which have as many elements.
    """

    def __init__(self, inverse: Circulant, given: Array, made: Array) -> None:
        xp = inverse.xp
        self._inverse = inverse
        self._of_u, self._of_f = _Border(xp, given), _Border(xp, made)
        self._factored = Factored(_looked_up(inverse, self._of_u, self._of_f))

    def solve(self, f: Array) -> Array:
        """The u with B u = f, both (N, C, *size) and zero outside of their boxes."""
        return _solved(f, self._inverse._map, self._of_u, self._of_f, self._factored.solve)

    def solve_adjoint(self, u: Array) -> Array:
        """The f with B.H f = u."""
        return _solved(u, self._inverse._map_back, self._of_f, self._of_u, self._factored.solve_adjoint)


@dataclass(frozen=True, slots=True)
class _Alike:
    """Channels with the same box, and the places outside of it, in the order of `reshape`."""

    channels: Array
    places: Array


class _Border:
    """The numbers outside of boxes, in arrays (N, C, *size): of channels that are alike place by place, all channels
    at each.
    """

    def __init__(self, xp: Any, is_inside: Array) -> None:
        self._xp = xp
        channels, size = is_inside.shape[0], math.prod(is_inside.shape[1:])
        flat = xp.reshape(is_inside, (channels, size))
        self.groups = list(_alike(xp, flat))
        lists = [xp.reshape(g.places[:, None] + size * g.channels[None, :], (-1,)) for g in self.groups]
        self._numbers = xp.concat(lists) if lists else xp.zeros((0,), dtype=xp.int64, device=device_of(is_inside))
        # Where each place of an array is in that order, from 1 on; 0 inside.
        flat = xp.reshape(flat, (-1,))
        order = xp.concat([xp.zeros((1,), dtype=xp.int64, device=device_of(is_inside)), xp.argsort(self._numbers) + 1])
        count = xp.cumulative_sum(xp.astype(~flat, xp.int64))
        self._rank = xp.take(order, xp.where(flat, xp.zeros_like(count), count))

    def taken(self, array: Array) -> Array:
        """The numbers there, (N, places)."""
        flat = self._xp.reshape(array, (array.shape[0], math.prod(array.shape[1:])))
        return self._xp.take(flat, self._numbers, axis=1)

    def laid(self, numbers: Array, shape: tuple[int, ...]) -> Array:
        """Zeros, with numbers (N, places) there."""
        xp = self._xp
        zero = xp.zeros((numbers.shape[0], 1), dtype=numbers.dtype, device=device_of(numbers))
        return xp.reshape(xp.take(xp.concat([zero, numbers], axis=1), self._rank, axis=1), shape)


def _alike(xp: Any, is_inside: Array) -> Iterator[_Alike]:
    """The channels of booleans (C, places) by their boxes; those without anything outside are left out."""
    left = list(range(is_inside.shape[0]))
    while left:
        same = xp.all(is_inside == is_inside[left[0], ...][None, :], axis=1)
        places = xp.nonzero(~is_inside[left[0], ...])[0]
        channels = xp.nonzero(same)[0]
        if places.shape[0]:
            yield _Alike(channels, places)
        left = [channel for channel in left if not bool(same[channel])]


def _solved(
    f: Array, inverse: Callable[[Array], Array], of_u: _Border, of_f: _Border, solve: Callable[[Array], Array]
) -> Array:
    xp = namespace_of(f)
    w = xp.matrix_transpose(solve(xp.matrix_transpose(-of_u.taken(inverse(f)))))
    return inverse(f + of_f.laid(w, f.shape))


def _looked_up(inverse: Circulant, of_u: _Border, of_f: _Border) -> Array:
    """G_SS, out of the kernel of G: what a number at q adds at p depends on p − q."""
    xp, size = inverse.xp, inverse.size
    channels, count = inverse.shape_in[0], math.prod(size)
    kernel = xp.permute_dims(xp.reshape(inverse.kernel(), (channels, channels, count)), (0, 2, 1))  # (C_u, places, C_f)
    rows = []
    for to in of_u.groups:
        there = unravelled(to.places, size)
        row = []
        for of in of_f.groups:
            # One index for all channels of f, whose numbers lie side by side.
            own = xp.take(kernel, of.channels, axis=2)
            apart = differences(there, unravelled(of.places, size), size)
            index = to.channels[None, :, None] * count + apart[:, None, :]
            found = xp.take(xp.reshape(own, (channels * count, own.shape[2])), xp.reshape(index, (-1,)), axis=0)
            row.append(xp.reshape(found, (index.shape[0] * index.shape[1], index.shape[2] * own.shape[2])))
        rows.append(row[0] if len(row) == 1 else xp.concat(row, axis=1))
    if not rows:
        return xp.zeros((0, 0), dtype=inverse.dtype, device=inverse.device)
    return rows[0] if len(rows) == 1 else xp.concat(rows)


class BorderInverse(Operator):
    """The inverse of a zero-padded convolution A, in one of three senses, as a system on a torus.

    [[a, A], [A.H, b]] [r, x] = [y, 0] has for x: with a > 0 = b the least squares solution, where the columns of A are
    independent; with b > 0 = a the solution of least norm, where its rows are; with a = −b = damp > 0 Tikhonov's. Where
    A is square and invertible, A x = y itself will do.

    Args:
        conv: with zeros around its input.
        embedding: of it.
        inverse: of the system on the torus.
    """

    def __init__(self, conv: Conv, embedding: Embedding, inverse: Circulant) -> None:
        super().__init__(conv.shape_out, conv.shape_in, conv.example)
        circulant, before, after = embedding.circulant, embedding.before, embedding.after
        is_augmented = inverse.shape_in != circulant.shape_out
        if is_augmented:
            rows, columns = circulant.shape_out[0], circulant.shape_in[0]
            after, before = _among(after, 0, columns), _among(before, rows, 0)
        self._before, self._after = before, after
        given, made = _reached(before), _reached(after)
        if is_augmented:
            given = made = given | made
        self._boxed = Boxed(inverse, given, made)

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
        diagonal: what the system has on its diagonal, (a, b) as for `BorderInverse`, for an embedding; None for none.
        budget: the bytes that the border's matrix, and that the system's symbol, may take.
    """
    eps = float(conv.xp.finfo(conv.dtype).eps)
    for extra in range(_TRIES):
        size = torus_size(conv, extra)
        needed = symbol_bytes(conv, size)
        if needed > budget:
            return None, f"its symbol on a torus of {size} {over_budget(needed, budget)}"
        found = embedding(conv, extra)
        chosen = diagonal(conv, found)
        side = border_size(found, chosen is not None)
        needed = side**2 * itemsize(conv)
        text = f"{side:,} unknown numbers around a torus of {size}, a matrix of {needed / 2**20:,.0f} MiB"
        if needed > budget:
            return None, f"{text}, but the budget is {budget / 2**20:,.0f} MiB"
        system = found.circulant if chosen is None else _bordered(found.circulant, chosen)
        inverse = inverses(system.symbol, system.symbol.shape[-1] / eps)
        if inverse is not None:
            break
    else:
        return None, f"on {_TRIES} tori it has frequencies at which it is singular"
    result = BorderInverse(conv, found, system.with_symbol(inverse))
    gap = _probed(conv, result, is_damped=chosen is not None and 0.0 not in chosen)
    text = f"{text}; a probe came back with an error of {gap:.0e}"
    if not gap <= math.sqrt(eps):
        return None, f"{text}: the rank is not full, or nearly so"
    return result, text


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
