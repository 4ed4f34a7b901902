"""y = A x solved for x, zeros around: how far each method comes in a given time, its own and other libraries'."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arrconv.linop import Conv, pinv, to_scipy
from arrconv.linop.solve import cgls, lsmr, lsqr
from benchmarks.engine import PAUSE, seconds, spread
from benchmarks.operators.problems import Array, check_same, kernels, normal, relative

GOALS = (1e-3, 1e-6, 1e-10)
MOMENTS = (1, 5, 15, 60, 240)  # seconds
MOST = 10**9  # iterations: time ends it
APPLICATIONS = 3
THINNED = 1.05  # times later than the point before: those of a curve that are kept


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """The last goal is reached, or the time is over."""


@dataclass(slots=True)
class Watch:
    """A clock beside a method, told of each x, which stands still while the residual ‖A x − y‖/‖y‖ is computed.

    Attributes:
        curve: seconds and residuals.
    """

    operator: Conv
    y: Array
    limit: float
    curve: list[tuple[float, float]] = field(default_factory=list)
    _began: float = field(default_factory=lambda: time.perf_counter())

    def __call__(self, x: Array) -> None:
        elapsed = self.elapsed()
        residual = relative(self.operator @ np.reshape(x, self.operator.shape_in), self.y)
        self.curve.append((elapsed, residual))
        if residual <= GOALS[-1] or elapsed >= self.limit:
            raise Enough
        self._began = time.perf_counter() - elapsed

    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def record(self) -> dict[str, Any]:
        """When each goal was first reached, how far it was at some moments, and a curve with fewer points."""
        kept = self.curve[:1]
        for point in self.curve[1:]:
            if point[0] >= THINNED * kept[-1][0] or point is self.curve[-1]:
                kept.append(point)
        return {
            "reached": {f"{goal:g}": next((t for t, r in self.curve if r <= goal), None) for goal in GOALS},
            "after": {
                f"{moment}": next((r for t, r in reversed(self.curve) if t <= moment), 1.0)
                for moment in MOMENTS
                if moment <= self.limit
            },
            "told": len(self.curve),
            "curve": kept,
        }


Solve = Callable[[Conv, Array, Watch], Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """The operator as a library has it, between arrays of arrconv's shapes, and its ways to solve."""

    forward: Callable[[Array], Array]
    adjoint: Callable[[Array], Array]
    methods: dict[str, Solve]


def of_arrconv(operator: Conv) -> Contender:
    def by(solver: Callable[..., Any]) -> Solve:
        return lambda a, y, watch: solver(a, y, rtol=0.0, iterations=MOST, callback=lambda step: watch(step.x))

    methods = {solver.__name__: by(solver) for solver in (lsqr, lsmr, cgls)}
    return Contender(operator.apply, operator.H.apply, methods)


def of_scipy(operator: Conv) -> Contender:
    """SciPy has no such operator: it is given arrconv's. Its solvers tell nobody of x, which is seen in their frame."""
    from scipy.sparse import linalg

    inner = to_scipy(operator)

    def by(name: str, limit: str) -> Solve:
        def solve(_: Conv, y: Array, watch: Watch) -> None:
            def forward(v: Array) -> Array:
                watch(local_of(name, "x"))
                return inner.matvec(v)

            seen = linalg.LinearOperator(inner.shape, forward, inner.rmatvec, dtype=inner.dtype)
            getattr(linalg, name)(seen, np.ravel(y), atol=0.0, btol=0.0, conlim=0.0, **{limit: MOST})

        return solve

    return Contender(
        lambda x: inner.matvec(np.ravel(x)).reshape(operator.shape_out),
        lambda y: inner.rmatvec(np.ravel(y)).reshape(operator.shape_in),
        {"lsqr": by("lsqr", "iter_lim"), "lsmr": by("lsmr", "maxiter")},
    )


def local_of(function: str, name: str) -> Any:
    """A variable of the nearest function of this name that is waiting for this one to return."""
    frame = sys._getframe()
    while frame.f_code.co_name != function:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals[name]


def of_pylops(operator: Conv) -> Contender:
    """A block of one convolution for each pair of channels, since PyLops has none of many channels."""
    import pylops
    from pylops.optimization import basic
    from pylops.signalprocessing import ConvolveND

    size, kernel = operator.geometry.input_size, flipped(operator.w)
    inner = pylops.Block([[ConvolveND(size, h=h, offset=(1, 1)) for h in row] for row in kernel])

    def by_lsqr(_: Conv, y: Array, watch: Watch) -> None:
        options = {"atol": 0.0, "btol": 0.0, "conlim": 0.0, "calc_var": False}
        basic.lsqr(inner, np.ravel(y), niter=MOST, callback=watch, **options)

    def by_cgls(_: Conv, y: Array, watch: Watch) -> None:
        basic.cgls(inner, np.ravel(y), niter=MOST, tol=0.0, callback=watch)

    return Contender(
        lambda x: inner.matvec(np.ravel(x)).reshape(operator.shape_out),
        lambda y: inner.rmatvec(np.ravel(y)).reshape(operator.shape_in),
        {"lsqr": by_lsqr, "cgls": by_cgls},
    )


def of_sigpy(operator: Conv) -> Contender:
    """The full convolution, cropped, since SigPy has none that gives as much as it takes."""
    from sigpy.app import LinearLeastSquares
    from sigpy.linop import ConvolveData, Resize

    full = ConvolveData(operator.shape_in, flipped(operator.w), mode="full", multi_channel=True)
    inner = Resize(operator.shape_out, full.oshape) * full

    def by_cg(_: Conv, y: Array, watch: Watch) -> None:
        app = LinearLeastSquares(inner, y, max_iter=MOST, show_pbar=False)
        app._post_update = lambda: watch(app.x)
        app.run()

    return Contender(inner, inner.H, {"LinearLeastSquares, CG": by_cg})


def flipped(w: Array) -> Array:
    """The kernel of signal processing."""
    return np.flip(w, axis=(2, 3))


CONTENDERS = {"arrconv": of_arrconv, "scipy": of_scipy, "pylops": of_pylops, "sigpy": of_sigpy}


def race(channels: int, size: int, limit: float, rounds: int, libraries: Iterable[str]) -> dict[str, Any]:
    """Each method of arrconv and of other libraries, for each kernel."""
    contenders = {library: CONTENDERS[library] for library in ("arrconv", *libraries)}
    return {
        name: solved(Conv(w, (size, size), padding=1), contenders, limit, rounds)
        for name, w in kernels(channels, size).items()
    }


def solved(
    operator: Conv, contenders: dict[str, Callable[[Conv], Contender]], limit: float, rounds: int
) -> dict[str, Any]:
    """One problem, after it was seen that the operators are the same."""
    y = operator @ normal(*operator.shape_in)
    made = {library: make(operator) for library, make in contenders.items()}
    applications = {library: applied(library, one, operator) for library, one in made.items()}
    methods = {"arrconv pinv": directly(operator, y, limit, rounds)}
    for library, one in made.items():
        for name, solve in one.methods.items():
            time.sleep(PAUSE)
            watch = Watch(operator, y, limit)
            with suppress(Enough):
                solve(operator, y, watch)
            methods[f"{library} {name}"] = watch.record()
    return {"applications": applications, "methods": methods}


def applied(library: str, one: Contender, operator: Conv) -> dict[str, Any]:
    """The time of the operator and of its adjoint, once they have given what arrconv's give."""
    found = {}
    for name, function, right in (("forward", one.forward, operator), ("adjoint", one.adjoint, operator.H)):
        x = normal(*right.shape_in)
        check_same(f"{library}, {name},", function(x), right @ x)
        found[f"{name}_ms"] = spread([seconds(lambda f=function, x=x: f(x)) * 1e3 for _ in range(APPLICATIONS)])
    return found


def directly(operator: Conv, y: Array, limit: float, rounds: int) -> dict[str, Any]:
    """The pseudo-inverse: the first solution, set-up and all, and what each further one takes."""
    time.sleep(PAUSE)
    watch = Watch(operator, y, limit)
    inverse = pinv(operator, method="border")
    set_up = watch.elapsed()
    with suppress(Enough):
        watch(inverse @ y)
    further = spread([seconds(lambda: inverse @ y) for _ in range(rounds)])
    return watch.record() | {"set_up_s": set_up, "further_s": further}
