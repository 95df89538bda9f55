"""A check on a Dask cluster of two workers on this machine: the report is that of one process."""

import gzip
import json
import sys

import pytest

from neffos_conformance.recordings import shares

from .commands import run
from .test_check import EARLY, VISIT, recorded
from .test_har import entry, har, message
from .test_shares import packets, recording


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_report_of_one_process(tmp_path, monkeypatch):
    from distributed import LocalCluster
    from pyarrow import parquet

    monkeypatch.setattr(shares, "MIN_SHARED", 100)
    (tmp_path / "a.jsonl").write_bytes(recording(1))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(recorded(*VISIT, EARLY)))
    (tmp_path / "c.pcapng").write_bytes(packets(1, connections=200))
    (tmp_path / "d.har").write_text(har(*5 * [entry(*map(message, ["M", ";any;;say;0;0;hi"]))]))
    files = sorted(tmp_path.iterdir())
    assert len(shares.plan(files, 4, shares.Reading())) > len(files)
    alone = run("check", "--json", "--jobs", "1", ".", "--parquet", "alone", cwd=tmp_path)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        table = ("--parquet", "table")
        done = run("check", "--json", ".", "--cluster", address, *table, cwd=tmp_path)
        resume = ("--resume", tmp_path / "journal")
        other = run("check", "--json", ".", "--cluster", address, *resume, cwd=tmp_path)
        missing = run("check", "-", "--cluster", address)
    assert json.loads(done.stdout) == json.loads(other.stdout) == json.loads(alone.stdout)
    assert done.returncode == alone.returncode == 1
    rows = parquet.read_table(tmp_path / "table").to_pylist()
    assert rows == parquet.read_table(tmp_path / "alone").to_pylist()
    assert {each["file"] for each in rows} == {each.name for each in files}
    assert (missing.returncode, b"Try: a file or a URL" in missing.stderr) == (2, True)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "a.jsonl").write_bytes(recorded(*VISIT))
    done = run("check", tmp_path, "--cluster", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[cluster]'" in done.stderr
