"""A term of the glossary is a link where a page first uses it, and nowhere else."""

import pytest
from browser import ROOT
from bs4 import BeautifulSoup

from medlib.book import terms


def test_the_terms_are_those_of_the_glossary_the_longest_first():
    found = terms.terms((ROOT / "book" / "notation.md").read_text(encoding="utf-8"))
    assert {"block", "layer", "residual stream", "clean prompt", "corrupt prompt", "trunk"} <= set(found)
    assert [len(term) for term in found] == sorted(map(len, found), reverse=True)


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("A block and a block.", {"block": ["block"]}),
        ("Lesions hurt; a lesion.", {"lesion": ["Lesions"]}),
        ("The residual\nstream of patches", {"residual stream": ["residual\nstream"], "patch": ["patches"]}),
        ("Blocking, sub-block and unpatched", {}),
    ],
)
def test_first_uses_are_cut_out_of_a_text_as_whole_words_in_any_number(text, linked):
    left = ["residual stream", "lesion", "block", "patch"]
    pieces = terms.split(text, left)
    assert "".join(shown for shown, _ in pieces) == text
    assert {term: [shown for shown, of in pieces if of == term] for _, term in pieces if term} == linked
    assert set(left) == {"residual stream", "lesion", "block", "patch"} - set(linked)


def test_a_word_that_a_page_uses_in_another_sense_is_no_term_there_nor_in_its_results(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "maps.md").write_text("---\nother_senses: [lesion]\n---\n\n# Maps\n")
    assert terms.other_senses(tmp_path, "methods/maps") == terms.other_senses(tmp_path, "runs/m/maps") == ["lesion"]
    assert terms.other_senses(tmp_path, "runs/m/geometry") == []
    (tmp_path / "pictures.md").write_text("---\nother_senses: [patch]\n---\n\n# Pictures\n")
    assert terms.other_senses(tmp_path, "pictures") == ["patch"]


def test_other_senses_are_of_terms_that_there_are():
    known = terms.terms((ROOT / "book" / "notation.md").read_text(encoding="utf-8"))
    for page in (ROOT / "book" / "methods").glob("*.md"):
        assert set(terms.other_senses(ROOT / "book", f"methods/{page.stem}")) <= set(known)


def test_pages_link_each_term_once_to_its_entry_and_never_in_headings_code_or_tables(this_book):
    soup = BeautifulSoup((this_book / "notation.html").read_text(encoding="utf-8"), "html.parser")
    entries = {tag["id"] for tag in soup.select("dl.glossary dt[id]")}
    assert not soup.select("a > .std-term")
    pages = [*this_book.glob("methods/*.html"), *this_book.glob("runs/*/*.html")]
    assert pages
    for page in pages:
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        links = [tag.parent for tag in soup.select("article a > .std-term")]
        to = [link["href"].split("#")[1] for link in links]
        assert len(set(to)) == len(to) > 0, page
        assert set(to) <= entries
        for link in links:
            assert not link.find_parent(["h1", "h2", "h3", "pre", "code", "table", "figcaption", "details", "em"])
