"""Kinds: comparisons are read as written, views hold what they say, and a gain is not chosen where it is scored."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError, concepts, figures, geometry, results
from medlib.chapters import atlas
from medlib.chapters.geometry import fits, kind_figures, kind_prose, kind_tables, kinds


def test_a_comparison_holds_a_label_against_that_of_the_control():
    (found,) = kinds.comparisons("drugs:specialty/kind")
    assert found.sides == (("drugs", "specialty"), ("foods", "kind"))
    two = kinds.comparisons("drugs:mechanism/origin drugs:specialty/kind")
    assert kinds.labels(two) == {"drugs": ["mechanism", "specialty"], "foods": ["origin", "kind"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "No comparison"),
        ("drugs", "is no comparison"),
        ("drugs:colour/kind", "drugs has no label 'colour'"),
        ("drugs:specialty/colour", "foods has no label 'colour'"),
    ],
)
def test_what_is_no_comparison_is_refused(text, message):
    with pytest.raises(MedlibError, match=message):
        kinds.comparisons(text)


def test_the_labels_of_the_chapter_have_about_as_many_values_as_those_of_their_controls():
    pairs = "drugs:mechanism/origin drugs:specialty/kind diseases:chapter/latitude diseases:organ_system/subregion"
    for c in kinds.comparisons(f"{pairs} symptoms:system/group progression:disease/process"):
        one, other = (concepts.load(domain)[label].nunique() for domain, label in c.sides)
        assert 0.75 < one / other < 1.34, c.name


@pytest.fixture
def frame():
    """Sixty items of four kinds in two templates, one of which ends with the item; every third name has a piece z."""
    rows = [(f"i{i}", variant, f"k{i % 4}") for variant in ("on", "off") for i in range(60)]
    frame = pd.DataFrame(rows, columns=["item", "variant", "kind"])
    number = frame["item"].str[1:].astype(int)
    return frame.assign(
        goes_on=frame["variant"] == "on",
        opens=False,
        pieces=[frozenset({i, "z"} if i % 3 == 0 else {i}) for i in number],
    )


@pytest.fixture
def states(frame):
    """Three states of noise; kinds are planted in the second, at the item's last token."""
    generator = np.random.default_rng(0)
    states = {place: generator.normal(size=(3, len(frame), 40)) for place in ("entity", "mean", "last")}
    states["entity"][1] += 3 * generator.normal(size=(4, 40))[frame["kind"].str[1:].astype(int)]
    return states


@pytest.fixture
def scores(frame, states):
    return kinds.scores(frame, states, ["kind"], n=50).assign(domain="d")


def test_planted_kinds_are_found_in_their_state_and_view_and_in_no_other(scores):
    p = scores.groupby(["view", "space", "layer"])["p"].max()
    planted = (p.index.get_level_values("layer") == 1) & p.index.get_level_values("view").isin(["item", "apart"])
    assert (p[planted] < 0.03).all() and planted.sum() == 3
    assert (p[~planted] > 0.03).all()


def test_the_end_of_the_prompt_is_read_where_the_prompt_goes_on_and_from_state_one_on(scores):
    end = scores[scores["view"] == "end"]
    assert set(end["variant"]) == {"on"} and set(end["layer"]) == {1, 2}
    assert set(scores.loc[scores["view"] == "item", "space"]) == {"raw", "pca30"}


def test_wordings_that_an_item_opens_are_scored_apart_and_read_at_the_end(frame, states):
    opened = kinds.scores(frame.assign(opens=frame["variant"] == "on"), states, ["kind"], n=20)
    of = opened.groupby("view")["variant"].agg(set).to_dict()
    assert of == {"item": {"off"}, "mean": {"off"}, "apart": {"off"}, "opening": {"on"}, "end": {"on"}}
    assert list(kinds.last_template(frame.assign(opens=frame["variant"] == "off"))) == list(range(60))


def test_a_domain_whose_templates_all_open_with_the_item_is_refused(smollm2, tmp_path, monkeypatch):
    monkeypatch.setattr(concepts, "templates", lambda domain: {"early": "{entity} is a drug"})
    with pytest.raises(MedlibError, match="begins with its item"):
        kinds.read(smollm2, "drugs", n_items=3)


def test_names_that_share_a_piece_make_hardly_a_cluster_when_they_are_not_compared(frame, states):
    alike = (frame["item"].str[1:].astype(int) % 3 == 0).to_numpy()
    spelled = frame.assign(kind=np.where(alike, "spelled z", frame["kind"]))
    states["entity"][2, alike] += 5
    found = kinds.scores(spelled, states, ["kind"], n=50).query("layer == 2 and space == 'raw'")
    of = {view: found[found["view"] == view] for view in ("item", "apart")}
    assert of["item"]["p"].max() < 0.03
    assert of["apart"]["excess"].mean() < 0.3 * of["item"]["excess"].mean()
    assert len(of["apart"]) == (~alike).sum()  # those of the spelled kind are compared with none of it


def test_a_gain_is_the_planted_one_and_none_in_noise(scores):
    mean = kinds.over_templates(scores)
    side = kinds.of_side(mean, ("d", "kind"))
    found = kinds.gain(side)
    true = side.groupby("layer")["excess"].mean()
    assert found["value"] == pytest.approx(true[1] - true[0], abs=1e-9) and found["states"] == [1]
    assert found["low"] > 0
    noise = kinds.gain(kinds.of_side(mean, ("d", "kind"), "mean"))
    assert noise["low"] <= 0 <= noise["high"]


def test_two_labels_of_the_same_items_are_compared_item_by_item(frame, states):
    other = frame["item"].str[1:].astype(int) // 15  # cuts across the planted kinds
    both = kinds.scores(frame.assign(other=other.astype(str)), states, ["kind", "other"], n=50)
    mean = kinds.over_templates(both.assign(domain="d"))
    difference = kinds.between_labels(mean, "d", "kind", "other").groupby("layer")["difference"].mean()
    assert difference.idxmax() == 1 and abs(difference[2]) < 0.05


def test_what_umap_finds_is_set_beside_the_raw_states(frame, states):
    found = fits.in_umap(states["entity"], frame, ["kind"], [1, 2], range(2), n=50)
    assert len(found) == 2 * 2 * 3 and set(found["variant"]) == {"on", "off"}
    assert set(fits.in_umap(states["entity"], frame, ["kind"], [1], [0], n=20, templates=1)["variant"]) == {"off"}
    held = fits.held_in_raw(found).set_index("layer")
    assert held.loc[1, ["in_umap", "in_raw"]].all() and not held.loc[2, ["in_umap", "in_raw"]].any()
    assert held["low"][1] <= held["after"][1] <= held["high"][1] and held["after"][1] > held["raw"][1]


def test_umap_draws_clumps_of_noise_that_the_noise_does_not_hold():
    drawn, true = fits.clumps_of_noise(100, 60)
    assert drawn > 0.2 > 0.05 > true


def test_an_item_that_is_compared_with_nothing_is_left_out_and_a_mask_must_fit():
    x, label = np.random.default_rng(0).normal(size=(6, 3)), [0, 0, 0, 1, 1, 1]
    compared = np.ones((6, 6), dtype=bool)
    compared[0] = compared[:, 0] = False
    found = geometry.silhouettes_tested(x, label, n=20, compared=compared)[0]
    assert np.isnan(found[0])
    assert np.allclose(found[1:], geometry.silhouette_samples(x[1:], label[1:]))
    with pytest.raises(MedlibError, match="symmetric table for the 6 rows"):
        geometry.silhouettes_tested(x, label, compared=compared[:5])
    with pytest.raises(MedlibError, match="no two rows of one label"):
        geometry.silhouettes_tested(x, label, compared=np.zeros((6, 6)))


def test_a_mask_of_all_pairs_changes_nothing():
    x, label = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 4
    one, other = (geometry.silhouette_test(x, label, n=30, compared=c) for c in (None, np.ones((30, 30))))
    assert one == pytest.approx(other)


def test_templates_that_tell_the_label_are_left_out(smollm2):
    frame, states = kinds.read(smollm2, "progression", n_items=3)
    assert set(frame["variant"]) == {"early", "late"} and len(frame) == 6
    assert list(frame["goes_on"]) == list(frame["variant"] == "early")
    assert states["mean"].shape == (smollm2.n_layers + 1, 6, smollm2.hidden_size)


def test_a_case_counts_only_where_every_template_shows_it():
    rows = [
        ("umap30", 0, "a", 0.01, 0.3),
        ("umap30", 0, "b", 0.01, 0.1),
        ("raw", 0, "a", 0.01, 0.2),
        ("raw", 0, "b", 0.2, 0.0),
    ]
    table = pd.DataFrame(rows, columns=["space", "draw", "variant", "p", "excess"]).assign(label="kind", layer=3)
    (found,) = fits.held_in_raw(table).to_dict("records")
    assert found["in_umap"] and not found["in_raw"]
    assert found["after"] == pytest.approx(0.2) and found["raw"] == pytest.approx(0.1)


def test_planted_kinds_are_found_and_shuffled_ones_seldom():
    score, p, false = fits.made_up_kinds(np.arange(120) % 6, 80, n=40)
    assert score > 0 and p < 0.05 and false <= 4


def test_a_finished_figure_says_its_axes_at_the_edges_and_its_curves_once():
    figure, panels = figures.panels("abcd")
    for axes in panels.values():
        figures.curve(axes, pd.DataFrame({"layer": [0, 1], "value": [0.1, 0.2]}), "medical", "medical domain")
    kind_figures.finish(figure, panels, "score")
    assert figure.get_supylabel() == "score"
    assert [bool(axes.get_xlabel()) for axes in panels.values()] == [False, True, True, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["medical domain"]


TWO = "drugs:mechanism/origin drugs:specialty/kind"


@pytest.fixture(scope="module")
def measured():
    """Everything the chapter computes, on made-up states of two domains with two labels each."""
    wanted, generator, parts, of = kinds.comparisons(TWO), np.random.default_rng(0), [], {}
    for domain, labels in kinds.labels(wanted).items():
        rows = pd.DataFrame([(f"{domain} {i}", v) for v in ("early", "middle", "late") for i in range(48)])
        rows = rows.set_axis(["item", "variant"], axis=1)
        number = rows["item"].str.split().str[1].astype(int)
        rows = rows.assign(**{labels[0]: (number % 4).astype(str), labels[1]: (number // 12).astype(str)})
        rows = rows.assign(goes_on=rows["variant"] != "late", opens=rows["variant"] == "early")
        rows["pieces"] = [frozenset({i}) for i in number]
        states = {place: generator.normal(size=(3, len(rows), 40)) for place in ("entity", "mean", "last")}
        if domain == "drugs":
            states["entity"][1:] += 2 * generator.normal(size=(4, 40))[number % 4]
        of[domain] = rows, states
        parts.append(kinds.scores(rows, states, labels, 40).assign(domain=domain))
    scores, keys = pd.concat(parts), ["domain", "label", "view", "space"]
    by_item = kinds.over_templates(scores)
    p = kinds.weakest(scores)
    gained = kind_tables.gains(by_item, kinds.labels(wanted))
    held = pd.DataFrame(
        [
            ("drugs", "mechanism", 1, True, True, 0.2, 0.1, 0.3, 0.1),
            ("foods", "origin", 1, True, False, 0.2, 0.1, 0.3, 0.1),
            ("foods", "kind", 1, False, True, 0.2, 0.15, 0.25, 0.1),
        ],
        columns=["domain", "label", "layer", "in_umap", "in_raw", "after", "low", "high", "raw"],
    )
    return dict(
        wanted=wanted,
        of=of,
        scores=scores,
        by_item=by_item,
        above=atlas.curves(by_item, keys, "excess"),
        p=p,
        differences=kinds.against_control(by_item, wanted),
        between=kinds.two_labels(by_item, wanted),
        gained=gained,
        overview=kind_tables.overview(wanted, p, gained, by_item),
        held=held,
        drawn={"drugs": {0: {"points": None, "trustworthiness": 0.7}, 1: {"points": None, "trustworthiness": 0.9}}},
    )


def test_the_overview_counts_states_in_every_view(measured):
    overview = measured["overview"].set_index("name")
    assert overview["raw"].to_dict() == {
        "drugs by mechanism": 2,
        "foods by origin": 0,
        "drugs by specialty": 0,
        "foods by kind": 0,
    }
    assert list(overview["medical"]) == [True, False, True, False]
    assert overview.loc["drugs by mechanism", ["pca30", "apart", "opening"]].tolist() == [2, 2, 2]
    shown = kind_tables.shown(measured["overview"])
    assert list(shown["raw"]) == ["2", "0", "0", "0"] and "item opens" in shown
    assert "item opens" not in kind_tables.shown(measured["overview"].assign(opening=np.nan))


def test_a_first_state_that_is_best_is_no_gain():
    row = {"gain": 0.0, "gain_low": 0.0, "gain_high": 0.0, "best": [0]}
    assert kind_tables.gain_in_words(row) == "state 0 is best"
    assert kind_tables.gain_in_words(row | {"best": [0, 7]}) == "0.00 (0.00 to 0.00)"


def test_the_second_label_is_held_against_the_first_in_each_state_and_over_all(measured):
    between = measured["between"]
    drugs = between[(between["domain"] == "drugs") & (between["view"] == "item") & (between["column"] == "excess")]
    assert (drugs["first"] == "mechanism").all() and (drugs["second"] == "specialty").all()
    curve = drugs.dropna(subset="layer").set_index("layer")
    assert (curve.loc[[1, 2], "high"] < 0).all()
    mean = drugs[drugs["layer"].isna()].iloc[0]
    assert mean["value"] == pytest.approx(curve["value"].mean()) and mean["low"] < mean["value"] < mean["high"]
    table = kind_tables.two_labels(between).set_index(["domain", "silhouette"])
    assert table.loc[("drugs", "above shuffled, all names"), "states first ahead"] >= 2
    assert set(table.loc["drugs"].index) == {
        "above shuffled, all names",
        "above shuffled, no shared piece",
        "plain, all names",
    }


@pytest.mark.parametrize(
    ("raw", "opening"),
    [
        ([9, 9], "Yes, and things without medicine do so too: 1 of 1"),
        ([9, 0], "Yes, and in medicine only"),
        ([0, 9], "Not in medicine, but in its controls"),
        ([0, 5], "No: 0 of 1"),
    ],
)
def test_the_verdict_names_what_lies_together_on_more_than_half_of_the_states(raw, opening):
    overview = pd.DataFrame({"name": ["drugs by kind", "foods by kind"], "medical": [True, False], "raw": raw})
    said = kind_prose.verdict(overview, 10)
    assert said.startswith(opening)
    assert said.endswith(f"among the controls, {'foods by kind' if raw[1] > 5 else 'none'}.")


def test_a_wording_that_the_item_opens_can_undo_what_the_others_show(scores):
    opened = scores[scores["view"] == "item"].assign(view="opening", p=1.0)
    p = kinds.weakest(pd.concat([scores, opened]))
    item, every = (kinds.of_side(p, ("d", "kind"), view).set_index("layer")["p"] for view in ("item", "any"))
    assert item[1] < 0.1 and every[1] == 1
    same = kinds.weakest(scores)
    assert list(kinds.of_side(same, ("d", "kind"), "any")["p"]) == list(kinds.of_side(same, ("d", "kind"))["p"])


def test_what_would_count_with_all_wordings_is_said_where_some_are_left_out(measured):
    assert "1 medical labels and 0 of the controls" in kind_prose.with_opening(measured["overview"], 3)
    assert kind_prose.with_opening(measured["overview"].assign(opening=np.nan), 3).startswith("All wordings")


def test_the_numbers_of_the_prose_are_those_of_the_tables(measured):
    args = (measured[name] for name in ("overview", "differences", "between", "wanted", "held", "drawn"))
    found = kind_prose.numbers(*args, n_shuffles=99)
    assert found["together"] == (1, "drugs by mechanism") and found["together_control"] == (0, "none")
    assert found["further"][0] == 1 and found["less_far"] == (0, "none")
    assert [found[key][0] for key in ("n_cases", "n_umap", "n_held", "n_raw_alone")] == [3, 2, 1, 1]
    assert found["p_floor"][1] == "0.0100" and found["trust"][1] == "0.70 to 0.90" and found["seed_spread"][1] == "0.20"
    assert found["two_labels"][1].startswith("specialty minus mechanism is -")


def test_one_label_a_domain_leaves_the_paper_without_an_answer(measured):
    assert kind_prose.against_paper(measured["wanted"][:1], measured["between"]).startswith("no domain is compared")


def test_what_is_left_out_is_named():
    rows = pd.DataFrame({"variant": ["early", "late"], "opens": [True, False]})
    assert "(early)" in kind_prose.left_out({"drugs": rows})
    assert kind_prose.left_out({"drugs": rows.assign(opens=False)}).startswith("No wording is left out")


def test_a_control_keeps_its_colour_and_an_unknown_medical_domain_is_grey(measured):
    known = {"drugs": False, "foods": False}
    wanted, above = measured["wanted"], measured["above"]
    drawn = [
        kind_figures.silhouettes(wanted, above, known),
        kind_figures.spelling(wanted, above, known),
        kind_figures.places(wanted, above, known),
        kind_figures.after_umap(wanted, measured["held"], known),
        kind_figures.two_labels(wanted, measured["between"], known),
    ]
    for figure in drawn:
        colours = {line.get_color() for axes in figure.axes for line in axes.lines}
        assert figures.NOT_KNOWN in colours and figures.LOOKS["control"]["color"] in colours
        assert figures.LOOKS["medical"]["color"] not in colours
    difference = kind_figures.differences(measured["differences"], known | {"drugs": True})
    assert figures.LOOKS["difference"]["color"] in {line.get_color() for line in difference.axes[0].lines}
    assert kind_figures.two_labels(wanted[:1], measured["between"], known) is None


def test_the_results_table_holds_each_template_with_its_p(measured):
    umap = pd.DataFrame(
        [("kind", 0.1, 0.2, 0.01, "umap30", 3, 1, "late", "foods")],
        columns=["label", "score", "excess", "p", "space", "draw", "layer", "variant", "domain"],
    )
    names = ("scores", "above", "p", "differences", "between", "gained")
    table = kind_tables.results_table(*(measured[name] for name in names), umap, measured["drawn"])
    tidy = results.tidy(table, model="m", technique="geometry", seed=0)
    one = tidy.query("metric == 'silhouette_mechanism_p' and space == 'raw' and layer == 1")
    assert set(one.loc[one["component"] == "residual stream", "variant"]) == {"middle", "late"}
    assert set(one.loc[one["component"] == "residual stream, item opens the text", "variant"]) == {"early"}
    assert set(tidy.loc[tidy["space"] == "umap30", "variant"]) == {"late, seed 3"}
    assert (tidy.loc[tidy["metric"] == "trustworthiness", "value"] == [0.7, 0.9]).all()
    metrics = set(tidy["metric"])
    assert {"silhouette_specialty_minus_mechanism", "silhouette_specialty_minus_mechanism_above_shuffled"} <= metrics


def test_the_table_of_labels_says_how_many_templates_count(measured):
    rows = {domain: frame for domain, (frame, _) in measured["of"].items()}
    table = kind_tables.labels(measured["wanted"], rows).set_index(["domain", "label"])
    assert table.loc[("drugs", "specialty")].to_dict() == {"values": 4, "items": 48, "templates": 2, "item opens": 1}
