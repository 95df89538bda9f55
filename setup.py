"""Builds what is compiled; all else is in pyproject.toml.

The codec has a compiled form in C. It is built wherever a C compiler is, and left out elsewhere;
``NEFFOS_WIRE_PURE=1`` leaves it out, too. It uses the limited API, so that one wheel serves all
versions of CPython from 3.11 on.

``NEFFOS_WIRE_COMPILE=1`` also has mypyc compile the conversation tracker and the monitor, from the
files that otherwise run as they are. Such a wheel is for one version of Python: what mypyc writes
uses more than the limited API.

With ``SOURCE_DATE_EPOCH``, the same sources give the same bytes: ``make packages`` checks it.
"""

import gzip
import os
import sys
import sysconfig
import tarfile

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

MONITOR = ("protocol/neffos_protocol/conversation.py", "protocol/neffos_protocol/monitor.py")


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
        # Debug information would have the name of the folder of the build.
        extra_compile_args=[] if os.name == "nt" else ["-g0"],
    )
    ext_modules = [codec]
    options = {"bdist_wheel": {"py_limited_api": "cp311"}}

if os.environ.get("NEFFOS_WIRE_COMPILE") == "1":
    from mypyc.build import mypycify

    ext_modules += mypycify(list(MONITOR))
    options = {}

setup(ext_modules=ext_modules, options=options, cmdclass={"sdist": Sdist})
