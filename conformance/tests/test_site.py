"""The specification site: what it is generated from, and what a built one is held to."""

import json
import re
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from lxml import html
from markdown import Markdown
from mkdocs.structure.toc import AnchorLink

import neffos_codec
import neffos_protocol
from neffos_conformance.cases.definition import ROLES
from neffos_conformance.cases.definition import cases_of as cases_for
from neffos_conformance.cases.matching import KINDS
from neffos_conformance.cases.script import OBSERVATIONS, OPERATIONS
from neffos_conformance.codecs.vectors import load_vectors
from neffos_protocol.catalogue import differences, requirement, requirements
from neffos_protocol.registry import constants
from neffos_protocol.state_machines import machines
from peers.learned import recorded

SPEC = Path(__file__).parents[2] / "spec"
sys.path.insert(0, str(SPEC))  # the generator is no part of what is installed
import browse  # noqa: E402
from generate import (  # noqa: E402
    cases,
    checks,
    commands,
    downloads,
    implementations,
    known,
    learned,
    plain,
    printed,
    recordings,
    references,
    tables,
    text,
    vectors,
    whole,
)
from generate import differences as differing  # noqa: E402
from generate import machines as states  # noqa: E402
from generate import requirements as blocks  # noqa: E402

sys.path.remove(str(SPEC))


def page(article, head="", title="T"):
    head += f'<title>{title}</title><meta name="description" content="Of {title}">'
    return f"<html><head>{head}</head><body><article>{article}</article></body></html>"


# ---- requirements ----


def test_each_requirement_stands_on_one_page():
    assert blocks.placement(blocks.sources()).keys() == requirements().keys()


@pytest.mark.parametrize(
    ("pages", "complaint"),
    [
        ({"a.md": '{{ req("FR-0") }}'}, "a.md: there is no requirement FR-0"),
        (
            {"a.md": '{{ req("FR-1", "FR-2") }}', "b.md": '{{ req("FR-2") }}'},
            "b.md: FR-2 is on a.md already",
        ),
        ({"a.md": '{{ req("FR-1") }}'}, r"on no page: FR-2, FR-3, .*SEC-17"),
    ],
)
def test_a_requirement_that_is_unknown_or_twice_or_nowhere_is_refused(pages, complaint):
    with pytest.raises(blocks.PlacementError, match=complaint):
        blocks.placement(pages)


def test_a_family_has_a_place_for_the_requirements_that_no_page_names(monkeypatch):
    families = ", ".join(f'"{rest}"' for rest in blocks.REST.values())
    pages = {"a.md": f"{{{{ req({families}) }}}}", "b.md": '{{ req("RM-1") }}'}
    found = blocks.placement(pages)
    assert found.keys() == requirements().keys()
    assert (found["RM-1"], found["RM-2"]) == ("b.md", "a.md")
    monkeypatch.setattr(blocks, "sources", lambda: pages)
    text = blocks.block("RM-*")
    assert 'id="RM-2"' in text
    assert 'id="RM-1"' not in text


def test_no_page_has_words_of_requirement_of_its_own():
    words = re.compile(r"\b(MUST|SHALL|SHOULD|REQUIRED|RECOMMENDED)\b")
    about = {"terms.md", "conformance.md"}  # these two explain the words
    spec = {name: source for name, source in blocks.sources().items() if "{{ req(" in source}
    assert len(spec) > 12
    assert [name for name, source in spec.items() if words.search(source)] == []
    assert about.isdisjoint(spec)


def test_a_block_has_the_sentence_the_reason_and_who_breaks_it():
    block = blocks.block("FR-2")
    assert 'id="FR-2"' in block
    assert '<strong class="level">MUST NOT</strong> read a payload with fewer than six `;`' in block
    assert text.one_line(requirement("FR-2").rationale) in block
    assert "violated by neffos.js 0.1.34" in block


def test_words_of_requirement_in_code_are_left_alone():
    assert text.sentence("it MAY be `MUST`") == 'it <strong class="level">MAY</strong> be `MUST`'


@pytest.mark.parametrize("id_", ["FR-1", "FR-9", "AR-6", "AR-11", "TR-7", "SX-5"])
def test_the_page_of_a_requirement_is_whole(id_):
    source = blocks.own_page(requirement(id_), "frame.md")
    assert f"# {id_}\n" in source
    titles = ["How tested implementations behave", "Recorded examples"]
    if vectors.resting(id_):
        titles.append("Vectors")
    if vectors.sessions(id_):
        titles.append("Session vectors")
    assert all(f"\n## {title}\n" in source for title in titles)
    assert f'title: "{id_}: ' in source
    assert "/frame.md#" + id_ in source


def test_the_index_has_every_requirement():
    tree = html.fromstring(blocks.index())
    rows = tree.xpath("//tr[@data-level]")
    assert [row.xpath("string(th)") for row in rows] == [*requirements()]
    for row, one in zip(rows, requirements().values(), strict=True):
        assert row.get("data-level") == one.level
        assert row.get("data-role").split() == [*one.applies_to]
        signs = ["violates" in each for each in row.xpath("td/@class")]
        assert sum(signs) == len(row.get("data-violated").split("|")) - (not any(signs))
    assert text.FAMILIES.keys() == set(references.FAMILIES)


def test_every_vector_is_told_of():
    for vector in load_vectors():
        assert vectors.given(vector)
        assert vectors.wanted(vector)


# ---- cases ----


def test_an_archive_has_every_source():
    with ZipFile(BytesIO(downloads.contents()["downloads/neffos-java.zip"])) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    folder = SPEC.parent / "conformance" / "templates" / "java"
    sources = {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.glob("**/*.java")
    }
    assert sources
    assert packed.items() >= sources.items()
    assert "](downloads/neffos-java.zip)" in (SPEC / "docs" / "implement.md").read_text("utf-8")


def test_every_schema_that_a_page_names_can_be_downloaded():
    for source in blocks.sources().values():
        for name in re.findall(r"schema/[a-z-]+\.json", source):
            assert name in downloads.contents() or f"vectors/session/{name}" in source


def test_scripts_to_download_are_those_of_the_cases():
    for role in ROLES:
        given = json.loads(downloads.contents()[f"downloads/cases-{role}.json"])["cases"]
        assert [each["id"] for each in given] == [case.id for case in cases_for(role)]
        assert all(each["script"] for each in given)


def test_every_word_of_the_state_tables_is_explained():
    rows = [
        row for machine in machines().values() for found in machine.rows.values() for row in found
    ]
    assert states.WORDS["inputs"].keys() == {str(row.input) for row in rows}
    assert states.WORDS["guards"].keys() == {str(row.guard) for row in rows if str(row.guard)}
    assert states.WORDS["actions"].keys() == {str(each) for row in rows for each in row.actions}


def test_what_a_role_has_to_do_is_whole():
    for role in ("client", "server", "codec"):
        shown = re.findall(r"^- ([A-Z]+-\d+): ", blocks.of_role(role), re.MULTILINE)
        assert sorted(shown) == sorted(
            id_ for id_, one in requirements().items() if role in one.applies_to
        )


def test_a_difference_affects_only_peers_that_do_not_conform():
    both = ("neffos-go 0.0.24", "neffos-go 0.0.25")
    expected = {"DV-17": ("neffos.js 0.1.34",), "DV-23": both, "DV-55": both[1:], "DV-59": ()}
    assert {id_: differing.affected(differences()[id_]) for id_ in expected} == expected


def test_differences_are_grouped_the_gravest_first():
    shown = re.findall(r"\{#(DV-\d+)\}", differing.by_impact("../"))
    assert sorted(shown) == sorted(differences())
    assert re.findall(r"\(#(DV-\d+)\)", differing.summary()) == shown
    assert (differences()[shown[0]].impact, differences()[shown[0]].severity) == (
        "security",
        "high",
    )


def test_the_matrix_has_every_pair_and_failures_first():
    tree = html.fromstring(known.matrix())
    rows = tree.xpath("//tbody/tr")
    assert {len(row) for row in rows} == {len(known.recorded()["servers"]) + 1}
    bad = [len(row.xpath("td[@class='bad']")) for row in rows]
    assert len(rows) == len(known.recorded()["clients"])
    assert bad == sorted(bad, reverse=True)


def test_a_client_has_no_difference_of_a_server():
    rows = [line for line in implementations.tested().splitlines() if "kataras/neffos)" in line]
    clients = [row for row in rows if "| client, Go |" in row]
    assert [id_ for row in clients for id_ in ("DV-1,", "DV-2,", "DV-23,") if id_ in row] == []
    assert {"DV-2," in row for row in rows if "| server, Go |" in row} == {True}


def test_every_system_under_test_is_of_an_implementation():
    for kind in ("clients", "servers"):
        named = [each for one in implementations.implementations() for each in one.get(kind, ())]
        assert sorted(named) == sorted(known.recorded()[kind])


def test_every_case_is_on_its_page_and_on_those_of_its_requirements():
    for role in ROLES:
        shown = re.findall(r'<div class="case" id="([^"]+)"', cases.all_cases(role))
        assert shown == [case.id for case in cases_for(role)]
        for case in cases_for(role):
            assert cases.pages()[case.id] == cases.page(role)
            assert all(case in cases.cases_of(id_) for id_ in case.requirements)


def test_the_cases_that_are_named_after_a_requirement_come_first():
    ids = [case.id for case in cases.cases_of("NS-1")]
    own = [id_ for id_ in ids if id_.startswith("NS-1.")]
    assert ids[: len(own)] == own
    assert "| NS-1.1 |" in cases.section(requirement("NS-1"))[1]


def test_the_language_of_the_cases_is_told():
    told = cases.language()
    assert "    1 handshake  " in told
    assert "    <<name:kind>>  " in told
    assert all(f"| `{name}` |" in told for name in (*KINDS, *OPERATIONS, *OBSERVATIONS))
    assert "see `" not in told


# ---- recordings ----


def test_the_first_recording_of_a_requirement_keeps_it_where_one_does():
    for id_ in requirements():
        kept = [each.keeps(id_) for each in recordings.showing(id_)]
        assert kept == sorted(kept, reverse=True)
        assert [each.keeps(id_) for each in recordings.chosen(id_)][:1] == kept[:1]


@pytest.mark.parametrize(
    ("name", "requirement", "words"),
    [
        ("neffos-wire/ask-reply-late", "AR-22", ["asks with", "reply", "event", "reply"]),
        ("neffos-go/event-any", "EV-2", ["asks with", "reply", "asks with", "reply"]),
        ("neffos-wire/client-lost", "AR-14", ["asks with", "ends without"]),
    ],
)
def test_a_requirement_shows_the_arrows_that_matter(name, requirement, words):
    recording = recordings.recorded(name)
    part = recordings.window(recording, requirement)
    drawn = recordings.figure(
        recording, "", key="d", connection=part.connection, first=part.first, last=part.last
    )
    labels = re.findall(r'aria-label="Line \d+, [^:]*: ([^"]*)"', drawn)
    assert len(labels) == len(words)
    assert all(map(str.startswith, labels, words)), labels
    assert "more: " in drawn
    assert "--from" not in drawn


def test_the_handshake_and_the_ends_of_connections_are_shown_whole():
    recording = recordings.recorded("neffos-wire/ask-reply-late")
    assert recordings.window(recording, "HS-3") == recordings.WHOLE
    assert recordings.window(recording, "TR-1") == recordings.WHOLE


def test_a_recording_of_a_difference_breaks_what_it_is_about():
    shown = [each for each in recordings.recordings().values() if each.difference]
    assert shown
    for recording in shown:
        about = recording.difference.requirements
        broken = [id_ for id_ in recording.shows if id_ in about and recording.breaks(id_)]
        assert broken, recording.name
        assert all(recording.offenders(id_) for id_ in broken), recording.name


def test_a_difference_is_drawn_once_for_each_role():
    for id_ in differences():
        sides = [each.header["client"]["peer"] for each in recordings.of_difference(id_)]
        assert [side == recordings.SUITE for side in sides] in ([], [True], [False], [True, False])


def test_a_picture_fits_into_a_page_with_others():
    recording = recordings.recorded("neffos-go/handshake")
    first, second = (recordings.figure(recording, "../", key=key) for key in ("a", "b"))
    both = checks.read(page(first + second))
    assert both.faults == ()
    assert "../transcripts/neffos-go/handshake.html#m3" in both.links


def test_an_unknown_recording_is_refused():
    with pytest.raises(KeyError, match="no recording 'nobody/nothing'"):
        recordings.recorded("nobody/nothing")


# ---- pictures and tables ----


@pytest.mark.parametrize("name", machines())
def test_each_transition_is_in_the_picture_or_told_of_below_it(name):
    machine = machines()[name]
    drawn, everywhere = states.edges(name)
    shown = {
        (edge.begin, edge.end, re.sub(r" \[.*", "", label))
        for edge in drawn
        for label in edge.labels
    }
    rows = [row for found in machine.rows.values() for row in found if row.state != row.next]
    for row in rows:
        assert row.input in everywhere or (row.state, row.next, row.input) in shown
    picture = states.picture(name)
    assert checks.read(page(picture)).faults == ()
    assert all(f">{state}</text>" in picture for state in machine.states)
    assert all(input_ in picture for input_ in everywhere)


@pytest.mark.parametrize("name", machines())
def test_the_arrows_of_a_picture_stay_inside(name):
    picture = states.picture(name)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', picture).groups())
    for d in re.findall(r' d="M([-\d. ]+)Q([-\d. ]+)" marker', picture):
        (x0, y0), (x1, y1, x2, y2) = (tuple(map(float, each.split())) for each in d)
        middle = (x0 + 2 * x1 + x2) / 4, (y0 + 2 * y1 + y2) / 4
        for x, y in ((x0, y0), middle, (x2, y2)):
            assert 0 < x < width
            assert 0 < y < height


def test_the_registry_is_whole():
    assert re.findall(r'<small id="([^"]+)"', tables.whole_registry()) == [*constants()]


def test_every_section_of_the_grammar_is_on_its_page():
    titles = re.findall(r"^; ---- (.+) ----$", tables.grammar(), re.MULTILINE)
    source = (SPEC / "docs/grammar.md").read_text("utf-8")
    assert re.findall(r'grammar_section\("(.+)"\)', source) == titles
    for title in titles:
        assert tables.grammar_section(title).count("\n") > 2


def test_a_frame_is_taken_apart_as_the_codec_reads_it():
    table = tables.decoded("$1;a@%!semicolon@%!b;;e;1;0;x;y")
    assert [line.split("|")[1].strip(" `") for line in table.splitlines()[2:]] == [
        *tables.wire_names()
    ]
    assert "<code>a&#59;b</code>" in table
    assert "| <code>1</code> | *true* |" in table


def test_the_layout_of_a_frame_shows_each_field():
    picture = tables.layout()
    assert checks.read(page(picture)).faults == ()
    assert re.findall(r'class="name"[^>]*>([^<]+)<', picture) == [*tables.wire_names()]


def test_the_command_line_page_has_every_command():
    shown = re.findall(r"^## (.+) \{#", commands.commands(), re.MULTILINE)
    listed = re.findall(r"^\| \[`([^`]+)`\]", commands.commands(), re.MULTILINE)
    assert shown == listed
    assert {"check", "decode", "test server"} <= set(shown)


@pytest.mark.parametrize(
    ("module", "name"), [(neffos_codec, "embed-codec"), (neffos_protocol, "embed-session")]
)
def test_the_page_of_a_package_has_all_that_it_exports(module, name):
    source = (SPEC / f"docs/{name}.md").read_text("utf-8")
    shown = re.findall(rf"^::: {module.__name__}\.(\w+)$", source, re.MULTILINE)
    assert sorted(shown) == sorted(module.__all__)


def test_code_in_a_caption_is_code():
    assert text.with_code("a `;` <b>") == "a <code>;</code> &lt;b&gt;"


HOSTILE = "<img src=x onerror=alert(1)> | `<b>` [a](javascript:b) ![i](x) \u202e\x9b&lt;\n\n# head"


def elements(source):
    shown = rendered(source, {})
    assert not {"\u202e", "\x9b"} & {*shown}
    tree = html.fromstring(f"<div>{shown}</div>")
    return {each.tag for each in tree.iter()}


def test_a_cell_of_a_catalogue_holds_no_html():
    assert text.cell("a `<b>` & <i>|") == "a `<b>` &amp; &lt;i&gt;&#124;"
    assert not elements(text.cell(HOSTILE.partition("[")[0])) - {"div", "p", "code"}


def test_what_a_peer_wrote_is_text():
    assert text.of_peer("a `;` <b>") == "a <code>&#59;</code> &#60;b&#62;"
    assert text.with_code("a\u202e\n`b`") == "a\\u{202e} <code>b</code>"
    for source in (text.of_peer(HOSTILE), text.verbatim(HOSTILE), text.code(HOSTILE)):
        assert not elements(source) - {"div", "p", "code"}


def test_what_a_peer_sent_is_drawn_as_text():
    words = "*a* `b` [c](d) _e_ \\ "
    shown = rendered(text.unmarked(f'<svg><text id="a_b">{words}</text></svg>'), {})
    assert html.fromstring(f"<div>{shown}</div>").xpath("string(//text)") == words


def test_what_a_recording_says_reaches_the_site_as_text(monkeypatch):
    header = {
        "scenario": HOSTILE,
        "client": {"peer": HOSTILE, "version": HOSTILE},
        "server": {"peer": HOSTILE},
    }
    hostile = recordings.Recording("a/b", header, 1)
    monkeypatch.setattr(blocks, "recordings", lambda: {"a/b": hostile})
    allowed = {"div", "table", "thead", "tbody", "tr", "th", "td", "a", "br", "small", "code"}
    for source in (blocks.shown_by_recordings(), blocks.peers_recorded()):
        assert not elements(source) - allowed
        assert all(line.startswith("|") for line in source.splitlines())
        assert "javascript" in source


def test_what_a_client_says_of_itself_reaches_the_site_as_text(monkeypatch):
    values = {"version": HOSTILE, "verdicts": {}, "failed": {}}
    monkeypatch.setattr(known, "recorded", lambda: {"servers": {"a": values}})
    monkeypatch.setattr(known, "verdict_counts", lambda *_: {})
    allowed = {"div", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert not elements(known.tested("servers")) - allowed


def test_a_page_has_the_title_that_a_recorded_case_has_today():
    kept = recordings.recorded("neffos-go/frame-none")
    assert kept.scenario == (
        "a server drops a payload that is not a frame, and the connection stays open"
    )
    assert f"<h1>{kept.scenario}</h1>" in recordings.own_page(kept)
    title = recordings.recorded("differences/DV-15-server").scenario
    assert title.startswith("case NS-12.1: a connect with isError connects nothing; found: ")


# ---- ids in text ----


def rendered(source, pages):
    extensions = [references.References(pages), "attr_list", "tables"]
    return Markdown(extensions=extensions).convert(source)


def test_an_id_in_a_text_leads_to_its_place():
    shown = rendered("see FR-1, (DV-3) and `FR-2`\n\n# FR-1", {"FR-1": "frame.md"})
    assert '<a class="ref" href="/frame.md#FR-1">FR-1</a>' in shown
    assert 'href="/differences.md#DV-3"' in shown
    assert "<code>FR-2</code>" in shown
    assert "<h1>FR-1</h1>" in shown


def test_a_case_in_a_text_leads_to_its_script():
    shown = rendered("see NS-1.1 and ALL-1", {"NS-1": "namespaces.md"})
    assert '<a class="ref" href="/requirements/cases-server.md#NS-1.1">NS-1.1</a>' in shown
    assert "cases-server.md#ALL-1" in shown


@pytest.mark.parametrize("word", ["FR-1a", "UTF-8", "XFR-1", "a/FR-1", "#FR-1"])
def test_what_is_no_id_stays_as_it_is(word):
    assert "<a" not in rendered(f"see {word}.", {"FR-1": "frame.md"}).replace("<h1", "")


def test_the_first_use_of_a_term_leads_to_the_glossary():
    shown = rendered("Rooms, a room; `token` and a system ask\n\n# Frame", {})
    assert '<a class="term" href="/terms.md#room">Rooms</a>, a room;' in shown
    assert '<a class="term" href="/terms.md#system-ask">system ask</a>' in shown
    assert "#token" not in shown
    assert "#frame" not in shown


def test_code_that_is_written_as_html_has_no_links():
    shown = rendered("<code>a&#59;room FR-1 *x*</code>, a room", {"FR-1": "frame.md"})
    assert "<code>a&#59;room FR-1 *x*</code>, a <a" in shown


def test_an_option_in_a_help_text_is_code():
    shown = text.with_options("With --header 'A: env:B', --dry-run or --ca FILE of *it*")
    assert re.findall("<code[^>]*>(.+?)</code>", shown) == [
        text.verbatim(each) for each in ("--header 'A: env:B'", "--dry-run", "--ca FILE")
    ]
    assert "*it*" not in shown


def test_each_cell_of_a_stacked_table_has_the_head_of_its_column():
    rows = text.table(("a", "*b*"), [("1", "2"), ("3", "")])
    page = Markdown(extensions=["tables", "md_in_html"]).convert(
        f"{rows}\n\n<div class='stacked' markdown>\n\n{rows}\n\n</div>"
    )
    tree = html.fromstring(text.labelled(page))
    assert tree.xpath("//td/@data-label") == ["a", "b"] * 2
    assert [each.text for each in tree.xpath("//td[@data-label]")] == ["1", "2", "3", None]


def test_failures_of_one_reason_share_a_row():
    shown = known.known_failures("")
    assert "&#96;" not in shown
    for file in shown.split("### ")[1:]:
        rows = [line.split(" | ", 1)[1] for line in file.splitlines() if line.startswith("| [")]
        assert len(rows) == len(set(rows))


def test_an_unknown_id_is_a_warning(caplog):
    assert "<a" not in rendered("see FR-99", {"FR-1": "frame.md"})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "FR-99" in caplog.text


# ---- one page ----


def test_the_one_page_links_within_itself():
    links = '<a href="b.html#FR-2">2</a><a href="b.html">b</a><a href="c.html#x">c</a>'
    parts = [
        whole.Part("a.html", "A", f'<h1 id="one">A</h1><p id="FR-1">{links}</p>', ()),
        whole.Part("b.html", "B", '<h1 id="one">B</h1><a id="FR-2" href="#one">up</a>', ()),
    ]
    page = checks.read(f"<html><body>{whole.assemble(parts)}</body></html>")
    assert page.ids == dict.fromkeys(("a", "a--one", "FR-1", "b", "b--one", "FR-2"), 1)
    assert page.links == ("#FR-2", "#b", "c.html#x", "#b--one")


def test_sections_of_the_one_page_have_numbers():
    content = "<h1>A</h1><h2>B</h2><h3>C</h3><h3>D</h3><h2>E</h2><h3>F</h3><h4>G</h4>"
    parts = [whole.Part("a.html", "A", "<h1>X</h1>", ()), whole.Part("b.html", "A", content, ())]
    tree = html.fromstring(f"<div>{whole.assemble(parts)}</div>")
    shown = tree.xpath("//span[@class='number']/text()")
    assert shown == ["1", "2", "2.1", "2.1.1", "2.1.2", "2.2", "2.2.1"]


def test_the_one_page_lists_its_pages_and_their_sections():
    heading = AnchorLink("A", "a", 1)
    heading.children = [AnchorLink("More", "more", 2)]
    [entry] = whole.contents([whole.Part("a.html", "A page", "", [heading])])
    assert (entry.title, entry.id) == ("1 A page", "a")
    assert [(each.title, each.id) for each in entry.children] == [("1.1 More", "a--more")]


# ---- what a built site is held to ----


def test_the_contents_on_paper_have_the_links_of_the_one_page():
    link = AnchorLink("1 The frame", "frame", 2)
    link.children = [AnchorLink("1.1 The escape", "frame--escape", 3)]
    tree = html.fragment_fromstring(whole.printed_contents([link]))
    assert [(each.get("href"), each.text) for each in tree.iter("a")] == [
        ("#frame", "1 The frame"),
        ("#frame--escape", "1.1 The escape"),
    ]


# ---- the document as text and as PDF ----


CHAPTER = (
    '<section class="whole" id="a"><h2 id="a--a"><span class="number">1</span> '
    'Frames<a class="headerlink" href="#a--a">¶</a></h2>'
    "<p>A frame has <code>;</code> six times. "
    + "It is what the two peers send to each other. "
    * 3
    + "</p>"
    '<div class="req req-must" id="FR-1"><div class="req-head"><span class="req-id">FR-1</span>'
    '<span class="req-level">MUST NOT</span> <span class="req-applies-to">client and server</span>'
    '</div><p>A peer <strong class="level">MUST NOT</strong> nod.</p>'
    '<div class="req-why">It is rude.</div><div class="req-foot">interop</div></div>'
    "<table><thead><tr><th>field</th><th>content</th></tr></thead><tbody>"
    "<tr><td>room</td><td>its name</td></tr></tbody></table>"
    "<table><tr><th>field</th><th>what it is</th></tr><tr><td>body</td><td>"
    + "anything "
    * 12
    + "</td></tr></table>"
    "<dl><dt>ask</dt><dd>a frame with a token</dd></dl><ol><li>one<ul><li>two</li></ul></li></ol>"
    f"<pre><code>{'x ' * 50}</code></pre>"
    "<details><summary>More</summary><p>hidden</p></details>"
    '<figure class="recorded"><svg><desc>d</desc><a class="arrow ask" aria-label="Line 2: asks">'
    "</a></svg><figcaption>A visit: <a>the whole recording</a>.</figcaption></figure></section>"
)


def test_the_text_has_the_form_of_an_rfc():
    shown = plain.document(CHAPTER, "neffos", ["Version 1"])
    assert shown.startswith(" " * 33 + "neffos\n")
    for each in (
        "Contents\n\n   1.  Frames\n",
        '\n1.  Frames\n\n   A frame has ";" six times. It is what the two peers',
        "   FR-1  MUST NOT (client and server)\n\n      A peer MUST NOT nod.\n\n"
        "      Rationale: It is rude.\n\n      Basis: interop\n",
        "   field  content\n   -----  --------\n   room   its name\n",
        "   body\n      what it is: anything anything",
        "   ask\n      a frame with a token\n",
        "   1. one\n\n      - two\n",
        "    | x x x",
        "   More:\n\n      hidden\n",
        "   Figure: A visit.\n\n      Line 2: asks\n",
    ):
        assert each in shown
    assert plain.faults(shown, {"FR-1"}) == []


def test_a_text_that_lacks_a_requirement_or_has_long_lines_is_found():
    shown = plain.document(CHAPTER, "neffos", []) + "too long, " * 9
    found = plain.faults(shown, {"FR-2"})
    assert found[:2] == ["FR-1 is 1 times a heading", "FR-2 is 0 times a heading"]
    assert found[2].startswith("a line has 90 columns: too long")


@pytest.mark.browser
def test_the_pdf_has_an_outline_and_numbers_its_pages(tmp_path, chromium):
    from pypdf import PdfReader

    (tmp_path / "a.html").write_text(
        "<!doctype html><title>t - site</title><h1 id='x'>One</h1><a href='#x'>in</a>"
        "<a href='b.html'>out</a><section class='whole'><h2 style='break-before: page'>"
        "<span>1</span> Frames<a href='#x'>¶</a></h2></section>",
        "utf-8",
    )
    target = tmp_path / "a.pdf"
    address = (tmp_path / "a.html").as_uri()
    assert printed.write(chromium.browser, address, target, "wire <1>") == ["Frames"]
    assert printed.faults(target, ["Frames"], fewest=2) == []
    assert printed.faults(target, ["Rooms"], fewest=3) == [
        "a.pdf has 2 pages",
        "a.pdf has no Rooms in its outline",
    ]
    text = PdfReader(target).pages[1].extract_text()
    assert "site, wire <1>" in text
    assert "2 / 2" in text
    assert b"b.html" not in target.read_bytes()


@pytest.mark.parametrize(
    ("article", "head", "fault"),
    [
        ('<img src="x.png">', "", "the picture x.png has no alternative text"),
        ("<svg><path/></svg>", "", "a picture has no alternative text"),
        ('<svg aria-labelledby="t"></svg>', "", "a picture has no alternative text"),
        ('<i id="a"></i><i id="a"></i>', "", "the id a occurs 2 times"),
        ("{{ forgotten() }}", "", "left as it was: {{ forgotten() }}"),
        ("<table><tr><th>a</th></tr></table>", "", "a table has a head without scope"),
        ('<img alt="" src="//cdn/x.png">', "", "fetches //cdn/x.png"),
        ("", '<script src="https://cdn/x.js"></script>', "fetches https://cdn/x.js"),
        ("", '<link rel="stylesheet" href="http://cdn/x.css">', "fetches http://cdn/x.css"),
        ("", "<style>p{background:url(https://cdn/x)}</style>", "a style fetches from elsewhere"),
    ],
)
def test_a_fault_of_a_built_page_is_found(article, head, fault):
    assert checks.read(page(article, head)).faults == (fault,)


def test_a_sound_page_has_no_fault():
    article = (
        '<svg aria-labelledby="t"><title id="t">T</title></svg><span aria-hidden="true"><svg></svg>'
        '</span><a href="https://elsewhere/">x</a><img alt="" src="x.png"><code>{{ x }}</code>'
    )
    assert checks.read(page(article, '<link rel="canonical" href="https://x/">')).faults == ()


def test_dead_links_and_anchors_of_a_built_site_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    links = '<a href="sub/b.html#here">1</a><a href="sub/b.html#gone">2</a><a href="c.html">3</a>'
    (tmp_path / "a.html").write_text(page(links), "utf-8")
    (tmp_path / "sub/b.html").write_text(
        page('<i id="here"></i><a href="../a.html">a</a>', title="B"), "utf-8"
    )
    (tmp_path / "x.css").write_text("@import 'https://cdn/y.css'", "utf-8")
    assert checks.check(tmp_path) == [
        "a.html: dead anchor sub/b.html#gone",
        "a.html: dead link c.html",
        "x.css: fetches from elsewhere",
    ]


def test_pages_without_a_name_of_their_own_or_too_large_are_found(tmp_path, monkeypatch):
    (tmp_path / "transcripts").mkdir()
    for name in ("a", "b", "404", "transcripts/c"):
        (tmp_path / f"{name}.html").write_text(page(""), "utf-8")
    (tmp_path / "d.html").write_text(page("", title=""), "utf-8")
    (tmp_path / "e.html").write_text(page("x" * 200, title="E"), "utf-8")
    monkeypatch.setattr(checks, "MAX_PAGE", 250)
    assert checks.check(tmp_path) == [
        "b.html: the title of a.html",
        "b.html: the description of a.html",
        "d.html: no title",
        "e.html: 314 bytes, more than 250",
    ]


@pytest.mark.browser
def test_what_only_a_browser_sees_is_found(tmp_path, chromium):
    (tmp_path / "good.html").write_text("<!doctype html><link rel='icon' href='data:,'>ok", "utf-8")
    (tmp_path / "bad.html").write_text(
        "<!doctype html><link rel='icon' href='data:,'><div style='width:500px'>wide</div>"
        "<script>new Image().src = 'http://127.0.0.1:1/x'; gone()</script><img src='gone.png'>",
        "utf-8",
    )
    assert browse.pages(tmp_path) == ["bad.html", "good.html"]
    with browse.served(tmp_path) as base:
        found = browse.look(chromium.browser, base, ["good.html", "bad.html"])
    assert not any(fault.startswith("good") for fault in found)
    assert set(found) == {
        "bad.html: asks for http://127.0.0.1:1/x",
        f"bad.html: does not get {base}gone.png",
        "bad.html: fails: gone is not defined",
        "bad.html: 118 pixels wider than 390",
    }


def test_each_published_survivor_has_its_reason():
    assert sorted(known.survivors()) == sorted(known.named_survivors())


@pytest.mark.parametrize("role", ["server", "client"])
def test_each_learned_machine_is_drawn_with_what_differs(role):
    figures = html.fromstring(learned.pictures(role)).xpath("//figure")
    ids = [each for figure in figures for each in figure.xpath(".//@id")]
    assert len(ids) == len({*ids})
    for name, values in recorded().items():
        drawn = [
            figure
            for figure in figures
            if name.removeprefix(f"{role}-") in re.split("[ ,:]+", figure.findtext("figcaption"))
        ]
        known_ones = [each for each in values["machines"] if not each["unknown"]]
        own = known_ones if values["role"] == role else []
        for machine, figure in zip(own, drawn, strict=True):
            whys = figure.xpath(".//text[contains(@class, 'why')]/text()")
            assert {each["requirement"] for each in machine["differing"]} == {
                why.partition(",")[0] for why in whys
            }
            wrong = "".join(figure.xpath(".//text[contains(@class, 'wrong')]/text()"))
            assert all(each["input"].split()[0] in wrong for each in machine["differing"])


@pytest.mark.browser
def test_what_not_everybody_can_use_is_found(tmp_path, chromium):
    (tmp_path / "a.html").write_text(
        "<!doctype html><html lang='en'><title>t</title><main>"
        + "<p>black</p><p style='color: #bbb'>pale</p>" * 9
        + "<p style='color: #aaa'>paler</p><img src='data:,'></main>",
        "utf-8",
    )
    page = chromium.open((tmp_path / "a.html").as_uri())
    found = browse.inaccessible(page)
    page.context.close()
    assert [fault.partition(":")[0] for fault in found] == ["color-contrast", "image-alt"]
    # Of texts that look alike, a few are tested.
    assert f"in {browse.ALIKE_SEEN + 1} elements" in found[0]
    assert found[1].endswith("in 1 elements such as img")
