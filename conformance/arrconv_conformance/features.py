"""Features: what a case asks for beside the plain convolution, as the columns of the report's matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arrconv_conformance.cases import Case

FEATURES = (
    "plain",
    "stride",
    "padding",
    "unequal padding",
    "cropping",
    "padding by name",
    "dilation",
    "groups",
    "depthwise",
    "circular",
    "reflect",
    "replicate",
    "output padding",
    "0-D",
    "1-D",
    "2-D",
    "3-D",
    "4-D",
    "empty",
    "layouts",
    "NaN and infinity",
    "subnormal",
    "wide range",
    "long sums",
)


def features_of(case: Case) -> list[str]:
    """The features of a case, in the order of FEATURES."""
    geometry = case.geometry
    axes, groups = geometry.axes, geometry.groups
    pads = [(axis.begin, axis.end) for axis in axes]
    is_transposed = str(case.member).startswith("conv_transpose")
    depthwise = groups > 1 and geometry.in_channels == groups
    found = {
        "stride": any(axis.stride > 1 for axis in axes),
        "padding": any(begin > 0 or end > 0 for begin, end in pads),
        "unequal padding": any(begin != end for begin, end in pads),
        "cropping": any(begin < 0 or end < 0 for begin, end in pads),
        "padding by name": case.padding is not None,
        "dilation": any(axis.dilation > 1 and axis.kernel_size > 1 for axis in axes),
        "groups": groups > 1 and not depthwise,
        "depthwise": depthwise,
        "output padding": is_transposed and any(geometry.slack),
        "empty": geometry.is_empty,
        "layouts": bool(case.layout),
        "NaN and infinity": case.data in ("nan", "inf", "huge"),
        "subnormal": case.data in ("subnormal", "underflow"),
        "wide range": case.data == "wide",
        "long sums": max(geometry.products(role) for role in ("x", "w", "y")) >= 500,
    }
    found[geometry.padding_mode] = geometry.padding_mode != "zeros"
    plain = not any(found.values())
    found[f"{geometry.ndim}-D"] = True
    found["plain"] = plain
    return [feature for feature in FEATURES if found.get(feature)]
