"""The features of the application's page are those of the data, and name what the page has."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from neffos_conformance.features import Feature, features

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "spec" / "docs" / "application.md").read_text("utf-8")
KINDS = [field.name for field in fields(Feature)][2:]


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """Give the cells of the table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def needing(cell):
    """Give what a cell of the table of features names, by its kind."""
    found = {kind: [] for kind in KINDS}
    for part in filter(None, cell.strip("| ").split("; ")):
        kind = re.match(r"the (event|namespace|endpoint|header)s? ", part)[1]
        found[f"{kind}s"] += re.findall("`([^`]+)`", part)
    return found


def test_the_table_is_the_data():
    table = [
        Feature(
            name.strip("`"), about, **{kind: tuple(names) for kind, names in needing(cell).items()}
        )
        for name, about, cell in rows("Features")
    ]
    assert table == list(features())


def test_the_data_has_no_fields_that_nobody_reads():
    data = tomllib.loads((ROOT / "conformance" / "data" / "features.toml").read_text("utf-8"))
    assert data.keys() == {"format", "feature"}
    assert data["format"] == 1


def test_names_are_unique_and_words():
    names = [feature.id for feature in features()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("feature", features(), ids=lambda feature: feature.id)
def test_a_feature_names_what_the_page_has(feature):
    events = {row[1].strip("`") for row in rows("Events") if row[0] == "`app`"}
    namespaces = {row[0].strip("`") for row in rows("Namespaces")}
    endpoints = set(re.findall("with `(/[a-z]+)` behind", section("Endpoints")))
    headers = {
        row[0].strip("`").partition(":")[0] for row in rows("Headers of the upgrade request")
    }
    assert set(feature.events) <= events
    assert set(feature.namespaces) <= namespaces
    assert set(feature.endpoints) <= endpoints
    assert set(feature.headers) <= headers
