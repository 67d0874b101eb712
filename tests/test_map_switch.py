"""The figure with all maps: what it draws is in its table, a model is chosen by keyboard, the mouse says how sure."""

import json
import re

import pandas as pd
import pytest
from planted_maps import DOMAINS, LAYERS, a_map

from medlib import MedlibError
from medlib.book.pages import map_switch

MAPS = {
    "deep": a_map(layers=24, mapped={("plain", "lesion"): [1, 2, 20, 21, 22]}),
    "small": a_map(unknown=["drugs"], q=0.5, mapped={("minus control", "patching"): None, ("plain", "geometry"): []}),
}


@pytest.fixture(scope="module")
def table():
    return map_switch.intervals(MAPS)


@pytest.fixture(scope="module")
def html(table):
    return map_switch.page(table, "maps-switch")


def drawn(html):
    read = json.JSONDecoder().raw_decode
    at = re.search(r'Plotly\.newPlot\(\s*"maps-switch",\s*', html).end()
    data, end = read(html, at)
    layout, _ = read(html, re.compile(r"\s*,\s*").match(html, end).end())
    return data, layout


def test_the_table_has_every_run_of_layers_with_its_share(table):
    own = table[(table["model"] == "deep") & (table["map"] == "plain") & (table["technique"] == "lesion")]
    assert list(own[own["domain"] == "drugs"][["first", "last"]].itertuples(index=False, name=None)) == [
        (1, 2),
        (20, 22),
    ]
    assert (own["share"] == 0.75).all() and (own["layers"] == 24).all() and (own["n"] == 20).all()
    assert set(own["domain"]) == set(DOMAINS)  # the controls have no map of their own in the book


def test_what_maps_nothing_has_a_row_that_says_why(table):
    small = table[table["model"] == "small"].set_index(["map", "technique"])
    assert set(small.loc[("plain", "geometry"), "status"]) == {"no interval"}
    assert set(small.loc[("minus control", "patching"), "status"]) == {"not measured"}
    assert small.loc[("plain", "geometry"), "first"].isna().all()


def test_each_choice_shows_the_bars_of_its_model_and_no_other(table, html):
    data, layout = drawn(html)
    bars = [(place, trace) for place, trace in enumerate(data) if trace.get("hovertext")]
    for button, model in zip(layout["updatemenus"][0]["buttons"], MAPS, strict=True):
        restyled, relaid = button["args"]
        told = [text for place, trace in bars if restyled["visible"][place] for text in trace["hovertext"]]
        assert len(told) == (table["first"].notna() & (table["model"] == model)).sum() > 0
        layers = 24 if model == "deep" else LAYERS
        assert all(f"of {layers}<br>" in text for text in told) and relaid["xaxis.range"] == [0.5, layers + 0.5]
        assert button["label"] == f"{model}, {layers} layers"
    first = [place for place, trace in bars if trace["visible"]]
    assert [place for place, _ in bars if layout["updatemenus"][0]["buttons"][0]["args"][0]["visible"][place]] == first


def test_a_bar_lies_over_its_layers_and_says_domain_technique_layers_and_share(html):
    data, _ = drawn(html)
    (trace,) = [t for t in data if t.get("visible") is True and any("24" in text for text in t.get("hovertext", []))][
        :1
    ]
    place = trace["hovertext"].index("<b>drugs</b>, lesion<br>layers 20 to 22 of 24<br>mapped in 75% of resamples")
    assert (trace["base"][place], trace["x"][place]) == (19.5, 3.0)


def test_what_is_not_known_is_grey_and_what_does_not_stand_out_is_hollow_and_both_are_said(table, html):
    data, layout = drawn(html)
    traces = [trace for trace in data if any(f"of {LAYERS}<" in text for text in trace.get("hovertext", []))]
    plain, less = traces
    for text, colour in zip(plain["hovertext"], plain["marker"]["color"], strict=True):
        assert ("drugs" in text) == ("not known to the model" in text) == (colour == map_switch.GREY)
    tested = [(t, c) for t, c in zip(less["hovertext"], less["marker"]["color"], strict=True) if "two tech" not in t]
    assert tested and all("does not stand out" in text and colour == "rgba(0,0,0,0)" for text, colour in tested)
    names = layout["updatemenus"][0]["buttons"][1]["args"][1]["yaxis.ticktext"]
    assert [name for name in names if "not known" in name] == ["drugs,<br>not known"]


def test_the_page_loads_nothing_and_is_the_same_text_each_time(table, html):
    assert html == map_switch.page(table, "maps-switch")
    assert "http" not in html and "<script src" not in html and "```" not in html


def test_no_map_at_all_is_refused():
    with pytest.raises(MedlibError, match="no map"):
        map_switch.page(map_switch.intervals({}), "maps-switch")


def test_the_keyboard_chooses_the_model_offline(this_book, visit):
    tab, heard = visit()
    tab.goto((this_book / "maps.html").as_uri())
    menu = tab.get_by_label("Model", exact=True)
    assert menu.locator("option").count() == len(pd.read_csv(next(this_book.rglob("maps.csv")))["model"].unique()) > 1
    shown = "() => document.querySelector('.plotly-graph-div').data.map(trace => trace.visible !== false)"
    before = tab.evaluate(shown)
    menu.focus()
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function(f"before => JSON.stringify(({shown})()) !== JSON.stringify(before)", arg=before)
    assert sum(tab.evaluate(shown)) == sum(before) and heard == []
    assert tab.locator(".plotly-graph-div").get_attribute("aria-label") == "Knowledge map of one model"
