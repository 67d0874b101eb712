"""The data page: every table can be downloaded, every label is counted, and the example of the guide runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from medlib import concepts
from medlib.book.pages import concept_pages, markdown

PAGES = Path(__file__).parent.parent / "book" / "methods"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    concept_pages.write(folder)
    return folder


def test_each_table_lies_beside_the_page_as_it_is_in_the_library(written):
    page = (written / "domains.md").read_text()
    for domain in concepts.domains():
        for suffix in ("csv", "toml"):
            assert f"</generated/tables/{domain}.{suffix}>" in page
            copy = written / "tables" / f"{domain}.{suffix}"
            assert copy.read_bytes() == (concepts.HERE / copy.name).read_bytes()
        assert len(pd.read_csv(written / "tables" / f"{domain}.csv")) == len(concepts.load(domain))


def test_the_counts_on_the_page_are_those_of_the_tables(written):
    page, balance = ((written / name).read_text() for name in ("domains.md", "balance.md"))
    asked = concepts.questions("drugs")
    assert f"| **drugs** | {len(concepts.load('drugs'))} | 3 | {asked['item'].nunique()} | 3 |" in page
    label, count = next(concepts.load("drugs").specialty.value_counts().items())
    assert re.search(rf"\b{label} {count}\b", balance)


def test_every_item_is_on_the_page_so_that_search_finds_it(written):
    balance = (written / "balance.md").read_text()
    for domain in concepts.domains():
        for item in concepts.load(domain)["item"].astype(str):
            assert markdown.escaped(item) in balance


def test_the_shares_that_were_checked_are_those_of_the_rows(written):
    page = (written / "checked.md").read_text()
    for domain in concepts.domains():
        share = (concepts.load(domain).checked != "not checked").mean()
        assert f"| {domain} | {share:.0%} |" in page


def test_the_domain_of_the_guide_is_one(tmp_path):
    """The two files as the page shows them: loaded, asked, and with the error that it quotes."""
    guide = (PAGES / "add_domain.md").read_text()
    table, description = (re.search(rf"```{kind}\n(item,|title)(.*?)```", guide, re.S) for kind in ("text", "toml"))
    (tmp_path / "animals.csv").write_text(table[1] + table[2])
    (tmp_path / "animals.toml").write_text(description[1] + description[2])
    domain = tmp_path / "animals.toml"
    asked = concepts.questions(domain)
    assert asked.iloc[0][["prompt", "answer", "also"]].tolist() == [
        "The sound of the crow is called a",
        " caw",
        {" croak"},
    ]
    assert len(concepts.prompts(domain)) == 3 * 8 and concepts.control(domain) == "numbers"
    (tmp_path / "animals.csv").write_text((table[1] + table[2]).replace("duck,bird", "duck,brid"))
    quoted = re.search(r"`animals\.csv, (row 3, .*?\?)`", guide)[1]
    with pytest.raises(Exception, match=re.escape(quoted)):
        concepts.load(domain)
