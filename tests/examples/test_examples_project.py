"""What every example has: a README, requirements that CI installs, types that hold, and few lines."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from examples.readme import EXAMPLES, commands, ended
from interop.programs import run

import aiodimse

PROJECT = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/__main__.py"))
MOST_LINES = 300


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=~; ]", requirement)[0].lower()


def code_lines(path: Path) -> int:
    """Lines without blank ones, comments, docstrings and imports."""
    source = path.read_text(encoding="utf-8")
    told = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return sum(number not in told and bool(line.strip()) and line.lstrip()[0] != "#" for number, line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name: str) -> None:
    """What makes one longer belongs in the library."""
    assert sum(map(code_lines, (EXAMPLES / name).glob("*.py"))) < MOST_LINES


@pytest.mark.parametrize("name", NAMES)
def test_what_it_requires_is_installed_for_its_tests(name: str) -> None:
    required = (EXAMPLES / name / "requirements.txt").read_text(encoding="utf-8").split()
    extras = {each for extra in EXTRAS.values() for each in extra}
    assert {name_of(each) for each in required} - {"aiodimse"} <= set(map(name_of, extras))
    assert any("requirements.txt" in line for line in commands(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_installed_by_an_older_pip(name: str) -> None:
    """The pip of Python 3.11 looks for aiodimse[...] on PyPI, also if the same command names a clone of it."""
    clone, requirements = (line for line in commands(name) if line.startswith("pip "))
    assert requirements == f"pip install -r examples/{name}/requirements.txt"
    extras = set(re.search(r"\[(.*)\]", clone)[1].split(","))  # type: ignore[index]
    required = (EXAMPLES / name / "requirements.txt").read_text(encoding="utf-8").split()
    assert {extra for each in required for extra in re.findall(r"^aiodimse\[(.*)\]", each)} <= extras
    image = EXAMPLES / name / "Dockerfile"
    if image.exists():
        assert not re.search(r"/src\S* -r", image.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_its_commands_can_be_pasted(name: str) -> None:
    """A command that talks to a service waits until the service listens."""
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    block = next(each for each in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) if "&\n" in each)
    lines = block.splitlines()
    for line, following in pairwise(lines):
        if line.endswith("&"):
            assert following.endswith("&") or following.startswith(("sleep ", "export ")), following


@pytest.mark.parametrize("name", [name for name in NAMES if (EXAMPLES / name / "Dockerfile").exists()])
def test_an_image_runs_what_the_readme_says(name: str) -> None:
    """No image is built here: its files are there, and its command is one that is run."""
    lines = (EXAMPLES / name / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    assert all((EXAMPLES.parent / path).exists() for path in re.findall(r"/src/(examples/\S+)", " ".join(lines)))
    (command,) = (ast.literal_eval(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD "))
    assert any(line.startswith(" ".join(command)) for line in commands(name))


@pytest.mark.parametrize("name", NAMES)
async def test_without_its_file_an_example_says_how_it_is_started(name: str) -> None:
    """In the words of its README, and before it opens anything."""
    if name == "inference":
        pytest.importorskip("highdicom", reason="has no wheels for this Python")
    for module, folder in ((name, EXAMPLES), (f"examples.{name}", EXAMPLES.parent)):
        done = (await run(sys.executable, "-m", module, cwd=folder)).check(1)
        assert done.output == f"usage: python -m {module} FILE.toml\n"
    assert any(re.match(rf"python -m {name} \S+\.toml", line) for line in commands(name))


@pytest.mark.parametrize("name", NAMES)
async def test_a_mistake_in_its_file_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    if name == "inference":
        pytest.importorskip("highdicom", reason="has no wheels for this Python")
    for text, said in (
        ("prt = 104\n", "Object contains unknown field `prt`"),
        ('port = "104"\n', r"Expected `int`, got `str` - at `\$\.port`"),
        ("port = \n", "Invalid value .*"),
        (None, r"\[Errno 2\] No such file or directory: .*"),
    ):
        file = tmp_path / f"{name}.toml"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        done = (await run(sys.executable, "-m", name, file, cwd=EXAMPLES)).check(1)
        assert re.fullmatch(f"{re.escape(str(file))}: {said}\n", done.output)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("port", "said"), [(None, "address already in use"), (70000, "not a port .*")])
async def test_a_port_on_which_it_cannot_listen_is_told_in_a_line(
    name: str, port: int | None, said: str, tmp_path: Path
) -> None:
    if name == "inference":
        pytest.importorskip("highdicom", reason="has no wheels for this Python")
    (file,) = (EXAMPLES / name).glob("*.toml")
    key = "move_port" if name == "dicomweb_gateway" else "port"
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n4711\n")
    async with aiodimse.Server().listen("0.0.0.0", 0) as taken:
        text = file.read_text(encoding="utf-8")
        text, found = re.subn(rf"^(# )?{key} = \d+", f"{key} = {port or taken.port}", text, count=1, flags=re.M)
        (tmp_path / file.name).write_text(text.replace("router.deidentify:deidentify", "copy:copy"), encoding="utf-8")
        code, out = await ended(f"python -m {name} {file.name}", tmp_path)
    assert (found, code) == (1, 1), out
    *before, line = out.splitlines()
    assert re.search(f"{said}$", line)
    assert len(before) == (name == "research_pull"), out  # its progress


@pytest.mark.parametrize(
    ("name", "database"),
    [
        ("inference", "spool/spool.db"),
        ("research_pull", "pulled/manifest.db"),
        ("router", "outbox/outbox.db"),
        ("worklist", "worklist.db"),
    ],
)
async def test_a_damaged_database_is_told_in_a_line(name: str, database: str, tmp_path: Path) -> None:
    if name == "inference":
        pytest.importorskip("highdicom", reason="has no wheels for this Python")
    (file,) = (EXAMPLES / name).glob("*.toml")
    text = file.read_text(encoding="utf-8").replace("router.deidentify:deidentify", "copy:copy")
    (tmp_path / file.name).write_text(text, encoding="utf-8")
    (tmp_path / "accessions.csv").write_text("AccessionNumber\n4711\n")
    (tmp_path / database).parent.mkdir(exist_ok=True)
    (tmp_path / database).write_bytes(b"damaged" * 1000)
    code, out = await ended(f"python -m {name} {file.name}", tmp_path)
    assert (code, out.count("\n")) == (1, 1), out
    assert out.endswith("file is not a database\n")


async def test_the_types_hold_for_pyright_too() -> None:
    """mypy checks the folder with the library; see pyproject.toml."""
    pytest.importorskip("highdicom", reason="has no wheels for this Python")
    pytest.importorskip("pyright", reason="is of the extra dev, not of test")
    pyright = Path(sys.executable).with_name("pyright")
    (await run(pyright, "--pythonpath", sys.executable, EXAMPLES, patience=240)).check()
