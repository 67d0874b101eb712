"""The book from a local server, with every other address refused: pages, search, downloads, and what moves."""

import pytest
from browser import COMPLAINTS, name, pages

SLIDER = ".figure-control input[type=range]"
FIRST = """() => {
  const [first] = document.querySelector(".plotly-graph-div").data;
  return [...first.x, ...first.y];
}"""


def test_every_page_reads_well_from_a_server(this_book, server, visit):
    tab, heard = visit(server=server)
    wrong = {}
    for path in pages(this_book):
        tab.goto(f"{server}{name(this_book, path)}")
        complaints = [*tab.evaluate(COMPLAINTS), *heard]
        heard.clear()
        if complaints:
            wrong[name(this_book, path)] = complaints
    assert wrong == {}


def test_search_works_from_a_server(server, visit):
    tab, heard = visit(server=server)
    tab.goto(f"{server}search.html?q=metformin")
    tab.locator("#search-results ul.search li a").get_by_text("The tables behind the questions", exact=True).wait_for()
    assert heard == []


def test_a_figures_data_is_downloaded_as_it_lies_there(this_book, server, visit, tmp_path):
    page = next(path for path in pages(this_book) if path.parent.parent.name == "runs")
    tab, _ = visit(server=server)
    tab.goto(f"{server}{name(this_book, page)}")
    link = tab.locator("figcaption a.download").first
    with tab.expect_download() as started:
        link.click()
    started.value.save_as(tmp_path / "data.csv")
    there = (page.parent / link.get_attribute("href")).resolve()
    assert (tmp_path / "data.csv").read_bytes() == there.read_bytes()
    assert there.read_text(encoding="utf-8").startswith("model,technique,domain")


def test_the_reader_can_change_the_theme(server, visit):
    tab, _ = visit(server=server)
    tab.goto(f"{server}intro.html")
    seen = set()
    for _ in range(3):
        tab.locator("button.theme-switch-button:visible").first.click()
        seen.add(tab.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}


def test_the_keyboard_chooses_the_map_of_tokens(this_book, visit):
    page = next(this_book.glob("runs/*/patching.html"))
    tab, heard = visit()
    tab.goto(page.as_uri())
    menu = tab.locator(".figure-control select")
    shown = "() => document.querySelector('.plotly-graph-div').data.map(trace => trace.visible)"
    assert tab.evaluate(shown).count(True) == 1
    menu.focus()
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function(f"() => ({shown})()[1] === true")
    assert tab.evaluate(shown).count(True) == 1 and heard == []


@pytest.mark.parametrize("served", [False, True])
def test_the_keyboard_moves_the_slider_and_the_slider_the_picture(this_book, server, visit, served):
    page = next(this_book.glob("runs/*/geometry.html"))
    tab, heard = visit(server=server if served else None)
    tab.goto(f"{server}{name(this_book, page)}" if served else page.as_uri())
    slider, told = tab.locator(SLIDER).first, tab.locator(".figure-control output").first
    assert tab.locator(SLIDER).count() == tab.locator(".plotly-graph-div").count()
    before, first = tab.evaluate(FIRST), told.text_content()
    slider.focus()
    tab.keyboard.press("ArrowRight")
    assert told.text_content() != first
    assert slider.get_attribute("aria-valuetext") == told.text_content()
    tab.wait_for_function(f"before => JSON.stringify(({FIRST})()) !== JSON.stringify(before)", arg=before)
    assert heard == []
