"""The checking of calls: each member's arguments become a `Contraction`, a `ChannelSum`, or a `ConvGrads` of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from arrconv._namespace import Array, backend_of
from arrconv.errors import ShapeError, SpecError
from arrconv.functional.contraction import ChannelSum, Computation, Contraction, check_bias
from arrconv.geometry import Geometry, check_shape
from arrconv.kernels import check_algorithm
from arrconv.spec import ConvOptions, ConvSpec, ConvTransposeOptions, as_int, check_options, sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NEEDS = ("input", "weight", "bias")


@dataclass(frozen=True, slots=True)
class ConvGrads:
    """The gradients of a convolution by its input, weight and bias; None where one was not asked for."""

    input: Any = None
    weight: Any = None
    bias: Any = None

    def map(self, function: Callable[[Any], Any]) -> ConvGrads:
        """A function of each that is there."""
        return ConvGrads(*(None if part is None else function(part) for part in (self.input, self.weight, self.bias)))


def evaluate(calls: ConvGrads, algorithm: str) -> ConvGrads:
    """All the gradients, once it is certain that none of them is refused."""
    check_algorithm(algorithm)
    if algorithm != "auto":  # under which nothing is refused
        calls.map(lambda call: call.explain(algorithm))
    return calls.map(lambda call: call.evaluate(algorithm))


def call_of(member: str, arrays: tuple[Array, ...], options: dict[str, Any]) -> Computation | ConvGrads:
    """The checked call of a member known by name."""
    if not isinstance(member, str) or member not in MEMBERS:
        raise SpecError(f"member={member!r} is unknown; the members are {', '.join(MEMBERS)}")
    if member in _OPTIONS:
        check_options(member, options, _OPTIONS[member])
    call: Computation | ConvGrads = MEMBERS[member](*arrays, **options)
    return call


def conv(x: Array, w: Array, bias: Array | None = None, /, **options: Unpack[ConvOptions]) -> Contraction:
    """The call of `conv`, whose own signature has checked the names of the options."""
    backend = backend_of(x=x, w=w, bias=bias)
    geometry = Geometry.forward(ConvSpec.of(_spatial_ndim(w), **options), x.shape, w.shape)
    check_bias(bias, geometry.out_channels)
    return Contraction("y", geometry, backend, x, w, bias)


def conv_transpose(
    y: Array, w: Array, bias: Array | None = None, /, **options: Unpack[ConvTransposeOptions]
) -> Contraction:
    """The call of `conv_transpose`, whose own signature has checked the names of the options."""
    backend = backend_of(y=y, w=w, bias=bias)
    forward: dict[str, Any] = dict(options)
    size = {name: forward.pop(name) for name in ("output_padding", "output_size") if name in forward}
    spec = ConvSpec.of(_spatial_ndim(w), **forward)
    geometry = Geometry.transposed(spec, y.shape, w.shape, **size)
    check_bias(bias, geometry.in_channels)
    return Contraction("x", geometry, backend, w, y, bias)


def conv_grad_input(
    w: Array, gy: Array, /, *, input_size: Sequence[int], **options: Unpack[ConvOptions]
) -> Contraction:
    """The call of `conv_grad_input`."""
    check_options("conv_grad_input", options, ConvOptions)
    backend = backend_of(w=w, gy=gy)
    ndim = _spatial_ndim(w)
    spec = ConvSpec.of(ndim, **options)
    x_shape = (*_lead("gy", gy, ndim), w.shape[1] * spec.groups, *sizes(input_size, "input_size", ndim))
    geometry = Geometry.forward(spec, x_shape, w.shape)
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return Contraction("x", geometry, backend, backend.conjugate(w), gy)


def conv_grad_weight(
    x: Array, gy: Array, /, *, kernel_size: Sequence[int], **options: Unpack[ConvOptions]
) -> Contraction:
    """The call of `conv_grad_weight`."""
    check_options("conv_grad_weight", options, ConvOptions)
    backend = backend_of(x=x, gy=gy)
    kernel = sizes(kernel_size, "kernel_size", minimum=1)
    spec = ConvSpec.of(len(kernel), **options)
    channels = []
    for name, array in (("x", x), ("gy", gy)):
        channels.append(array.shape[len(_lead(name, array, len(kernel)))])
        if channels[-1] % spec.groups:
            raise ShapeError(f"{name} has {channels[-1]} channels, which groups={spec.groups} does not divide")
    geometry = Geometry.forward(spec, x.shape, (channels[1], channels[0] // spec.groups, *kernel))
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return Contraction("w", geometry, backend, backend.conjugate(x), gy)


def conv_grad_bias(gy: Array, /, *, spatial_ndim: int | None = None) -> ChannelSum:
    """The call of `conv_grad_bias`."""
    backend = backend_of(gy=gy)
    if spatial_ndim is None:
        if gy.ndim < 2:
            raise ShapeError(f"gy has shape {tuple(gy.shape)}, but needs (N, C_out, *output); or give spatial_ndim")
        return ChannelSum(backend, gy, gy.ndim - 2)
    ndim = as_int(spatial_ndim, "spatial_ndim", 0)
    _lead("gy", gy, ndim)
    return ChannelSum(backend, gy, ndim)


def conv_backward(
    x: Array, w: Array, gy: Array, /, *, needs: Iterable[str] = NEEDS, **options: Unpack[ConvOptions]
) -> ConvGrads:
    """The calls of `conv_backward`."""
    check_options("conv_backward", options, ConvOptions)
    backend, geometry = backend_of(x=x, w=w, gy=gy), conv(x, w, **options).geometry
    check_shape("gy", gy.shape, geometry.output_shape, "the output for these sizes")
    return _needed(
        needs,
        input=lambda: Contraction("x", geometry, backend, backend.conjugate(w), gy),
        weight=lambda: Contraction("w", geometry, backend, backend.conjugate(x), gy),
        bias=lambda: ChannelSum(backend, gy, geometry.ndim),
    )


def conv_transpose_backward(
    y: Array, w: Array, gx: Array, /, *, needs: Iterable[str] = NEEDS, **options: Unpack[ConvTransposeOptions]
) -> ConvGrads:
    """The calls of `conv_transpose_backward`."""
    check_options("conv_transpose_backward", options, ConvTransposeOptions)
    backend, geometry = backend_of(y=y, w=w, gx=gx), conv_transpose(y, w, **options).geometry
    check_shape("gx", gx.shape, geometry.input_shape, "the result for these sizes")
    return _needed(
        needs,
        input=lambda: Contraction("y", geometry, backend, gx, backend.conjugate(w)),
        weight=lambda: Contraction("w", geometry, backend, gx, backend.conjugate(y)),
        bias=lambda: ChannelSum(backend, gx, geometry.ndim),
    )


MEMBERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv,
        conv_transpose,
        conv_grad_input,
        conv_grad_weight,
        conv_grad_bias,
        conv_backward,
        conv_transpose_backward,
    )
}


_OPTIONS = {"conv": ConvOptions, "conv_transpose": ConvTransposeOptions}


def _needed(needs: Iterable[str], **calls: Callable[[], Computation]) -> ConvGrads:
    """The calls that are needed; making one may already copy an array."""
    error = SpecError(f"needs={needs!r} must be a collection of {', '.join(map(repr, NEEDS))}")
    if isinstance(needs, str):
        raise error
    try:
        needed = tuple(needs)
    except TypeError:
        raise error from None
    if any(need not in NEEDS for need in needed):
        raise error
    return ConvGrads(**{need: calls[need]() for need in needed})


def _spatial_ndim(w: Array) -> int:
    if w.ndim < 2:
        raise ShapeError(f"w has shape {tuple(w.shape)}, but needs (C_out, C_in/groups, *kernel)")
    return int(w.ndim) - 2


def _lead(name: str, array: Array, ndim: int) -> tuple[int, ...]:
    """The batch axis of an array with `ndim` spatial axes: (N,), or () if it is batch-free."""
    if array.ndim not in (ndim + 1, ndim + 2):
        raise ShapeError(
            f"{name} has {array.ndim} axes, shape {tuple(array.shape)}, but {ndim} spatial axes expect {ndim + 2}, "
            f"or {ndim + 1} without a batch"
        )
    return tuple(array.shape[: array.ndim - ndim - 1])
