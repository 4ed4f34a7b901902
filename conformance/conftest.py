"""Leaves out the adapters whose libraries are not installed here; doctests are looked for in all other modules."""

from importlib.util import find_spec

_LIBRARIES = {"cupy": "cupy", "strict": "array_api_strict", "torch": "torch"}

collect_ignore = [
    f"arrconv_conformance/adapters/{adapter}.py"
    for adapter, library in _LIBRARIES.items()
    if find_spec(library) is None
]
