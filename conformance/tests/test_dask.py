"""A check on a Dask cluster of two workers on this machine: the report is that of one process."""

import json
import sys

import pytest

from neffos_conformance.recordings import shares

from .commands import run
from .test_check import EARLY, VISIT, recorded
from .test_shares import recording


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_report_of_one_process(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(shares, "MIN_SHARED", 100)
    (tmp_path / "a.jsonl").write_bytes(recording(1))
    (tmp_path / "b.jsonl").write_bytes(recorded(*VISIT, EARLY))
    assert len(shares.plan([tmp_path / "a.jsonl"], 2, shares.Reading())) == 2
    alone = run("check", "--json", "--jobs", "1", ".", cwd=tmp_path)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address=None,
    ) as cluster:
        address = cluster.scheduler_address
        done = run("check", "--json", ".", "--cluster", address, cwd=tmp_path)
        resume = ("--resume", tmp_path / "journal")
        other = run("check", "--json", ".", "--cluster", address, *resume, cwd=tmp_path)
        missing = run("check", "-", "--cluster", address)
    assert json.loads(done.stdout) == json.loads(other.stdout) == json.loads(alone.stdout)
    assert done.returncode == alone.returncode == 1
    assert (missing.returncode, b"Try: a file or a URL" in missing.stderr) == (2, True)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "a.jsonl").write_bytes(recorded(*VISIT))
    done = run("check", tmp_path, "--cluster", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[cluster]'" in done.stderr
