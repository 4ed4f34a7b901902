"""Planted faults: libraries that are right but for one thing. The suite must find each of them."""

from __future__ import annotations

from arrconv_conformance.faults import (
    arithmetic,
    axes,
    behaviour,
    calls,
    gradients,
    groups,
    loops,
    memory,
    padding,
    values,
)
from arrconv_conformance.faults.call import Call
from arrconv_conformance.faults.fault import Fault, Planted
from arrconv_conformance.faults.right import RIGHT

KINDS: dict[str, list[Fault]] = {
    "space": axes.FAULTS,
    "padding": padding.FAULTS,
    "groups": groups.FAULTS,
    "loops": loops.FAULTS,
    "gradients": gradients.FAULTS,
    "arithmetic": arithmetic.FAULTS,
    "values": values.FAULTS,
    "memory": memory.FAULTS,
    "behaviour": behaviour.FAULTS,
    "wrong calls": calls.FAULTS,
}
"""All faults by kind."""

FAULTS: dict[str, Fault] = {fault.name: fault for faults in KINDS.values() for fault in faults}
"""All faults by name."""

__all__ = ["FAULTS", "KINDS", "RIGHT", "Call", "Fault", "Planted"]
