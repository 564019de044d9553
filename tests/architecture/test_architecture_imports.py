"""The house rules that import-linter's contracts in pyproject.toml cannot say."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What a floor may import beside the standard library and the package itself. rich is the extra "cli".
GUESTS = {
    "telemetry": {"opentelemetry"},
    "datasets": {"imagecodecs", "numpy", "pydicom"},
    "archive": {"obstore", "pydicom", "sqlalchemy"},
    "dicomweb": {"pydicom", "python_multipart"},
    "cli": {"prometheus_client", "pydicom", "rich"},
    "testing": {"pydicom", "pytest"},
    "__main__": {"rich"},
}
# Floors that know pydicom's Dataset as a type that users hand in and get out, and nothing else of pydicom.
DATASET_ONLY = {"services", "aio", "client", "server", "tls", "__init__"}
DATASET = {("pydicom", "Dataset"), ("pydicom.dataset", "Dataset")}
# Top floors: what they are built from is what any program has.
PUBLIC_ONLY = {"archive", "dicomweb"}


def outside(found) -> bool:
    return found.module.split(".")[0] != "aiodimse"


def test_no_file_is_part_of_a_circle_of_imports(imports, sources):
    """Imports for type checkers and imports inside functions count: who reads a file has to read what it names."""
    modules = {_module(path): path for path in sources}
    below: dict[str, set[str]] = {path: set() for path in sources}
    for found in imports:
        target = modules.get(f"{found.module}.{found.name}") or modules.get(found.module)
        # A package's own face hands on the names of its files, and is no room of its own.
        if target is not None and target != found.file and not target.endswith("__init__.py"):
            below[found.file].add(target)
    assert circles(below) == []
    assert any(below.values())


def _module(path: str) -> str:
    return ".".join(("aiodimse", *path.removesuffix(".py").removesuffix("__init__").rstrip("/").split("/"))).rstrip(".")


def circles(below: dict[str, set[str]]) -> list[list[str]]:
    """The sets of files that import each other, directly or through others."""

    def reached(path: str) -> set[str]:
        seen: set[str] = set()
        ahead = [path]
        while ahead:
            for target in below[ahead.pop()]:
                if target not in seen:
                    seen.add(target)
                    ahead.append(target)
        return seen

    reach = {path: reached(path) for path in below}
    found = {tuple(sorted(o for o in reach[path] if path in reach[o])) for path in below if path in reach[path]}
    return sorted(list(circle) for circle in found)


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_only_pydicom_comes_from_outside(imports):
    strangers = [
        str(found)
        for found in imports
        if outside(found)
        and (top := found.module.split(".")[0]) not in sys.stdlib_module_names
        and top not in GUESTS.get(found.floor, {"pydicom"})
    ]
    assert strangers == []


def test_data_sets_are_read_and_written_in_instances_alone(imports):
    """services/ and the roof hand Datasets on; instances/ alone reads and writes them, and is lazy about it."""
    deeper = [
        str(found)
        for found in imports
        if found.floor in DATASET_ONLY
        and found.module.startswith("pydicom")
        and (found.module, found.name) not in DATASET
    ]
    assert deeper == []


def test_archive_uses_only_the_public_api(imports):
    behind = [
        str(found)
        for found in imports
        if found.floor in PUBLIC_ONLY
        and not outside(found)
        and found.module != "aiodimse"
        and not found.module.startswith(f"aiodimse.{found.floor}")
    ]
    assert behind == []


def test_archive_imports_names_that_the_front_door_has(imports, sources):
    public = set(names_of_all(sources["__init__.py"]))
    missing = [
        str(found)
        for found in imports
        if found.floor in PUBLIC_ONLY and found.module == "aiodimse" and found.name and found.name not in public
    ]
    assert missing == []


def names_of_all(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return []


def test_the_front_door_holds_public_names_and_nothing_else(sources):
    tree = sources["__init__.py"]
    assert ast.get_docstring(tree)
    imported = []
    for node in tree.body[1:]:
        if isinstance(node, ast.ImportFrom):
            if node.module != "__future__":
                assert node.module is not None
                assert node.module.startswith("aiodimse")
                imported += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.FunctionDef):
            assert node.name == "__dir__"
        else:
            assert isinstance(node, ast.Assign), ast.unparse(node)
            assert ast.unparse(node.targets[0]) in ("__all__", "__version__"), ast.unparse(node)
    assert sorted(imported) == sorted(name for name in names_of_all(tree) if name != "__version__")
    assert not [name for name in imported if name.startswith("_")]


def test_dir_shows_the_front_door():
    import aiodimse

    assert set(dir(aiodimse)) == {*aiodimse.__all__, "__version__"}


def test_every_module_says_what_it_is(sources):
    assert [path for path, tree in sources.items() if tree.body and not ast.get_docstring(tree)] == []


def test_the_library_does_not_print(sources):
    printing = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        if not path.startswith("cli/") and not path.endswith("/__main__.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_no_test_sleeps():
    """sleep(0) lets others run; anything longer waits for something that a test can be told of."""
    sleeping = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            sleeps = isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
            if sleeps and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
                sleeping.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert sleeping == []


def test_nothing_is_interned() -> None:
    """Python 3.12.0 to 3.12.5 never frees an interned string, and most strings come from a peer."""
    users = [
        path.name
        for path in (ROOT / "aiodimse").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == "intern")
        or (isinstance(node, ast.alias) and node.name == "intern")
    ]
    assert users == []
