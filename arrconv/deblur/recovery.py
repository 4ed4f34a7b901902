"""The ways back from a blurred picture to a sharp one. All know the kernel; each knows something of the scene.

Noise is white. The scene has a mean, which is taken away first, and around it a power S(f): a power law that is fitted
to the picture, or the same at all frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arrconv.deblur.scene import tapered, view
from arrconv.deblur.statistics import noise_of, power_law_of
from arrconv.errors import SpecError
from arrconv.functional.reals import as_number
from arrconv.linop import tikhonov, wiener
from arrconv.linop.solve import cg, cgls

if TYPE_CHECKING:
    from arrconv.deblur.scene import Boundary, View
    from arrconv.deblur.statistics import PowerLaw
    from arrconv.linop import Inverse
    from arrconv.linop.solve import Step

OnStep = Callable[[int, float], None]
"""Is told after an iteration its number and the residual."""

_RTOL = 3e-4  # of the normal equations; smaller ones change photographs by less than 0.1 dB


@dataclass(frozen=True, slots=True)
class Recovery:
    """A sharp picture, and how it was found.

    Attributes:
        picture: float64 (C, H, W).
        residuals: the root mean square of what the answer, blurred, differs by from the picture: where the iteration
            began and after each step; for a method without iterations one number.
        noise: the standard deviation that was assumed.
        law: the power of the scene that was fitted.
        damp: the standard deviation of the noise by that of the scene, as it was assumed; None where nothing is damped.
        message: why the iteration stopped, or how the filter was made.
        explanation: what was assumed, in words.
    """

    picture: np.ndarray
    residuals: tuple[float, ...]
    noise: float
    law: PowerLaw
    damp: float | None
    message: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What a method is given.

    Attributes:
        picture: the blurred one, without its mean.
        periodic: the same on the torus of `view.circulant`.
        view: how it came about.
        noise: its standard deviation.
        ratio: the noise by the standard deviation of the scene, as they were found.
        damp: the ratio that was asked for.
        shape: the power of the scene at each frequency of `view.circulant`, with the mean 1.
        iterations: the most that are allowed.
        on_step: is told of each, if there is one.
    """

    picture: np.ndarray
    periodic: np.ndarray
    view: View
    noise: float
    ratio: float
    damp: float | None
    shape: np.ndarray
    iterations: int
    on_step: OnStep | None

    def residual(self, scene: np.ndarray) -> float:
        """The root mean square of what a scene, blurred, differs by from the picture."""
        return float(np.sqrt(np.mean((self.view.blur @ scene - self.picture) ** 2)))


@dataclass(frozen=True, slots=True)
class Found:
    """What a method answers: the scene without its mean, the residuals, the damping, and how it ended."""

    scene: np.ndarray
    residuals: tuple[float, ...]
    damp: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Method:
    """A way back.

    Attributes:
        solve: does it.
        explanation: what it does.
        is_direct: whether it has no iterations, and takes the picture for periodic.
        is_damped: whether it can be told how much to damp.
    """

    solve: Callable[[Problem], Found]
    explanation: str
    is_direct: bool = False
    is_damped: bool = True


def recover(
    picture: np.ndarray,
    kernel: np.ndarray,
    *,
    method: str = "cg",
    boundary: Boundary = "unknown",
    noise: float | None = None,
    damp: float | None = None,
    iterations: int = 100,
    on_step: OnStep | None = None,
) -> Recovery:
    """Undo a known blur.

    Args:
        picture: the blurred one, float64 (C, H, W); each channel is a picture of its own.
        kernel: float64 (height, width), convolved with; its middle is at n//2 of each axis.
        method: one of `METHODS`.
        boundary: what the blur saw beyond the picture, as for `view`.
        noise: the standard deviation of the noise, above 0; found in the picture where it is not given.
        damp: the standard deviation of the noise by that of the scene, above 0; where it is not given the method finds
            it.
        iterations: the most that are allowed.
        on_step: is told of each.

    Returns:
        A `Recovery`.

    Raises:
        SpecError: an argument has no meaning, or not for this method.
        ShapeError: the kernel is larger than the picture.

    >>> sharp = np.random.default_rng(0).random((1, 8, 10))
    >>> kernel = np.asarray([[1.0, 8.0, 1.0]]) / 10
    >>> blurred = view(kernel, (8, 10), "circular").blur @ sharp
    >>> found = recover(blurred, kernel, boundary="circular", noise=1e-9)
    >>> float(np.max(np.abs(found.picture - sharp))) < 1e-8
    True
    """
    way = _checked(method, boundary, noise, damp)
    seen = view(kernel, picture.shape[1:], boundary)
    noise = max(noise_of(picture, kernel), math.ulp(1.0)) if noise is None else noise
    law = power_law_of(picture, kernel, noise)
    spectrum = law.spectrum(seen.circulant.size)
    power = float(np.mean(spectrum))
    total = float(kernel.sum())
    is_mean_seen = abs(total) > 1e-9 * float(np.abs(kernel).sum())
    means = picture.mean(axis=(1, 2), keepdims=True) / (total if is_mean_seen else 1.0)
    flat = np.broadcast_to(means, (len(picture), *seen.blur.shape_in))
    centred = picture - seen.blur @ flat
    problem = Problem(
        centred, tapered(centred, kernel, seen.circulant.size), seen, noise, noise / math.sqrt(power), damp,
        spectrum / power, iterations, on_step,
    )  # fmt: skip
    found = way.solve(problem)
    beyond = "a tapered border" if way.is_direct and boundary == "unknown" else f"{boundary} boundary"
    return Recovery(
        seen.crop @ (found.scene + flat), found.residuals, noise, law, found.damp, found.message,
        f"{way.explanation}; {beyond}",
    )  # fmt: skip


def _checked(method: str, boundary: Boundary, noise: float | None, damp: float | None) -> Method:
    if method not in METHODS:
        raise SpecError(f"method={method!r} is unknown; there are {', '.join(METHODS)}")
    for name, number in (("noise", noise), ("damp", damp)):
        if number is not None and as_number(number, name) <= 0:
            raise SpecError(f"{name} must be above 0, but got {number!r}")
    way = METHODS[method]
    if way.is_direct and boundary not in ("unknown", "circular"):
        raise SpecError(f"{method} works by frequencies; its boundary can be unknown or circular, not {boundary!r}")
    if damp is not None and not way.is_damped:
        raise SpecError(f"{method} does not damp, so that damp={damp!r} has no meaning")
    return way


def _by_wiener(problem: Problem) -> Found:
    damp = problem.damp or problem.ratio
    return _filtered(problem, wiener(problem.view.circulant, problem.shape, damp**2), damp)


def _by_tikhonov(problem: Problem) -> Found:
    damp = problem.damp or _discrepant(problem)
    return _filtered(problem, tikhonov(problem.view.circulant, damp), damp)


def _filtered(problem: Problem, inverse: Inverse, damp: float) -> Found:
    scene = inverse @ problem.periodic
    return Found(scene, (problem.residual(scene),), damp, inverse.explain())


def _discrepant(problem: Problem) -> float:
    """The damping at which Tikhonov's answer leaves a residual as large as noise, where no taper has lessened that.

    Source: V. A. Morozov, "On the solution of functional equations by the method of regularization", 1966.
    """
    circulant = problem.view.circulant
    filtered, spectrum = np.abs(circulant.symbol) ** 2, np.fft.rfft2(problem.periodic)
    height, width = problem.picture.shape[1:]
    is_kept = problem.periodic[:, :height, :width] == problem.picture
    if not is_kept.any():
        is_kept = np.ones_like(is_kept)
    scale = math.sqrt(float(filtered.max()))
    low, high = 1e-12 * scale, 1e12 * scale
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        left = np.fft.irfft2(spectrum * (middle**2 / (filtered + middle**2)), circulant.size)[:, :height, :width]
        is_less = np.mean(left[is_kept] ** 2) < problem.noise**2
        low, high = (middle, high) if is_less else (low, middle)
    return low


def _by_cg(problem: Problem) -> Found:
    """The least ‖A x − y‖² + damp²·Σ|x̂|²/S, from Wiener's answer on, preconditioned as if the scene were periodic."""
    circulant, blur = problem.view.circulant, problem.view.blur
    damp = problem.damp or problem.ratio
    penalty = damp**2 / problem.shape + 0j
    system = blur.gram() + circulant.with_symbol(penalty)
    near = circulant.with_symbol(1 / (np.abs(circulant.symbol) ** 2 + penalty))
    start = wiener(circulant, problem.shape, damp**2) @ problem.periodic
    curve = _Curve(problem, start)
    found = cg(
        system, blur.H @ problem.picture, x0=start, preconditioner=near, rtol=_RTOL, iterations=problem.iterations,
        callback=curve,
    )  # fmt: skip
    return Found(found.x, tuple(curve.residuals), damp, found.message)


def _by_cgls(problem: Problem) -> Found:
    """The least ‖A x − y‖², until it is as small as noise.

    Source: P. C. Hansen, "Rank-deficient and discrete ill-posed problems", 1998, sections 6.3 and 7.2.
    """
    blur = problem.view.blur
    curve = _Curve(problem, np.zeros((len(problem.picture), *blur.shape_in)), problem.noise)
    found = cgls(blur, problem.picture, rtol=0.0, iterations=problem.iterations, callback=curve)
    is_reached = curve.residuals[-1] <= problem.noise
    message = f"the residual is that of noise after {found.iterations} iterations" if is_reached else found.message
    return Found(found.x, tuple(curve.residuals), None, message)


class _Curve:
    """Notes the residual of a scene after each iteration, and stops where it is small enough."""

    def __init__(self, problem: Problem, start: np.ndarray, enough: float = 0.0) -> None:
        self._problem, self._enough = problem, enough
        self.residuals = [problem.residual(start)]

    def __call__(self, step: Step) -> bool:
        self.residuals.append(self._problem.residual(step.x))
        if self._problem.on_step is not None:
            self._problem.on_step(step.iteration, self.residuals[-1])
        return self.residuals[-1] <= self._enough


METHODS = {
    "wiener": Method(_by_wiener, "Wiener's filter for a power law", is_direct=True),
    "tikhonov": Method(_by_tikhonov, "Tikhonov's damped inverse, for equal power at all frequencies", is_direct=True),
    "cg": Method(_by_cg, "least squares damped by a power law, by preconditioned conjugate gradients"),
    "cgls": Method(_by_cgls, "least squares, stopped where the residual is noise", is_damped=False),
}
"""The ways back, by name."""
