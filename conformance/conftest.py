"""Leaves out the adapters whose libraries are not installed here; doctests are looked for in all other modules."""

from importlib.util import find_spec

_LIBRARIES = {
    "_onnx_model": "onnx",
    "cupy": "cupy",
    "jax": "jax",
    "mlx": "mlx",
    "onnx_reference": "onnx",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "scipy": "scipy",
    "strict": "array_api_strict",
    "tensorflow": "tensorflow",
    "tinygrad": "tinygrad",
    "torch": "torch",
}

collect_ignore = [
    f"arrconv_conformance/adapters/{adapter}.py"
    for adapter, library in _LIBRARIES.items()
    if find_spec(library) is None
]

if find_spec("onnx") is None:
    collect_ignore.append("arrconv_conformance/onnx_vectors.py")
