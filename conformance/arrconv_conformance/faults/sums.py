"""Sums of products one after the other, in any arithmetic: slow, and as wrong as they are asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from arrconv_conformance.exact import Products, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrconv import Geometry
    from arrconv_conformance.data import Array
    from arrconv_conformance.faults.call import Call
    from arrconv_conformance.members import Role

LARGEST = 2_000_000
"""The number of products up to which they are listed; larger calls are left to the right library."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The products of every element of a result, as (elements, products) of float64, complex128 or int64.

    Args:
        table: the products in the order of the loops; zeros fill short rows.
        bias: what is added to each element; None for nothing.
        shape: the shape of the result.
    """

    table: Array
    bias: Array | None
    shape: tuple[int, ...]


@lru_cache(maxsize=4)
def _listed(geometry: Geometry) -> Products:
    return Products.of(geometry)


def terms_of(call: Call, change: Callable[[Array], Array] | None = None) -> Terms | None:
    """The terms of a call, of operands that may be changed first; None where there are none, or too many."""
    if call.is_empty or not call.fits or Products.count(call.geometry) > LARGEST:
        return None
    shape = shape_of(call.geometry, call.role, "x" if call.member.startswith("conv_transpose") else "y")
    wide = {np.dtype(dtype).kind: np.dtype(dtype) for dtype in (np.float64, np.complex128, np.int64)}
    changed = {role: change(call.factor(role)) if change else call.factor(role) for role in call.operands}
    kind = call["w"].dtype.kind
    operands = {
        role: array.astype(wide["i" if kind == "u" else "f" if kind == "V" else kind])
        for role, array in changed.items()
    }
    if call.role == "bias":
        table = np.moveaxis(operands[call.factors[0]], 1, 0).reshape(shape[0], -1)
        return Terms(table, None, shape)
    table = _table(call.geometry, call.role, call.factors, operands, int(np.prod(shape)))
    bias = operands.get("bias")
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1, *(1,) * call.ndim), shape).reshape(-1)
    return Terms(table, bias, shape)


def _table(geometry: Geometry, role: Role, factors: tuple[Role, ...], operands: dict[Role, Array], count: int) -> Array:
    inside = _listed(geometry).inside
    places = getattr(inside, role)
    order = np.argsort(places, kind="stable")
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = (operands[factor].reshape(-1)[getattr(inside, factor)] for factor in factors)
        products = (first * second)[order]
    lengths = np.bincount(places, minlength=count)
    starts = np.cumsum(lengths) - lengths
    table = np.zeros((count, int(lengths.max(initial=0))), products.dtype)
    table[places[order], np.arange(len(order)) - starts[places[order]]] = products
    return table


def summed(call: Call, step: Callable[[Array], Array], change: Callable[[Array], Array] | None = None) -> Array:
    """The result of adding one product after the other, with `step` after each addition, and the bias last."""
    terms = terms_of(call, change)
    if terms is None:
        return call.right()
    total = np.zeros(len(terms.table), terms.table.dtype)
    columns = [*terms.table.T, *([] if terms.bias is None else [terms.bias])]
    with np.errstate(all="ignore"):
        for column in columns:
            total = step(total + column)
        return finished(call, total, terms)


def finished(call: Call, total: Any, terms: Terms) -> Array:
    """Sums as the result that is asked for."""
    result = np.asarray(total).reshape(terms.shape)
    return result.astype(np.int64) if result.dtype.kind == "i" else result.astype(call["w"].dtype)
