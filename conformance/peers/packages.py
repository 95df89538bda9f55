"""``make packages``: builds the packages twice, and uses them as a stranger would.

Each build has a copy of the tracked files in a folder of its own, and both wheels come from the
sdist. All archives must be the same, bit for bit. Then a wheel is installed into an empty
environment, and everything is run from an empty folder: only what the wheel contains is there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import click

from neffos_conformance.wire.subprocesses import running
from peers.implementations import GO_PEER, built

ROOT: Final = Path(__file__).parents[2]
OUT: Final = ROOT / "build" / "packages"
GO: Final = "neffos-go"
RECORDING: Final = ROOT / "conformance" / "transcripts" / GO / "visit.jsonl"


def main() -> None:
    """Build, compare, check and use the packages."""
    shutil.rmtree(OUT, ignore_errors=True)
    epoch = _output("git", "log", "-1", "--format=%ct") or "0"
    first, second = (_built(OUT / name, epoch) for name in ("first", "second"))
    if first != second:
        raise click.ClickException(f"two builds differ: {first} and {second}")
    click.echo("".join(f"{digest}  {name}\n" for name, digest in first.items()), nl=False)
    archives = [str(OUT / "first" / name) for name in first]
    wheels = [each for each in archives if each.endswith(".whl")]
    _run(sys.executable, "-m", "check_wheel_contents", *wheels)
    _run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *archives)
    native = [each for each in wheels if "abi3" in each]
    if native:
        _run(sys.executable, "-m", "abi3audit", "--strict", *native)
    best = (native or wheels)[0]
    _use_codec_alone(best)
    _use(best)


def _built(folder: Path, epoch: str) -> dict[str, str]:
    """Build the sdist, and both wheels from it, in isolation; give their hashes by name."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in _output("git", "ls-files", "-z").split("\0"):
        if (path := ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / name)
    made = folder / "made"
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    build = [sys.executable, "-m", "build", "--outdir", str(made)]
    _run(*build, str(source), env=env)
    [sdist] = made.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    _run(*build, "--wheel", str(unpacked), env={**env, "NEFFOS_WIRE_PURE": "1"})
    for each in made.iterdir():
        each.rename(folder / each.name)
    archives = sorted(each for each in folder.iterdir() if each.is_file())
    return {each.name: sha256(each.read_bytes()).hexdigest() for each in archives}


def _environment(name: str, *packages: str) -> Path:
    """Install packages into an empty environment; give the folder of its programs."""
    folder = OUT / name
    _run(sys.executable, "-m", "venv", folder)
    _run(folder / "bin" / "pip", "install", "--quiet", "--no-compile", *packages)
    return folder / "bin"


def _use_codec_alone(wheel: str) -> None:
    """Embed the codec and the session where nothing else is installed."""
    programs = _environment("alone", wheel)
    program = (
        "from neffos_codec import COMPILED, decode, encode; import neffos_protocol;"
        "assert encode(decode('$1;chat;;say;0;0;hi')) == '$1;chat;;say;0;0;hi';"
        "print(f'codec: {COMPILED=}')"
    )
    empty = _empty()
    _run(programs / "python", "-c", program, cwd=empty)
    lacking = subprocess.run([programs / "neffos-wire"], cwd=empty, capture_output=True, text=True)
    if "pip install 'neffos-wire[conformance]'" not in lacking.stderr:
        raise click.ClickException(f"without the suite, the command says {lacking.stderr!r}")


def _use(wheel: str) -> None:
    """Do the main jobs of the suite with a wheel, from an empty folder."""
    programs = _environment("suite", f"{wheel}[conformance]", "pytest")
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
        plugin = ("-p", "no:cacheprovider", "--neffos-server", url, "--neffos-case", "HS-3")
        use(programs / "pytest", "-q", *plugin)
    use(wire, "verify", "go.json")
    use(wire, "badge", "go.json", "-o", "badge.svg")
    use(wire, "diff", "go.json", "go.json")
    shutil.copyfile(RECORDING, empty / "visit.jsonl")
    use(wire, "check", "visit.jsonl")
    use(wire, "show", "visit.jsonl", "--html", "visit.html")
    shutil.copyfile(ROOT / "README.md", empty / "README.md")
    use(programs / "python", "-m", "doctest", "README.md")
    use(wire, "new", "vectors")
    python, node = str(programs / "python"), shutil.which("node")
    for language, suffix, program in (("python", "py", python), ("javascript", "mjs", node)):
        if program is None:
            continue
        use(wire, "new", "client", "--language", language)
        use(wire, "new", "codec", "--language", language)
        use(wire, "test", "codec", "--", program, f"codec-{language}/codec.{suffix}")
        client = f"client-{language}/driver.{suffix}"
        use(wire, "test", "client", "--case", "RM", "--", program, client)
    if node:
        use(node, "client-javascript/vectors.mjs", "vectors/session")
    use("bash", "-c", "neffos-wire man > neffos-wire.1 && neffos-wire completion bash | bash -n")


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
    click.echo(f"ok  {' '.join(words)[:100]}")


if __name__ == "__main__":
    try:
        main()
    except click.ClickException as error:
        error.show()
        sys.exit(1)
