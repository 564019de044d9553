"""examples/deployment: every file parses, its commands are commands of ours, and two archives behave as it says."""

from __future__ import annotations

import asyncio
import configparser
import json
import re
import shlex
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from archive.databases import PROGRAMS
from cli.conftest import HOST, MR, of_patient, store_while_another_stores
from cli.test_cli_processes import ROOT, aiodimse_command, start
from durable.archive_kills import Postgres, Store
from pydicom import dcmread
from sqlalchemy import text

import aiodimse
from aiodimse import sop_class
from aiodimse.archive.index.sql.engines import open_engine, url_of
from aiodimse.cli import configuration
from aiodimse.cli.main import parser

yaml = pytest.importorskip("yaml", reason="PyYAML, which moto of the extra test brings, is not installed")

FILES = ROOT / "examples" / "deployment"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
MR_STORAGE = sop_class.MRImageStorage


def document(name: str) -> Any:
    """The documents of a YAML file; one alone as itself."""
    documents = list(yaml.safe_load_all((FILES / name).read_text(encoding="utf-8")))
    return documents[0] if len(documents) == 1 else documents


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile."""
    text = re.sub(r"\\\n\s*", " ", (FILES / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def commands() -> dict[str, list[str]]:
    """What each file runs, without the name of the program."""
    found = {name: json.loads(rest) for name, rest in instructions() if name == "CMD"}
    found["compose"] = document("compose.yaml")["services"]["archive"]["command"]
    found["kubernetes"] = document("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FILES / "dicom-archive.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "aiodimse"
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    return found | {"systemd": words}


@pytest.mark.parametrize("name", ["CMD", "compose", "kubernetes", "systemd"])
def test_commands_are_ours(name: str) -> None:
    words = commands()[name]
    chosen = parser().parse_args(words)
    if "--config" in words:
        parser().parse_args([words[0], *configuration.words(FILES / "configuration" / "archive.toml"), *words[1:]])
    assert chosen.command == "serve"


def test_the_image_is_looked_after_whatever_its_titles_and_certificates() -> None:
    health = next(rest for name, rest in instructions() if name == "HEALTHCHECK")
    program, option, code = json.loads(health[health.index("[") :])
    compile(code, "HEALTHCHECK", "exec")
    assert (program, option) == ("python", "-c")
    for words in (commands()["CMD"], ["serve", *configuration.words(FILES / "configuration" / "archive.toml")]):
        assert f"http://127.0.0.1:{parser().parse_args(words).metrics}/healthz" in code


def test_the_image_installs_extras_that_there_are() -> None:
    steps = dict(instructions())
    assert steps["ENTRYPOINT"] == '["aiodimse"]'
    (extras,) = re.findall(r"/source\[(.*?)\]", steps["RUN"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


def test_files_that_are_mounted_are_there() -> None:
    services = document("compose.yaml")["services"]
    volumes = document("compose.yaml")["volumes"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (FILES / source).exists(), volume
        for needed in service.get("depends_on", ()):
            assert needed in services
    assert services["archive"]["volumes"] == ["./configuration:/etc/archive:ro"]  # a file would stay the old one
    build = services["archive"]["build"]
    assert (FILES / build["context"] / build["dockerfile"]).resolve() == FILES / "Dockerfile"


def test_all_speak_of_the_same_ports() -> None:
    options = parser().parse_args(["serve", *configuration.words(FILES / "configuration" / "archive.toml")])
    balancer = (FILES / "haproxy.cfg").read_text(encoding="utf-8")
    assert re.findall(r"archive:(\d+) check port (\d+)", balancer) == [(str(options.port), str(options.metrics))]
    container = document("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    assert [each["containerPort"] for each in container["ports"]] == [options.port, options.metrics]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": options.metrics}
    replicas = document("compose.yaml")["services"]["archive"]["deploy"]["replicas"]
    assert re.findall(r"server-template archive (\d+)", balancer) == [str(replicas)]


def test_the_page_makes_what_kubernetes_mounts() -> None:
    page = (ROOT / "docs" / "how-to" / "run-as-a-service.md").read_text(encoding="utf-8")
    pod = document("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    ((secret, values),) = re.findall(r"^kubectl create secret generic (\w+) (.*)$", page, re.M)
    assert container["envFrom"] == [{"secretRef": {"name": secret}}]
    assert re.findall(r"--from-literal=(\w+)=", values) == ["PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    ((config_map, folder),) = re.findall(r"^kubectl create configmap (\w+) --from-file=(\S+)$", page, re.M)
    assert volume["configMap"] == {"name": config_map}
    (mount,) = container["volumeMounts"]
    assert (mount["name"], container["args"][-1]) == (volume["name"], f"{mount['mountPath']}/archive.toml")
    assert [path.name for path in (ROOT / folder).iterdir()] == ["archive.toml"]


async def _store_as(connect: Any, port: int, patient: str) -> int:
    """Store an instance with the same UID for each patient."""
    async with connect(port, "CT1", MR_STORAGE) as association:
        return int((await association.c_store(of_patient(patient))).status)


def _locks(url: str) -> int:
    """How many advisory locks are held in a database."""
    engine = open_engine(url_of(url), connections=1)
    try:
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
            return int(connection.execute(query).scalar_one())
    finally:
        engine.dispose()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that was told to end. One that was not, because the test has failed, is killed."""
    try:
        await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()


@pytest.mark.skipif(not (PROGRAMS / "postgres").exists(), reason="PostgreSQL 15 is not here: .ci/peers installs it")
async def test_two_archives_as_compose_starts_them(tmp_path: Path) -> None:
    """What is stored by one is found by the other, which goes on when the first is killed."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    database, store = Postgres(), Store(tmp_path / "store")
    words = [word.replace("/etc/archive", str(FILES / "configuration")) for word in commands()["compose"]]
    words[words.index("--index") + 1] = database.url
    environment = document("compose.yaml")["services"]["archive"]["environment"]
    async with AsyncExitStack() as stack:
        stack.callback(database.stop)
        await asyncio.to_thread(database.make)
        (tmp_path / "store").mkdir()
        store.start()
        stack.callback(store.kill)
        environment |= {"AWS_ENDPOINT": f"http://{HOST}:{store.port}", "PATH": "/usr/bin"}
        ports, processes = [], []
        for _ in range(2):
            here = ("--host", HOST, "--port", "0", "--metrics", "0", "--json")
            process = await start(*aiodimse_command(*words, *here), env=environment, cwd=ROOT)
            processes.append(process)
            stack.push_async_callback(_ended, process)
            assert process.stdout is not None
            ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            ports.append(ready["port"])

        def connect(port: int, calling: str, *contexts: str) -> aiodimse.client.Connecting:
            return aiodimse.connect(HOST, port, ae_title=calling, called_ae_title="ARCHIVE", contexts=contexts)

        async with connect(ports[0], "CT1", MR_STORAGE) as modality:
            assert (await modality.c_store(MR)).status == 0x0000
        before = await asyncio.to_thread(_locks, database.url)

        async def has_begun() -> bool:
            return await asyncio.to_thread(_locks, database.url) > before

        async with connect(ports[0], "CT1", MR_STORAGE) as one, connect(ports[1], "CT1", MR_STORAGE) as other:
            assert await store_while_another_stores(one, other, has_begun) == (0x0000, 0xA900)
        statuses = await asyncio.gather(*(_store_as(connect, ports[each % 2], f"P{each}") for each in range(6)))
        assert sorted(statuses) == [0x0000] + [0xA900] * 5  # P1 has it
        processes[0].kill()
        wanted = aiodimse.identifier("STUDY", StudyInstanceUID=dcmread(MR).StudyInstanceUID)
        async with connect(ports[1], "VIEWER", FIND) as viewer:
            assert len(await viewer.c_find(wanted, FIND).collect()) == 1
        processes[1].terminate()
