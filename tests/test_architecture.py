"""The rules of the house that can be read off the source: layers, who may name which library, sizes, documentation.

Every rule is a function from source text to a list of faults, so that each is also seen to find one.
"""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import array_api_strict
import pytest

import arrconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
CODE = ("arrconv", "conformance", "tests", "benchmarks", "examples")

# From the bottom up. A module may import from the rows below its own, and from its own entry; entries that stand side
# by side in a row do not know each other. `name.*` is a package with everything in it, `arrconv` the package itself.
LAYERS = (
    ("errors",),
    ("_namespace",),
    ("spec",),
    ("axis",),
    ("geometry _casestring",),
    ("slicing", "products"),
    ("trilinear", "bounds", "padding", "powers"),
    ("expansion", "rows"),
    ("slices", "settling"),
    ("kernels.base", "kernels.limits", "kernels.blas", "kernels.nvrtc"),
    ("kernels.threads", "kernels.memory"),
    ("kernels.blocks", "kernels.walks"),
    ("kernels.strips", "kernels.tile_plan", "kernels.fourier", "kernels.stacks"),
    ("kernels.taps", "kernels.gather", "kernels.integers"),
    ("kernels.finite", "kernels.correlations", "kernels.microkernel"),
    ("kernels.correlate", "kernels.scatter", "kernels.dots", "kernels.tile_loops"),
    ("kernels.gemm", "kernels.table"),
    ("kernels.tiles", "kernels.fft", "kernels.cuda"),
    ("kernels.implicit", "kernels.cudnn"),
    ("kernels",),
    ("functional.*",),
    ("nn.*", "linop.*", "viz.*"),
    ("train.*",),
    ("deblur.*",),
    ("arrconv",),
    ("cli",),
)
IMPORTERS = {
    "array_api_compat": "_namespace",
    "numpy": "_namespace kernels.* viz.* train.* deblur.*",
}
# Nothing but the standard, and no assignment to a part of an array.
PLAIN = ("trilinear", "slicing", "padding", "powers", "expansion", "rows", "slices", "settling")
FUNCTIONAL = (*PLAIN, "functional.*")
STANDARD = {name for name in array_api_strict.__all__ if "strict" not in name.lower()} - {"Device", "__version__"}
ARRAY_METHODS = {"reshape", "astype", "copy", "sum", "transpose", "swapaxes", "get", "item", "view", "flatten", "ravel"}
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
DRAWERS = ("utils", "helpers")
# Spelled so that this file does not name what it forbids.
ELSEWHERE = rf"(?<![\w.-])/(?:{'|'.join(['work', 'farm', 'home', 'root', 'Users'])})/"
HOSTS = (
    ("pypi", "org"),
    ("python" + "hosted", "org"),
    ("download.pytorch", "org"),
    ("anaconda", "org"),
    ("conda", "io"),
)
PRIVATE = re.compile(rf"{ELSEWHERE}|{'|'.join(re.escape('.'.join(parts)) for parts in HOSTS)}")


def layer_faults(module: str, source: str) -> list[str]:
    own = layer_of(module)
    if own is None:
        return [f"{module} has no layer; add it to LAYERS in tests/{Path(__file__).name}"]
    faults = []
    for line, name in imported(source):
        if name.startswith("."):
            faults.append(f"{module}:{line} imports {name} relatively; write the name in full")
        elif name.partition(".")[0] == "arrconv":
            level, entry = layer_of_target(name)
            if level > own[0]:
                faults.append(f"{module}:{line} imports {name} from a layer above its own")
            elif level == own[0] and entry != own[1]:
                faults.append(f"{module}:{line} imports {name}, which stands beside it")
    return faults


def layer_of(module: str) -> tuple[int, str] | None:
    found = ((level, entry) for level, row in enumerate(LAYERS) for entry in row if is_one_of(module, entry))
    return next(found, None)


def layer_of_target(name: str) -> tuple[int, str]:
    """The layer of the module that an imported name lies in."""
    module = name.removeprefix("arrconv.")
    while (layer := layer_of(module)) is None:
        module = module.rpartition(".")[0] or "arrconv"
    return layer


def is_one_of(module: str, patterns: str) -> bool:
    """Whether a module is among names separated by spaces, `name.*` standing for a package with everything in it."""
    return any(module == p.removesuffix(".*") or fnmatch(module, p) for p in patterns.split())


def imported(source: str) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of everything that is imported anywhere; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, package + alias.name) for alias in node.names)


def importer_faults(module: str, source: str) -> list[str]:
    return [
        f"{module}:{line} imports {name}; only {allowed} may"
        for line, name in imported(source)
        for library, allowed in IMPORTERS.items()
        if name.partition(".")[0] == library and not is_one_of(module, allowed)
    ]


def cupy_faults(source: str) -> list[str]:
    named = [(line, name) for line, name in imported(source) if {"cupy", "cupyx"} & set(name.split("."))]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            named += [(node.lineno, name)] if name in ("cupy", "cupyx") else []
    return [f"line {line} names {name}; only kernels/nvrtc.py and the adapters may" for line, name in named]


def assignment_faults(source: str) -> list[str]:
    return [
        f"line {node.lineno} assigns to {ast.unparse(node)}; build a new array instead"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
    ]


def standard_faults(source: str) -> list[str]:
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_namespace(node.value) and node.attr not in STANDARD:
            faults.append(f"line {node.lineno}: {ast.unparse(node)} is not in the Array API standard")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            method = node.func
            if method.attr in ARRAY_METHODS and not is_namespace(method.value):
                faults.append(f"line {node.lineno}: {ast.unparse(method)} is no method of the Array API standard")
    return faults


def is_namespace(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "xp") or (isinstance(node, ast.Attribute) and node.attr == "xp")


def size_faults(source: str) -> list[str]:
    lines = len(source.splitlines())
    faults = [f"{lines} lines, {MOST_LINES} at most"] if lines > MOST_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = extent(node) - (extent(node.body[0]) if ast.get_docstring(node) is not None else 0)
            if length > MOST_FUNCTION_LINES:
                faults.append(f"{node.name} has {length} lines without its docstring, {MOST_FUNCTION_LINES} at most")
    return faults


def extent(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def name_faults(path: str) -> list[str]:
    return [f"{part} says nothing about what is in it" for part in Path(path).parts if Path(part).stem in DRAWERS]


def documentation_faults(source: str, public: set[str]) -> list[str]:
    faults = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in public:
            text = ast.get_docstring(node) or ""
            wanted = sections(node) if isinstance(node, ast.FunctionDef) else []
            missing = [section for section in wanted if section not in text] if text else ["a docstring"]
            faults += [f"{node.name} lacks {', '.join(missing)}"] if missing else []
    return faults


def sections(function: ast.FunctionDef) -> list[str]:
    """What the docstring of a public function must hold; a context manager yields what others return."""
    yields = any(isinstance(node, ast.Yield) for node in ast.walk(function))
    return ["Args:", "Yields:" if yields else "Returns:", "Raises:", ">>>"]


def privacy_faults(text: str) -> list[str]:
    return [
        f"line {number} mentions {found[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := PRIVATE.search(line))
    ]


def sources(*folders: str) -> list[Path]:
    return [path for path in repository() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def repository(folder: Path = ROOT) -> Iterator[Path]:
    """Every file that is not ignored by the repository."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = [".git", *(line.strip("/") for line in lines)]
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from repository(path)
        else:
            yield path


def package_modules(*patterns: str) -> Iterator[tuple[str, str]]:
    """The name below arrconv and the source of the package's modules, of all or of some."""
    for path in sources("arrconv"):
        parts = path.relative_to(ROOT / "arrconv").with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__") or "arrconv"
        if not patterns or is_one_of(module, " ".join(patterns)):
            yield module, path.read_text(encoding="utf-8")


def check(faults: dict[str, list[str]]) -> None:
    found = [f"{place}: {fault}" for place, some in faults.items() for fault in some]
    assert not found, "\n".join(["the source breaks a rule of the house", *found])


def test_imports_point_downwards() -> None:
    check({m: layer_faults(m, source) for m, source in package_modules() if m != "arrconv"})


def test_only_some_modules_import_numpy_and_the_compatibility_layer() -> None:
    check({m: importer_faults(m, source) for m, source in package_modules()})


def test_only_its_kernel_and_the_adapters_name_cupy() -> None:
    places = {str(path.relative_to(ROOT)): path for path in sources("arrconv", "conformance")}
    exempt = [place for place in places if place == "arrconv/kernels/nvrtc.py" or re.search(r"/adapters?\b", place)]
    check({place: cupy_faults(path.read_text("utf-8")) for place, path in places.items() if place not in exempt})


def test_the_definition_and_what_users_call_assign_to_no_part_of_an_array() -> None:
    check({m: assignment_faults(source) for m, source in package_modules(*FUNCTIONAL)})


def test_the_definition_uses_only_the_standard() -> None:
    check({m: standard_faults(source) for m, source in package_modules(*PLAIN)})


def test_files_and_functions_are_short() -> None:
    check({str(path.relative_to(ROOT)): size_faults(path.read_text("utf-8")) for path in sources(*CODE)})


def test_no_file_is_a_drawer() -> None:
    check({place: name_faults(place) for place in (str(path.relative_to(ROOT)) for path in sources(*CODE))})


def test_public_names_are_documented() -> None:
    modules = dict(package_modules())
    public: dict[str, set[str]] = {}
    for name in arrconv.__all__:
        if name != "__version__":
            public.setdefault(getattr(arrconv, name).__module__.removeprefix("arrconv."), set()).add(name)
    check({m: documentation_faults(modules[m], names) for m, names in public.items()})
    nodes = [node for module in public for node in ast.parse(modules[module]).body]
    defined = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert set().union(*public.values()) <= defined  # every name was found, so none went unchecked


def test_no_file_mentions_a_private_folder_or_a_package_registry() -> None:
    texts = {}
    for path in repository():
        data = path.read_bytes()
        if b"\0" not in data:
            texts[str(path.relative_to(ROOT))] = data.decode("utf-8", errors="replace")
    assert {"Makefile", "pyproject.toml", "arrconv/spec.py"} <= texts.keys()
    check({place: privacy_faults(text) for place, text in texts.items()})


in_spec, in_taps = partial(layer_faults, "spec"), partial(layer_faults, "kernels.taps")
conv_is_public = partial(documentation_faults, public={"conv", "limits", "Axis"})
steps = "    step()\n" * (MOST_FUNCTION_LINES - 1)  # and one line for `def`
documented = 'def conv(x):\n    """Args: Returns: Raises: >>> """\n'


@pytest.mark.parametrize(
    ("rule", "source", "fault"),
    [
        (in_spec, "from arrconv.geometry import Axis", "from a layer above"),
        (in_spec, "def f():\n    import arrconv.kernels.gemm as g", "spec:2 imports arrconv.kernels.gemm from a layer"),
        (in_spec, "if TYPE_CHECKING:\n    from arrconv import conv", "imports arrconv.conv from a layer above"),
        (in_spec, "from arrconv.novelty import x", "from a layer above"),
        (in_spec, "from .errors import SpecError", "relatively"),
        (in_taps, "from arrconv.kernels import gemm", "imports arrconv.kernels.gemm from a layer above"),
        (in_taps, "from arrconv.kernels import KERNELS", "from a layer above"),
        (partial(layer_faults, "linop.solve.wiener"), "import arrconv.nn.conv", "which stands beside it"),
        (partial(layer_faults, "padding"), "from arrconv import bounds", "which stands beside it"),
        (partial(layer_faults, "novelty"), "", "novelty has no layer; add it to LAYERS"),
        (partial(layer_faults, "kernels.novelty"), "", "has no layer"),
        (partial(importer_faults, "spec"), "import numpy as np", "only _namespace kernels"),
        (partial(importer_faults, "linop.solve"), "from numpy.linalg import svd", "imports numpy.linalg.svd"),
        (partial(importer_faults, "kernels.gemm"), "from array_api_compat import size", "only _namespace may"),
        (cupy_faults, "import cupy as cp", "line 1 names cupy"),
        (cupy_faults, "from array_api_compat import cupy", "names array_api_compat.cupy"),
        (cupy_faults, "from cupyx.scipy import fft", "names cupyx"),
        (cupy_faults, "lib = library.cupy", "names cupy"),
        (assignment_faults, "a[0] = 1", "assigns to a[0]"),
        (assignment_faults, "a[0] += 1", "assigns to a[0]"),
        (assignment_faults, "a[0]: int = 1", "assigns to a[0]"),
        (assignment_faults, "del a[0]", "assigns to a[0]"),
        (assignment_faults, "(b, a[0]) = pair", "assigns to a[0]"),
        (standard_faults, "xp.einsum('ij->i', a)", "xp.einsum is not in the Array API standard"),
        (standard_faults, "self.backend.xp.pad(a, 1)", "xp.pad is not"),
        (standard_faults, "a.reshape(3)", "a.reshape is no method"),
        (standard_faults, "f(a).sum()", "f(a).sum is no method"),
        (size_faults, "pass\n" * (MOST_LINES + 1), "401 lines, 400 at most"),
        (size_faults, f"def walk():\n{steps}    step()", "walk has 61 lines"),
        (name_faults, "arrconv/utils.py", "utils.py says nothing"),
        (name_faults, "tests/helpers/arrays.py", "helpers says nothing"),
        (conv_is_public, "def conv(x): ...", "conv lacks a docstring"),
        (conv_is_public, documented.replace("Raises:", ""), "conv lacks Raises:"),
        (conv_is_public, documented.replace(">>>", ""), "conv lacks >>>"),
        (conv_is_public, documented.replace("conv", "limits") + "    yield x", "limits lacks Yields:"),
        (conv_is_public, "class Axis: ...", "Axis lacks a docstring"),
        (privacy_faults, "\nsee /{}/notes".format("home"), "line 2 mentions /"),
        (privacy_faults, "file:///{}/x".format("work"), "line 1 mentions /"),
        (privacy_faults, "https://{}.org/simple".format("pypi"), "line 1 mentions py"),
    ],
)
def test_each_rule_finds_its_fault(rule: Callable[[str], list[str]], source: str, fault: str) -> None:
    (found,) = rule(source)
    assert fault in found


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (in_spec, "import arrconv.errors\nfrom collections.abc import Sequence"),
        (in_taps, "from arrconv import trilinear\nfrom arrconv.kernels.base import Kernel"),
        (partial(layer_faults, "_casestring"), "from arrconv.geometry import Geometry"),
        (partial(layer_faults, "linop.solve.wiener"), "from arrconv.linop import operators"),
        (partial(importer_faults, "train.data"), "import numpy as np"),
        (cupy_faults, "from array_api_compat import is_cupy_namespace\nname = 'cupy'"),
        (assignment_faults, "b = a[0]\nb += 1\nb: int = 2\nc = {a[0]: 1}"),
        (standard_faults, "xp.reshape(xp.sum(a), tuple(a.shape))\npieces.append(a.mT)"),
        (
            size_faults,
            f'def walk():\n    """One.\n\n    Two.\n    """\n{steps}',
        ),
        (name_faults, "arrconv/kernels/limits.py"),
        (conv_is_public, documented + "class Axis:\n    'An axis.'\ndef private(): ..."),
        (privacy_faults, "docs/{}/x.md and https://example.org/{}/y".format("work", "home")),
    ],
)
def test_no_rule_finds_a_fault_in_good_source(rule: Callable[[str], list[str]], source: str) -> None:
    assert rule(source) == []
