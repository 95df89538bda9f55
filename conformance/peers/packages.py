"""``make packages``: builds the packages twice, and uses them as a stranger would.

Each build has a copy of the tracked files in a folder of its own, and both wheels come from the
sdist. All archives must be the same, bit for bit. Then the steps of the container file install a
wheel into an empty environment, and everything is run from an empty folder: only what the wheel
contains is there. The steps of the action come last.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import click
import yaml

from neffos_conformance.wire.subprocesses import running
from peers.implementations import GO_PEER, built
from peers.steps import ROOT, SHELL, container_steps, run_action

OUT: Final = ROOT / "build" / "packages"
GO: Final = "neffos-go"
RECORDING: Final = ROOT / "conformance" / "transcripts" / GO / "visit.jsonl"


def main() -> None:
    """Build, compare, check and use the packages."""
    shutil.rmtree(OUT, ignore_errors=True)
    epoch = _output("git", "log", "-1", "--format=%ct") or "0"
    builder = _builder()
    with ThreadPoolExecutor() as pool:
        folders = (OUT / "first", OUT / "second")
        first, second = pool.map(partial(_built, builder, epoch), folders)
    if first != second:
        raise click.ClickException(f"two builds differ: {first} and {second}")
    click.echo("".join(f"{digest}  {name}\n" for name, digest in first.items()), nl=False)
    archives = [str(OUT / "first" / name) for name in first]
    wheels = [each for each in archives if each.endswith(".whl")]
    for each in wheels:
        _check_contents(each)
    _run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *archives)
    if native := [each for each in wheels if "abi3" in each]:
        _run(sys.executable, "-m", "abi3audit", "--strict", *native)
    _use_codec_alone(OUT / "first")
    _use(_container())
    click.echo(f"all packages were built, and used as a stranger would: {OUT / 'first'}")


def _check_contents(wheel: str) -> None:
    """Check what a wheel contains: the packages, and beside them only what mypyc compiled."""
    with ZipFile(wheel) as archive:
        made = [name for name in archive.namelist() if "/" not in name and "__mypyc." in name]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["check-wheel-contents"]["toplevel"]
    names = ",".join([*packages, *made])
    _run(sys.executable, "-m", "check_wheel_contents", "--toplevel", names, wheel)


def _builder() -> Path:
    """Make an environment with what the build requires, and nothing else; give its Python.

    All builds share it. pip makes one for each build, and these cost more than the builds.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return _environment("builder", "build", *project["build-system"]["requires"]) / "python"


def _built(builder: Path, epoch: str, folder: Path) -> dict[str, str]:
    """Build the sdist, and all wheels from it, in isolation; give their hashes by name."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in _output("git", "ls-files", "-z").split("\0"):
        if (path := ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / name)
    made = folder / "made"
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    build = [str(builder), "-m", "build", "--no-isolation", "--outdir", str(made)]
    _run(*build, str(source), env=env)
    [sdist] = made.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    for what in ({"NEFFOS_WIRE_COMPILE": "codec"}, {"NEFFOS_WIRE_PURE": "1"}):
        shutil.rmtree(unpacked / "build", ignore_errors=True)  # has what an earlier one compiled
        _run(*build, "--wheel", str(unpacked), env=env | what)
    for each in made.iterdir():
        each.rename(folder / each.name)
    archives = sorted(each for each in folder.iterdir() if each.is_file())
    return {each.name: sha256(each.read_bytes()).hexdigest() for each in archives}


def _environment(name: str, *packages: str) -> Path:
    """Install packages into an empty environment; give the folder of its programs.

    It has no pip of its own: to install that takes longer than most packages.
    """
    folder = OUT / name
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet"]
    _run(*pip, "--no-compile", *packages)
    return folder / "bin"


def _container() -> Path:
    """Run the steps of the container file on this machine; give the folder of the programs."""
    packages, suite = OUT / "packages", OUT / "neffos-wire"
    packages.mkdir()
    for each in (*(OUT / "first").glob("*.whl"), ROOT / "requirements" / "run.txt"):
        shutil.copyfile(each, packages / each.name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PACKAGES": str(packages), "SUITE": str(suite)}
    for step in container_steps():
        _run(*SHELL, step, env={**env, "PIP_NO_COMPILE": "1", "PIP_QUIET": "1"})
    bill = ["--output-reproducible", "--output-file", str(OUT / "sbom.json")]
    _run(sys.executable, "-m", "cyclonedx_py", "environment", *bill, suite / "bin" / "python")
    return suite / "bin"


def _use_codec_alone(wheels: Path) -> None:
    """Embed the codec and the session where nothing else is installed; pip chooses the wheel."""
    programs = _environment("alone", "--no-index", "--find-links", str(wheels), "neffos-wire")
    expected = any("-none-any" not in each.name for each in wheels.glob("*.whl"))
    program = (
        "import neffos_codec as codec, neffos_protocol as protocol;"
        "assert codec.encode(codec.decode('$1;chat;;say;0;0;hi')) == '$1;chat;;say;0;0;hi';"
        f"assert (codec.COMPILED, protocol.COMPILED) == ({expected}, {expected})"
    )
    empty = _empty()
    _run(programs / "python", "-c", program, cwd=empty)
    lacking = subprocess.run([programs / "neffos-wire"], cwd=empty, capture_output=True, text=True)
    if "pip install 'neffos-wire[conformance]'" not in lacking.stderr:
        raise click.ClickException(f"without the suite, the command says {lacking.stderr!r}")


def _use(programs: Path) -> None:
    """Do the main jobs of the suite with a wheel, from an empty folder."""
    empty = _empty()
    wire = programs / "neffos-wire"
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}

    def use(*command: str | Path) -> None:
        _run(*command, cwd=empty, env=env)

    server = [str(wire), "serve", "--json"]
    if shutil.which("go"):
        built([GO])
        server = [str(GO_PEER), "serve"]
    with running(server) as ready:
        endpoints = ready["endpoints"]
        url = endpoints.get("gorilla") or next(iter(endpoints.values()))
        use(wire, "test", "server", url, "--class", "interoperable", "--report", "go.json")
    use(wire, "badge", "go.json", "-o", "badge.svg")  # it verifies the report first
    use(wire, "diff", "go.json", "go.json")
    shutil.copyfile(RECORDING, empty / "visit.jsonl")
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    use(*shlex.split(hook["entry"]), "visit.jsonl")
    use(wire, "show", "visit.jsonl", "--html", "visit.html")
    shutil.copyfile(ROOT / "README.md", empty / "README.md")
    use(programs / "python", "-m", "doctest", "README.md")
    use(wire, "new", "vectors")
    python, node = str(programs / "python"), shutil.which("node")
    use(wire, "new", "client")
    use(wire, "new", "codec")
    use(wire, "test", "codec", "--", python, "codec-python/codec.py")
    if node:
        use(wire, "new", "client", "--language", "javascript")
        use(wire, "test", "client", "--case", "RM", "--", node, "client-javascript/driver.mjs")
        use(node, "client-javascript/vectors.mjs", "vectors/session")
    for shell in ("bash", "zsh", "fish"):
        use(*SHELL, f"neffos-wire completion {shell} > completion.{shell}")
    use("bash", "-n", "completion.bash")
    use(*SHELL, "neffos-wire man > neffos-wire.1")
    _use_plugin(programs, empty, env)
    _use_action(programs, empty, env)


def _use_plugin(programs: Path, empty: Path, env: dict[str, str]) -> None:
    """Run a case as a test of pytest, which the suite does not need and does not bring."""
    pip = [sys.executable, "-m", "pip", "--python", str(programs.parent), "install", "--quiet"]
    _run(*pip, "--no-compile", "pytest")
    with running([str(programs / "neffos-wire"), "serve", "--json"]) as ready:
        url = next(iter(ready["endpoints"].values()))
        plugin = ("-p", "no:cacheprovider", "--neffos-server", url, "--neffos-case", "HS-3")
        _run(programs / "pytest", "-q", *plugin, cwd=empty, env=env)


def _use_action(programs: Path, empty: Path, env: dict[str, str]) -> None:
    """Run the steps of the action on the written client.

    They install what is installed there, from the checkout: all after them is no test of the wheel.
    """
    contexts = {
        "runner.temp": str(programs.parents[1]),
        "github.action_path": str(ROOT),
        "steps.python.outputs.python-path": sys.executable,
    }
    inputs = {"command": f"'{sys.executable}' client-python/driver.py", "options": "--case RM"}
    files = {name: str(empty / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    env = {**env, **files, "PIP_NO_COMPILE": "1"}
    for name, done in run_action(inputs, contexts, env, empty):
        if done.returncode:
            raise click.ClickException(f"action: {name}\n{done.stdout}{done.stderr}")
        click.echo(f"ok  action: {name}")
    outputs = dict(line.split("=") for line in Path(files["GITHUB_OUTPUT"]).read_text().split())
    missing = [each for each in outputs.values() if not (empty / each).is_file()]
    if missing or not Path(files["GITHUB_STEP_SUMMARY"]).read_text():
        raise click.ClickException(f"the action wrote no summary, or none of {missing}")


def _empty() -> Path:
    """Give an empty folder outside the checkout, whose settings would count in it."""
    folder = Path(tempfile.mkdtemp(prefix="neffos-wire-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _output(*command: str) -> str:
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command, and show its output if it fails.

    Raises:
        click.ClickException: it fails.
    """
    words: Sequence[str] = [*map(str, command)]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        shown = " ".join(words)
        raise click.ClickException(f"{shown}\n{done.stdout}{done.stderr}exit {done.returncode}")
    click.echo(f"ok  {' '.join(' '.join(words).split())[:100]}")


if __name__ == "__main__":
    try:
        main()
    except click.ClickException as error:
        error.show()
        sys.exit(1)
