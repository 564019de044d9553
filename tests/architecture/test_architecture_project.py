"""The files around the code say what is so: workflows run targets that exist, a fact of the package has one place."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import aiodimse

ROOT = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
PLACES = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CONTRIBUTING.md",
    ROOT / ".github" / "pull_request_template.md",
    ROOT / ".ci" / "run",
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.name)
def test_every_make_command_is_a_target(path: Path) -> None:
    """In code: run: make test, `make test`, entry: make test."""
    said = re.findall(r"(?:run: |entry: |exec |`)make ([a-z-]+)", path.read_text(encoding="utf-8"))
    assert set(said) <= TARGETS


def test_some_commands_were_found() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert {"test", "unit", "site", "package"} <= set(re.findall(r"run: make ([a-z-]+)", workflow))


def test_tests_of_the_workflow_exist() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    folders = re.findall(r" (tests/[a-z_]+)", workflow)
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("target", ["test", "unit", "lowest"])
def test_jobs_of_the_workflow_install_what_their_tests_want(target: str) -> None:
    """With CI=true a program that is missing is a failure: also to tests of the examples, which talk to strangers."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = re.split(r"^  (?=[a-z]+:)", workflow.partition("\njobs:\n")[2], flags=re.M)
    (job,) = [job for job in jobs if re.search(rf"run: make {target}$", job, re.M)]
    assert job.index("run: sudo .ci/peers") < job.index(f"run: make {target}")


def test_pages_name_the_version_that_is_released_next() -> None:
    """`__version__` and the changelog are told of a release, and these sentences with them."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    number, state = re.search(r"^## (\S+), (.+)$", changelog, re.M).groups()  # type: ignore[union-attr]
    assert number == aiodimse.__version__
    for page in ("README.md", "docs/index.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        said = re.findall(r"Version (\d+\.\d+\.\d+) is not released", text)
        assert said == ([number] if state == "not released" else []), page


def test_the_version_has_one_place() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "aiodimse/__init__.py"
    assert aiodimse.__version__ not in (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.")[0]


def test_everything_has_each_extra_that_users_install() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for_developers = {"dev", "docs", "everything", "examples", "fuzz", "package", "test"}
    (everything,) = extras["everything"]
    named = set(re.search(r"\[(.*)\]", everything)[1].split(","))  # type: ignore[index]
    assert named == extras.keys() - for_developers


def test_no_file_has_the_marks_of_a_conflict() -> None:
    marks = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.M)
    folders = ("aiodimse", "benchmarks", "docs", "examples", "scoreboard", "tests", ".ci", ".github")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    assert len(files) > 700
    assert [path for path in files if path.suffix != ".pyc" and marks.search(path.read_bytes())] == []


def test_what_the_makefile_runs_is_kept() -> None:
    """A script that .gitignore hides works for who wrote it, and for nobody else."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = {each.rstrip(".") for each in re.findall(r"(?<![\w/])\.ci/[\w./-]+", makefile)}
    assert {".ci/peers", ".ci/site/check"} <= scripts
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone")
    kept = subprocess.run(["git", "ls-files", ".ci"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert scripts - set(kept.splitlines()) == set()
