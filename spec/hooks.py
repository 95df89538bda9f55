"""The hook by which mkdocs builds the specification.

mkdocs itself can generate pages, and Jinja fills their placeholders, so no plugin is needed. The
package ``generate`` owns the generated content.
"""

from __future__ import annotations

import gc
import re
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Final

from generate import (
    bounds,
    cases,
    ci,
    commands,
    differences,
    downloads,
    history,
    implementations,
    known,
    learned,
    machines,
    plain,
    printed,
    proof,
    recordings,
    references,
    refusals,
    requirements,
    tables,
    vectors,
    whole,
    workbench,
)
from generate.text import labelled, one_line
from jinja2 import Environment, StrictUndefined
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

from neffos_conformance.wire.text import shorten
from neffos_protocol.catalogue import requirements as catalogue

_LOG: Final = get_plugin_logger("generate")
_JINJA: Final = Environment(  # what it writes is Markdown, for which nothing is to be escaped
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)
SPECIFICATION: Final = "Specification"
"""The section of the navigation whose pages are also one page."""


def on_startup(command: str, dirty: bool) -> None:
    """Do not look for garbage: a build keeps what it makes until its end."""
    if command == "build":
        gc.disable()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Teach Markdown the ids, which need their pages; a requirement without one ends the build."""
    try:
        pages = requirements.placement(requirements.sources())
    except requirements.PlacementError as error:
        raise PluginError(str(error)) from error
    config.markdown_extensions.append(references.References(pages))  # type: ignore[arg-type]
    config.extra["placement"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated: requirements, recordings, vectors, the grammar and an archive."""
    pages: dict[str, str] = config.extra["placement"]

    def add(uri: str, content: str | bytes) -> None:
        files.append(File.generated(config, uri, content=content))

    for id_, one in catalogue().items():
        add(f"requirements/{id_}.md", requirements.own_page(one, pages[id_]))
    drawn = [*recordings.recordings().values(), *proof.counterexamples().values()]
    for recording in drawn:
        add(recording.uri, "")  # until it is drawn, in a process of its own
    beside = ProcessPoolExecutor(1)
    _pages[:] = [beside.submit(recordings.own_pages, drawn)]
    beside.shutdown(wait=False)
    for uri, content in downloads.contents().items():
        add(uri, content)
    for name, content in workbench.files().items():
        add(f"workbench/{name}", content)
    add(downloads.TEXT, "")  # what both hold is known when all pages are rendered
    if not printed.missing():
        add(downloads.PDF, b"")
    if workbench.missing():
        _LOG.info("the site has no workbench: %s", workbench.missing())
        for file in [each for each in files if each.src_uri.startswith("workbench/")]:
            files.remove(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write into a page what it asks for, and describe it by its first paragraph."""
    if not (page.file.generated_by or page.meta.get("plain")):
        try:
            markdown = _JINJA.from_string(markdown).render(**_names(page))
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from error
    page.meta.setdefault("description", description(markdown))
    return markdown


_HEAD: Final = re.compile(r"<th(?=[ >])(?![^>]*\bscope=)")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have each head of a column say that it is one, and label the cells of stacked tables."""
    return labelled(_HEAD.sub('<th scope="col"', html))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give the home page, which has the name of the site, this name once as its title."""
    name = config.site_name
    return output.replace(f"<title>{name} - {name}</title>", f"<title>{name}</title>", 1)


_FIRST: Final = re.compile(r"^# .+\n\n((?:[^\W_]|[\[*`\"]).+(?:\n.+)*)", re.MULTILINE)
"""The paragraph after the heading of a page."""

_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]*\)")

DESCRIPTION: Final = 180
"""Characters of a description; engines that search show about so many."""


def description(markdown: str) -> str:
    """Give the first paragraph of a page as plain text, for its description."""
    found = _FIRST.search(markdown)
    plain = _LINK.sub(r"\1", found[1]) if found else ""
    return shorten(one_line(re.sub(r"[`*]", "", plain)), DESCRIPTION)


def _names(page: Page) -> dict[str, Any]:
    """Give the names that a page may use: modules of ``generate``, and two functions."""
    root = "../" * page.file.src_uri.count("/")
    figures = 0

    def recorded(name: str, *, to: int | None = None, **choice: Any) -> str:
        nonlocal figures
        figures += 1
        recording = recordings.recorded(name)
        limit = choice.pop("limit", recordings.LONGEST)
        return recordings.figure(recording, root, key=f"d{figures}", last=to, limit=limit, **choice)

    modules = (
        bounds,
        cases,
        ci,
        commands,
        differences,
        downloads,
        history,
        implementations,
        known,
        learned,
        machines,
        proof,
        refusals,
        requirements,
        tables,
        vectors,
        workbench,
    )
    named = {module.__name__.rpartition(".")[2]: module for module in modules}
    return {"req": requirements.block, "recorded": recorded, "root": root, **named}


def on_env(env: Environment, config: MkDocsConfig, files: Files) -> Environment:
    """Put the one page together: every page has been rendered, and none has been written."""
    for pages in _pages:
        for uri, drawn in pages.result().items():
            files.src_uris[uri].content_string = drawn
    page = files.src_uris[whole.PAGE].page
    parts = [
        whole.Part(each.url, str(each.title), each.content or "", each.toc.items)
        for each in _specification
        if each.file.src_uri != whole.PAGE
    ]
    if page is None or not parts:
        raise PluginError(f"there is no section {SPECIFICATION} in the navigation")
    links = whole.contents(parts)
    content = whole.assemble(parts)
    text = plain.document(content, config.site_name, known.about())
    for fault in plain.faults(text, catalogue()):
        _LOG.warning("%s: %s", downloads.TEXT, fault)
    files.src_uris[downloads.TEXT].content_string = text
    page.content = f"{page.content}\n{whole.printed_contents(links)}\n{content}"
    page.toc.items[0].children = links
    return env


_pages: list[Future[dict[str, str]]] = []
_specification: list[Page] = []


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Remember which pages are the specification."""
    _specification[:] = [
        page
        for section in nav.items
        if isinstance(section, Section) and section.title == SPECIFICATION
        for page in section.children
        if isinstance(page, Page)
    ]
    return nav
