"""Every import of the package, read from its source: what import-linter's contracts cannot say is said of these."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "aiodimse"


@dataclass(frozen=True)
class Import:
    """One imported name: `from module import name`, or `import module` with name "" ."""

    floor: str
    file: str
    line: int
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name or 'the module'} from {self.module}"


def _imports(path: Path) -> list[Import]:
    relative = path.relative_to(PACKAGE)
    floor = relative.parts[0].removesuffix(".py")
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [Import(floor, str(relative), node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ("aiodimse", *relative.parts[:-1])
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [Import(floor, str(relative), node.lineno, module, alias.name) for alias in node.names]
    return found


@pytest.fixture(scope="session")
def package() -> Path:
    return PACKAGE


@pytest.fixture(scope="session")
def sources() -> dict[str, ast.Module]:
    """The syntax tree of every module, by its path inside the package."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@pytest.fixture(scope="session")
def imports() -> list[Import]:
    return [found for path in sorted(PACKAGE.rglob("*.py")) for found in _imports(path)]
