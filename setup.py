"""Builds what is compiled; all else is in pyproject.toml.

The codec has a compiled form in C, with the limited API: one file serves all versions of CPython
from 3.11 on. mypyc compiles the session, the conversation tracker, the monitor and the check of
recordings, from the files that otherwise run as they are. What it writes is for one version of
Python, and so are wheels. Each is built wherever a C compiler is, and left out elsewhere.

An editable installation compiles the codec alone: compiled modules would hide the sources that are
edited. ``NEFFOS_WIRE_COMPILE=codec`` does the same to a wheel, which then serves all versions, and
``NEFFOS_WIRE_PURE=1`` compiles nothing.

With ``SOURCE_DATE_EPOCH``, the same sources give the same bytes: ``make packages`` checks it.
"""

import gzip
import os
import sys
import sysconfig
import tarfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

SESSION = ("_core", "_asks", "_memberships", "_handshake", "session")
MONITOR = ("conversation", "monitor")
CHECK = "conformance/neffos_conformance/recordings/checking.py"
GROUP = "neffos_wire"
"""Names the module that holds all that mypyc makes; one beside each source only refers to it."""


class BuildExt(build_ext):
    """Leaves out what mypyc made where a part of it could not be compiled: all need each other."""

    def build_extensions(self):
        """Build all, and warn of what cannot be built."""
        if not self.inplace:
            # What an earlier build left would be packed with newer sources, and run instead.
            for left in Path(self.build_lib).rglob("*"):
                if left.suffix in {".so", ".pyd"}:
                    left.unlink()
        super().build_extensions()
        names = [each.name for each in self.extensions if not each.py_limited_api]
        made = [Path(self.get_ext_fullpath(name)) for name in names]
        if not all(each.exists() for each in made):
            for each in made:
                each.unlink(missing_ok=True)


class Sdist(sdist):
    """Makes an archive without the times, owners and modes of this machine's files."""

    def make_archive(self, base_name, kind, root_dir=None, base_dir=None, owner=None, group=None):
        """Make the archive; setuptools keeps the time of each file, and gzip that of the build."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or kind != "gztar":
            return super().make_archive(base_name, kind, root_dir, base_dir, owner, group)

        def plain(entry):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = int(epoch), 0, 0, "", ""
            entry.mode = 0o755 if entry.isdir() else 0o644
            return entry

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", 9, file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=plain)  # in the order of names
        return path


def by_mypyc():
    """Give what mypyc compiles; nothing where mypyc is missing, without isolation."""
    paths = [f"protocol/neffos_protocol/{each}.py" for each in (*SESSION, *MONITOR)]
    try:
        from mypyc.build import mypycify

        # Debug information would have the name of the folder of the build.
        # Others are checked elsewhere, with the packages that they need.
        arguments = ["--follow-imports=silent", *paths, CHECK]
        made = mypycify(arguments, debug_level="0", group_name=GROUP)
    except (Exception, SystemExit):  # it is missing, or too new for these files: pure Python serves
        return []
    for each in made:
        each.optional = True
    return made


ext_modules = []
options = {}
# A build without the global interpreter lock has no limited API, and PyPy is faster without C.
if (
    not os.environ.get("NEFFOS_WIRE_PURE")
    and sys.implementation.name == "cpython"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
):
    codec = Extension(
        "neffos_codec._compiled",
        ["codec/neffos_codec/_compiled.c"],
        py_limited_api=True,
        optional=True,
        extra_compile_args=[] if os.name == "nt" else ["-g0"],  # as above
    )
    is_whole = "bdist_wheel" in sys.argv and os.environ.get("NEFFOS_WIRE_COMPILE") != "codec"
    others = by_mypyc() if is_whole else []
    ext_modules = [codec, *others]
    options = {} if others else {"bdist_wheel": {"py_limited_api": "cp311"}}

setup(
    ext_modules=ext_modules,
    options=options,
    cmdclass={"build_ext": BuildExt, "sdist": Sdist},
)
