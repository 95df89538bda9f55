"""The results of a check as Parquet, and the queries of the page on them."""

import re
import sys
from pathlib import Path

import pytest

from .commands import run
from .test_check import EARLY, VISIT, recorded

PAGE = Path(__file__).parents[2] / "spec" / "docs" / "recordings.md"
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.cluster
def test_the_queries_of_the_page_find_what_was_violated(tmp_path):
    import duckdb

    (tmp_path / "a.jsonl").write_bytes(recorded(*VISIT, EARLY, EARLY))
    (tmp_path / "b.jsonl").write_bytes(recorded(*VISIT, EARLY, defects={"NS-11": "client"}))
    (tmp_path / "c.jsonl").write_bytes(recorded(*VISIT))
    (tmp_path / "d.jsonl").write_bytes(recorded(*VISIT, (False, EARLY[1])))
    done = run("check", ".", "--jobs", "1", "--parquet", "check.parquet", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    table = str(tmp_path / "check.parquet")
    most, servers, places = (
        duckdb.sql(query.replace("check.parquet", table)).fetchall() for query in QUERIES
    )
    assert ("NS-11", "client", 2, 1) in most
    assert servers == [("p", None, 4, 0.25)]
    assert [each[1:4] for each in places if each[1] == "a.jsonl"] == [("a.jsonl", 6, 1)]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.jsonl").write_bytes(recorded(*VISIT))
    done = run("check", tmp_path / "a.jsonl", "--parquet", tmp_path / "out")
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[cluster]'" in done.stderr
    assert not (tmp_path / "out").exists()
