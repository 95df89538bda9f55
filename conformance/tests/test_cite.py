"""Requirement IDs in comments, in any language, joined with cases, verdicts and mutants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neffos_conformance.reports import citations, traceability
from neffos_conformance.reports.citations import CitationError
from neffos_protocol.catalogue import requirements

from .commands import run_text

ROOT = Path(__file__).parents[2]

OWN = [
    ROOT / "codec/neffos_codec",
    *(ROOT / "protocol" / f"neffos_{n}" for n in ("protocol", "asyncio")),
]
TEMPLATES = ROOT / "conformance" / "templates"


@pytest.mark.parametrize(
    ("sources", "roles"),
    [
        # Pygments takes 2 s for them.
        pytest.param(OWN, ("server", "client", "codec"), marks=pytest.mark.whole, id="own"),
        pytest.param([TEMPLATES / "java"], ("client", "codec"), id="java"),
        pytest.param([TEMPLATES / "rust"], ("client",), id="rust"),
    ],
)
def test_what_we_publish_cites_each_requirement_of_its_roles(sources, roles):
    found = traceability.traced(sources, roles, traceability.needed(roles))
    assert found.problems == []
    assert all(each.cases and each.mutants for each in found.traces if each.is_needed)


SOURCES = {
    "a.go": "package a\n\n/* AR-5\n   to AR-6 */\nvar x = `NS-1` // RM-1, EV-1..EV-3\n",
    "b.rs": '//! FR-1 to FR-3\nfn f() { let _ = "NS-2"; } // see DEEP-NS-4, UTF-8 and NS-5x\n',
    "c.ex": "# TR-1\ndefmodule A do\nend\n",
    "d.py": 'NS_1 = "NS-1"  # NS-3\n\n\ndef f():\n    """Sends one (SX-1)."""\n',
    "e.ts": "/** NM-1 */ const s = 'NM-2';\n",
    "f.cs": "// SEC-1: RM-2.1 is a case\n",
    "README.md": "# EV-9\n",
}
CITED = {
    *("AR-5", "AR-6", "RM-1", "EV-1", "EV-2", "EV-3", "FR-1", "FR-2", "FR-3"),
    *("TR-1", "NS-3", "SX-1", "NM-1", "SEC-1", "RM-2"),
}


@pytest.fixture
def sources(tmp_path: Path):
    folder = tmp_path / "src"
    for name, text in {
        **SOURCES,
        "node_modules/x.js": "// EV-8\n",
        ".git/y.py": "# EV-7\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_comments_cite_in_any_language_and_strings_do_not(sources):
    found = list(citations.citations([sources]))
    assert {each.id for each in found} == CITED
    assert next(str(each) for each in found if each.id == "EV-3") == f"{sources / 'a.go'}:5"
    assert next(each.line for each in found if each.id == "SX-1") == 5


def test_unknown_withdrawn_and_missing_ids_are_errors(sources, monkeypatch):
    (sources / "g.c").write_text("int a; /* FR-99 */\n// HS-2\n")
    left = {id_: each for id_, each in requirements().items() if id_ != "HS-2"}
    monkeypatch.setattr(traceability, "requirements", lambda: left)
    found = traceability.traced([sources], ("client",), {"AR-5", "AR-1"})
    assert found.problems == [
        f"{sources / 'g.c'}:1: FR-99 is not a requirement",
        f"{sources / 'g.c'}:2: HS-2 was withdrawn",
        "AR-1: not cited",
    ]


def report(**verdicts: str) -> dict[str, object]:
    there = {id_.replace("_", "-"): verdict for id_, verdict in verdicts.items()}
    return {
        "requirements": [
            {"id": id_, "exercised": id_ in there, "verdict": there.get(id_)}
            for id_ in requirements()
        ]
    }


def test_a_report_decides_what_is_tested(sources):
    needed = {"AR-5", "AR-6", "NS-3"}
    reports = [report(AR_5="pass", NS_3="pass"), report(NS_3="fail")]
    found = traceability.traced([sources], ("client",), needed, reports)
    traces = {each.requirement.id: each for each in found.traces}
    assert [found.is_tested(traces[id_]) for id_ in sorted(needed)] == [True, False, True]
    assert found.problems == ["NS-3: cited, but the report says fail"]


def test_a_kill_matrix_decides_which_tests_can_fail(sources, tmp_path):
    mutants = {
        "one": {"requirement": "FR-1", "role": "client", "killed_by": ["FR-1.c1"]},
        "two": {"requirement": "FR-3", "role": "client", "killed_by": []},
        "other": {"requirement": "FR-3", "role": "server", "killed_by": ["FR-3.1"]},
    }
    path = tmp_path / "kills.json"
    path.write_text(json.dumps({"format": traceability.KILLS_FORMAT, "mutants": mutants}))
    chosen = ("--role", "client", "--requirement", "FR-[1-3]", "--without", "FR-2")
    done = run_text("cite", sources, *chosen, "--kills", path, "--json")
    values = json.loads(done.stdout)
    assert done.returncode == 0, done
    mutants = {each["id"]: each["mutants"] for each in values["requirements"] if each["needed"]}
    assert mutants == {"FR-1": ["one"], "FR-3": []}


def test_the_command_writes_markdown_and_a_page(sources, tmp_path):
    markdown, page = tmp_path / "a.md", tmp_path / "a.html"
    chosen = ("--role", "client", "--requirement", "AR-1")
    done = run_text("cite", sources, *chosen, "--markdown", markdown, "--html", page)
    assert done.returncode == 1
    assert "AR-1: not cited\nFAIL: 0 of 1 requirements and 15 more cited, 13 of them" in done.stdout
    assert "- `AR-1: not cited`" in markdown.read_text()
    assert "<td data-missing>no</td>" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.unknown"], "x.unknown: its language is not known"),
        (["f.py"], "no comment of these sources names a requirement"),
        (["f.py", "--requirement", "ZZ"], "no requirement for server, client, codec fits ZZ"),
        (["f.py", "--without", "NS-99"], "no requirement for server, client, codec fits NS-99"),
        (["f.py", "--kills", "f.py"], "f.py: it is not JSON"),
        (["f.py", "--kills", "list.json"], "list.json: it is not a kill matrix"),
        (["f.py", "--report", "list.json"], "list.json cannot be read"),
    ],
)
def test_bad_input_is_named_on_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"x.unknown": "FR-1", "f.py": "# NOTHING", "list.json": "[1]"}.items():
        Path(name).write_text(text)
    done = run_text("cite", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_a_generated_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(citations, "MAX_SOURCE", 10)
    (tmp_path / "a.py").write_text("# FR-1 and more\n")
    with pytest.raises(CitationError, match="leave it out"):
        list(citations.citations([tmp_path]))
