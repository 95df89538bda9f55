"""The command ``new``: writes a template to start from, or the vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from neffos_conformance.cli.refusals import writing
from neffos_conformance.wire.terminal import echo

PYTHON: Final = ("codec.py", "peer.py")
JAVASCRIPT: Final = ("codec.mjs", "peer.mjs", "websocket.mjs")

FILES: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "client": {
        "python": (*PYTHON, "driver.py"),
        "javascript": (*JAVASCRIPT, "driver.mjs", "vectors.mjs"),
        "java": ("neffos",),
        "rust": ("Cargo.toml", "rustfmt.toml", "src"),
    },
    "server": {"python": (*PYTHON, "server.py"), "javascript": (*JAVASCRIPT, "server.mjs")},
    "codec": {"python": ("codec.py",), "javascript": ("codec.mjs",), "java": ("neffos",)},
}
"""The files and folders of each template, by what it is and its language."""

START: Final[Mapping[tuple[str, str], str]] = {
    ("client", "python"): "neffos-wire test client -- python3 driver.py",
    ("client", "javascript"): "neffos-wire test client -- node driver.mjs",
    ("client", "java"): (
        "javac -d build neffos/*.java && neffos-wire test client -- java -cp build neffos.Driver"
    ),
    ("client", "rust"): ("cargo build && neffos-wire test client -- target/debug/neffos-driver"),
    ("server", "python"): "python3 server.py, and neffos-wire test server URL with its URL",
    ("server", "javascript"): "node server.mjs, and neffos-wire test server URL with its URL",
    ("codec", "python"): "neffos-wire test codec -- python3 codec.py",
    ("codec", "javascript"): "neffos-wire test codec -- node codec.mjs",
    ("codec", "java"): (
        "javac -d build neffos/*.java && "
        "neffos-wire test codec -- java -cp build neffos.CodecAdapter"
    ),
}
"""What tests each, in its folder."""

LANGUAGES: Final = tuple(FILES["client"])

VECTORS: Final = "vectors"

KINDS: Final = ("client", "driver", "server", "codec", VECTORS)
"""What can be written. A driver is a client under the suite's control; the template is both."""


@click.command("new")
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default=LANGUAGES[0],
    show_default=True,
    help="Language of the template.",
)
@click.argument(
    "folder",
    required=False,
    metavar="[FOLDER]",
    type=click.Path(file_okay=False, path_type=Path),
)
def new_command(kind: str, language: str, folder: Path | None) -> None:
    """Write a template to start from, or the vectors.

    A template is a whole program that passes its cases. Replace its tiny neffos by yours. A driver
    is a client with what the suite needs to control it. The vectors are the JSON files that test a
    codec and a session. They are written to FOLDER, by default one with the name of what they are.
    """
    if kind == VECTORS:
        target = folder or Path(VECTORS)
        found = dict(_vectors())
        hint = "README.md of each folder says what the fields mean"
    else:
        name = "client" if kind == "driver" else kind
        if language not in FILES[name]:
            others = ", ".join(FILES[name])
            raise click.UsageError(f"there is no {kind} in {language}. Try: --language {others}")
        target = folder or Path(f"{kind}-{language}")
        source = files("neffos_conformance.templates") / language
        found = {path: each for top in FILES[name][language] for path, each in _below(source, top)}
        hint = f"cd {target} && {START[name, language]}"
    if there := [path for path in found if (target / path).exists()]:
        text = f"{target / there[0]} is there, and is not written over. Try: another folder"
        raise click.UsageError(text)
    for path, each in found.items():
        with writing(target / path):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(each.read_bytes())
    echo(f"written: {len(found)} file{'' if len(found) == 1 else 's'} in {target}")
    echo(f"next: {hint}")


def _below(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    """Give a file of a folder, or all files of a folder in it, by their paths."""
    there = folder / name
    if there.is_file():
        yield name, there
        return
    for each in sorted(there.iterdir(), key=lambda each: each.name):
        yield from ((f"{name}/{path}", found) for path, found in _below(there, each.name))


def _vectors() -> Iterator[tuple[str, Traversable]]:
    """Give the vectors of the codec and of the session, each with what explains it."""
    codec, session = files("neffos_codec.vectors"), files("neffos_protocol.vectors")
    for name, top, inner in (("codec", codec, codec), ("session", session, session / "session")):
        yield f"{name}/README.md", top / "README.md"
        for each in sorted(inner.iterdir(), key=lambda each: each.name):
            if each.name.endswith(".json"):
                yield f"{name}/{each.name}", each
