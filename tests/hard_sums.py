"""Arrays whose sums of products are hard to round, and calls that add up nothing but one row of products for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from geometries import random_geometries
from rational import FORMATS, PARTS, Case, Format, bilinear, dtype_of, linear, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrconv import Geometry


def small_geometries(count: int, *, seed: int, most: int) -> Iterator[Geometry]:
    """Geometries, batch-free ones too, with so few products that the index loop is quick."""
    found = 0
    for number in range(200):
        for g in random_geometries(20, seed=1000 * seed + number):
            if math.prod(g.weight_shape) * g.products("w") <= most:
                yield g
                found += 1
            if found == count:
                return
    raise AssertionError("too few geometries")


def draw(rng: np.random.Generator, g: Geometry, dtype: str, kind: str) -> list[np.ndarray]:
    """x, w, gy and both biases, hard to add up in one way."""
    if dtype not in PARTS:
        return [reals(rng, shape, dtype, kind, at) for at, shape in enumerate(shapes(g))]
    parts = [[reals(rng, shape, PARTS[dtype], kind, at) for at, shape in enumerate(shapes(g))] for _ in range(2)]
    return [joined(real, imaginary) for real, imaginary in zip(*parts, strict=True)]


def joined(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """A complex array; r + 1j·i would lose infinities and signs of zeros."""
    return np.stack([real, imaginary], -1).view(f"c{2 * real.itemsize}")[..., 0]


KINDS = ["normal", "wide", "half-range", "full-range", "subnormal", "cancelling", "opposite", "ties", "near-ties"]
KINDS += ["powers", "integers", "zeros", "overflow"]


def reals(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: str, at: int) -> np.ndarray:
    """An array; `at` says which: 3 and 4 are biases, which join sums of products."""
    form = FORMATS[dtype]
    signs, values = rng.choice([-1.0, 1.0], shape), rng.standard_normal(shape)
    low, high, digits = form.least, form.top, form.precision
    match kind:
        case "wide":
            values *= np.exp((1.5 if dtype == "float16" else 8) * rng.standard_normal(shape))
        case "half-range":
            values = signs * 2.0 ** rng.uniform(low / 2, high / 2 - 3, shape)
        case "full-range":
            values = signs * 2.0 ** rng.uniform(low, high, shape)
        case "subnormal":
            tiny = 2.0 ** (low + digits if at > 2 else low // 2 if at % 2 else low - low // 2 + digits)
            values *= tiny * 2.0 ** rng.integers(-digits, 4, shape)
        case "cancelling":
            values = signs * (1 + at + values * 2.0 ** (-digits // 2))
        case "opposite":  # so few magnitudes that sums are often zero
            values = signs * rng.choice([1 / 3, math.pi], shape)
        case "ties" | "near-ties":  # products just too long for the format
            values = signs * rng.integers(1, 2 ** (digits if at > 2 else digits // 2 + 1), shape)
            if kind == "near-ties":
                values = np.where(rng.random(shape) < 0.3, signs * 2.0 ** (low // 2), values)
        case "powers":
            values = signs * 2.0 ** rng.integers(low // 2, high // 2 - 3, shape)
        case "integers":
            values = rng.integers(-9, 10, shape).astype(float)
        case "zeros":
            values = np.where(rng.random(shape) < 0.8, 0.0 * signs, values)
        case "overflow":  # products or biases about as large as the largest number
            values = signs * 2.0 ** (high if at > 2 else high / 2) * (1 + np.minimum(abs(values) / 4, 0.49))
    largest = float.fromhex(f"{2**digits - 1:#x}p{high - digits + 1}")
    return np.clip(values, -largest, largest).astype(dtype_of(dtype))


# Sums made so that one far bit decides


def traps(rng: np.random.Generator, form: Format, rows: int, *, alone: bool) -> Iterator[list[tuple[int, int]]]:
    """Terms whole·2**exponent: a number, half of its last place, half of that one's last place …, and what cancels.

    `alone`: each term is itself a number of the format, not a product of two.
    """
    digits, low = form.precision, form.least if alone else 2 * form.least
    for _ in range(rows):
        whole = int(rng.integers(2 ** (digits - 1), 2**digits))
        last = form.top - digits + 1
        place = int(rng.integers(form.least, last + 1))
        if rng.random() < 0.2:  # at the threshold of overflow
            whole, place = 2**digits - 1, last
        elif rng.random() < 0.2:  # subnormal, or no number at all
            whole, place = whole >> int(rng.integers(digits)), form.least - (not alone and rng.random() < 0.3)
        terms = [(int(rng.choice([-1, 1])) * whole, place)]
        for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3]))):
            place -= 1
            if rng.random() < 0.2:  # not half of the last place, but something that hides the next
                whole, place = int(rng.integers(1, 2**digits)), place - digits - int(rng.integers(0, 3))
                terms.append((int(rng.choice([-1, 1])) * whole, place))
            else:
                terms.append((int(rng.choice([-1, 1])), place))
                place -= int(rng.choice([0, digits - 1]))
        if rng.random() < 0.9 and place > low:  # the last word, often as far away as can be
            terms.append((int(rng.choice([-1, 1])), low if rng.random() < 0.3 else int(rng.integers(low, place))))
        yield [(whole, at) for whole, at in terms if at >= low]


def factors(rng: np.random.Generator, form: Format, whole: int, place: int, *, alone: bool) -> tuple[float, float]:
    """Two numbers of a format whose product is whole·2**place; the second is 1 if it is to stand `alone`."""
    if alone:
        return np.ldexp(float(whole), place), 1.0
    lowest = max(form.least, place - form.top)
    highest = min(form.top - form.precision + 1, place - form.least)
    own = int(rng.integers(lowest, highest + 1))
    return np.ldexp(float(whole), own), np.ldexp(1.0, place - own)


def trap_arrays(rng: np.random.Generator, dtype: str, rows: int, *, alone: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of factors whose products are a trap among pairs that cancel, in any order."""
    form, columns = FORMATS[dtype], 10
    pairs = np.zeros((rows, columns, 2))
    pairs[..., 1] = alone
    for row, terms in enumerate(traps(rng, form, rows, alone=alone)):
        made = [factors(rng, form, *term, alone=alone) for term in terms]
        for _ in range(int(rng.integers((columns - len(made)) // 2 + 1))):
            whole, factor = int(rng.integers(2**form.precision)), 1.0 if alone else 2.0 ** rng.integers(form.top)
            a = np.ldexp(float(whole), int(rng.integers(form.least, form.top - form.precision + 2)))
            made += [(a, factor), (-a, factor)]
        pairs[row, rng.permutation(columns)[: len(made)]] = made
    a, b = pairs[..., 0].astype(dtype_of(dtype)), pairs[..., 1].astype(dtype_of(dtype))
    assert np.array_equal(a.astype(float), pairs[..., 0])  # nothing was rounded on the way
    assert np.array_equal(b.astype(float), pairs[..., 1])
    return a, b


# Calls


def dot_products(a: np.ndarray, b: np.ndarray) -> Iterator[Case]:
    """The sums of a[m, k]·b[m, k] over k by every member that multiplies, each m a group of its own."""
    rows, terms = a.shape
    exact = bilinear(lambda a, b: (a * b).sum(1), a, b)
    a_line, b_line, o = a.reshape(1, -1), b.reshape(1, -1), {"groups": rows}
    row, column = ([part.reshape(shape) for part in exact] for shape in ((1, rows), (rows, 1)))
    yield Case("conv", (a_line, b), o, [row])
    yield Case("conv", (a[None], b[:, None]), o, [[part.reshape((1, rows, 1)) for part in exact]])
    yield Case("conv_grad_input", (a.conj().reshape(-1, 1), b_line), o | {"input_size": ()}, [row])
    yield Case("conv_grad_weight", (a.T.conj(), b.T), o | {"kernel_size": ()}, [column])
    yield Case("conv_transpose", (a_line, b.reshape(rows * terms, 1)), o, [row])


def sums(a: np.ndarray) -> Case:
    """The sums of a[m, k] over k by the member that only adds."""
    return Case("conv_grad_bias", (a.T,), {"spatial_ndim": 0}, [linear(lambda a: a.sum(1), a)])


def matrix_products(a: np.ndarray, b: np.ndarray) -> Iterator[Case]:
    """The product of two matrices by every member that multiplies."""
    exact = bilinear(np.matmul, a, b)
    yield Case("conv", (a, b.T), {}, [exact])
    yield Case("conv_grad_input", (b.conj(), a), {"input_size": ()}, [exact])
    yield Case("conv_grad_weight", (b.conj(), a.T), {"kernel_size": ()}, [exact])
    yield Case("conv_transpose", (a, b), {}, [exact])
