"""Stages read from a model, their order and their loops, on planted shapes."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model
from scipy.stats import kstest, rankdata

import medlib
from medlib import figures, geometry, results
from medlib.chapters.progression import (
    planted_stages,
    stage_figures,
    stage_prose,
    stage_tables,
    stage_words,
    stages,
)
from medlib.errors import MedlibError
from medlib.prompts import Prompt
from medlib.states import PLACES
from medlib.stats import Interval

TEN = range(10)


def polygon(k, radius=3.0):
    around = 2 * np.pi * np.arange(k) / k
    return radius * np.stack([np.cos(around), np.sin(around), np.zeros(k)], axis=1)


def frame(n_series=2, n_stages=4, templates=("early", "late")):
    """Prompts of the tiny tokenizer: every stage of every series in every template."""
    rows = []
    for series in range(n_series):
        for variant in templates:
            for stage in range(n_stages):
                item = " ".join(f"w{10 * series + stage + i}" for i in range(1 + stage % 3))
                prompt = Prompt.fill("{entity} w50 w51" if variant == "early" else "w50 {entity}", item)
                rows.append((item, variant, prompt, f"series {series}", stage))
    made = pd.DataFrame(rows, columns=["item", "variant", "prompt", "series", "stage"])
    return made.assign(prompt=pd.Series([row[2] for row in rows], dtype=object))  # or pandas keeps the text alone


# --- loops


@pytest.mark.parametrize("k", [5, 6, 7, 9, 10, 13, 20])
def test_the_loop_of_a_regular_polygon_is_born_and_dies_where_the_closed_form_says(k):
    chords = 2 * np.sin(np.pi * np.arange(k) / k)
    found = geometry.longest_loop(polygon(k))
    assert found["birth"] == pytest.approx(chords[1] / chords.max(), abs=1e-6)
    assert found["death"] == pytest.approx(chords[-(-k // 3)] / chords.max(), abs=1e-6)
    assert found["bar"] == pytest.approx(found["death"] - found["birth"])


def test_points_on_a_line_have_no_loop_and_noise_only_a_short_one():
    generator = np.random.default_rng(0)
    assert geometry.longest_loop(np.outer(TEN, [1.0, 2, 3]))["bar"] == 0
    noise = [geometry.longest_loop(generator.normal(size=(10, 200)))["bar"] for _ in range(20)]
    assert max(noise) < 0.1


def test_a_loop_does_not_know_order_scale_or_place():
    x = polygon(10) + 0.1 * np.random.default_rng(1).normal(size=(10, 3))
    moved = 1e3 * x[np.random.default_rng(2).permutation(10)] + 50
    assert geometry.longest_loop(moved)["bar"] == pytest.approx(geometry.longest_loop(x)["bar"], abs=1e-5)


def test_the_bar_against_dealt_stages_is_that_of_the_mean_over_templates():
    x = planted_stages.planted("ring", templates=3, n_stages=10, hidden=60)
    found = geometry.dealt_loop_test(x, n=19)
    assert found["bar"] == pytest.approx(geometry.longest_loop(x.mean(axis=0))["bar"], abs=1e-5)
    assert found["p"] == 1 / 20


def test_dealt_stages_give_p_values_that_are_not_too_small():
    p = [
        geometry.dealt_loop_test(np.random.default_rng(s).normal(size=(2, 8, 6)), n=19, seed=s)["p"] for s in range(150)
    ]
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("x", [np.zeros((1, 10, 3)), np.zeros((10, 3)), np.ones((2, 3, 3))])
def test_a_loop_needs_two_templates_and_four_stages(x):
    with pytest.raises(MedlibError, match="template, stage, hidden"):
        geometry.dealt_loop_test(x)


def test_one_point_has_no_diameter():
    with pytest.raises(MedlibError, match="one point"):
        geometry.longest_loop(np.ones((5, 3)))


# --- order


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_line_is_a_line_a_ring_is_a_ring_and_a_dealt_one_is_neither(seed):
    found = {}
    for shape in ("line", "ring", "dealt"):
        x = planted_stages.planted(shape, templates=3, n_stages=10, hidden=100, seed=seed)
        order = geometry.progression(x.mean(axis=0), TEN, n=199)
        found[shape] = order | {"p_loop": geometry.dealt_loop_test(x, n=39)["p"]}
    line, ring, dealt = found.values()
    assert (line["csfs"], line["csls"]) == (1, 8)
    assert line["circularity"] < 0 < ring["circularity"]
    assert line["p_line"] <= 0.01
    assert line["p_loop"] > 0.2
    assert ring["csfs"] in (1, 9)
    assert max(ring["p_circularity"], ring["p_loop"]) <= 0.05
    assert dealt["p_line"] > 0.01


def test_the_order_of_distances_is_the_order_of_the_states_they_came_from():
    x = np.random.default_rng(3).normal(size=(10, 20)).cumsum(axis=0)
    table = stages.distances(x)
    assert geometry.order_test(table, n=99) == geometry.progression(x, TEN, n=99)


def test_late_stages_return_by_the_difference_of_the_mean_distances():
    table = np.ones((10, 10)) - np.eye(10)
    table[0, 3:5] = table[3:5, 0] = 4
    table[0, 5:] = table[5:, 0] = 2
    found = geometry.late_return(table, [3, 4], [5, 6, 7, 8, 9], n=199)
    assert found["late_return"] == pytest.approx((4 - 2) / (20 / 9))
    assert found["p_late_return"] < 0.1


def test_late_stages_return_in_half_of_all_shuffled_orders():
    x = np.random.default_rng(0).normal(size=(10, 20)).cumsum(axis=0)
    found = geometry.late_return(stages.distances(x), [3, 4], [5, 6, 7, 8, 9], n=2000)
    assert found["chance_late_return"] == pytest.approx(0.5, abs=0.06)
    assert found["late_return"] < 0


@pytest.mark.parametrize("table", [np.zeros((5, 5)), np.ones((3, 3)), np.ones((5, 4)), np.full((5, 5), np.nan)])
def test_distances_that_have_no_order_are_refused(table):
    with pytest.raises(MedlibError, match="distances"):
        geometry.order_test(table)


def test_a_line_that_is_all_length_is_gone_when_length_is_taken_out():
    apart = np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0)))
    noise = np.random.default_rng(0).normal(size=(10, 10))
    table = apart**2 + (noise + noise.T) / 10
    np.fill_diagonal(table, 0)
    assert geometry.order_test(table, n=99)["p_line"] <= 0.02
    assert geometry.order_test(geometry.without(table, [apart]), n=99)["p_line"] > 0.05


def test_what_is_taken_out_is_the_regression_on_ranks():
    generator = np.random.default_rng(0)
    first, second = (stages.distances(generator.normal(size=(6, 4))) for _ in range(2))
    upper = np.triu_indices(6, 1)
    x, y = rankdata(second[upper]), rankdata(first[upper])
    slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
    left = geometry.without(first, [second])
    assert np.allclose(left[upper], y - y.mean() - slope * (x - x.mean()))
    assert np.allclose(left, left.T)


def test_a_cause_that_does_not_vary_takes_out_nothing_but_the_mean():
    table = stages.distances(np.random.default_rng(0).normal(size=(6, 4)))
    same = geometry.without(table, [np.ones((6, 6))])
    before, after = (geometry.order_test(one, n=9) for one in (table, same))
    assert before["line"] == pytest.approx(after["line"])


# --- from a model to tables


def test_prompts_come_sorted_and_complete():
    found = stages.prompts("processes", "process")
    assert found["stage"].tolist() == [*TEN] * (len(found) // 10)
    assert found.groupby(["series", "variant"], sort=False).size().eq(10).all()
    with pytest.raises(MedlibError, match="no columns 'disease'"):
        stages.prompts("processes", "disease")


def test_states_of_three_places_are_those_that_activations_gives():
    model, prompts = tiny_model(), frame()
    found = stages.read(model, prompts)
    for place, x in found.items():
        assert x.shape == (5, 2, 2, 4, 32)
        alone = medlib.activations(model, list(prompts["prompt"]), at=place)
        assert np.allclose(x.reshape(alone.shape), alone, atol=1e-5)


def test_causes_count_tokens_and_shared_words():
    (first, second) = stage_words.causes(tiny_model(), frame())
    tokens, words = first
    assert tokens[:3, :3].tolist() == [[0, 1, 2], [1, 0, 1], [2, 1, 0]]  # 1, 2 and 3 words
    assert words[1, 2] == pytest.approx(1 - 1 / 4)  # {w1, w2} and {w2, w3, w4}
    assert words[0, 0] == 0
    assert second.shape == first.shape


def test_each_view_has_a_row_for_each_state_and_series():
    prompts = frame(n_series=4, n_stages=6)
    states = {place: np.random.default_rng(i).normal(size=(3, 4, 2, 6, 20)) for i, place in enumerate(PLACES)}
    causes = stage_words.causes(tiny_model(), prompts)
    found = stages.views(states, prompts, causes, ["late"], n_components=10, n=9)
    views = found.groupby(["place", "wording", "space"]).size()
    assert views.to_dict() == {
        ("mean", "unnumbered", "raw"): 12,
        ("entity", "unnumbered", "raw"): 12,
        ("last", "unnumbered", "raw"): 12,
        ("mean", "unnumbered", "pca10"): 12,
        ("mean", "unnumbered", "raw, without 3 dimensions"): 12,
        ("mean", "unnumbered", "raw, corrected"): 12,
        ("mean", "early", "raw"): 12,
        ("mean", "late", "raw"): 12,
    }
    one = found.query("place == 'mean' and wording == 'early' and space == 'raw' and layer == 2 and item == 'series 3'")
    alone = geometry.progression(states["mean"][2, 3, 0], range(6), n=9)
    assert one["line"].item() == pytest.approx(alone["line"])


def test_one_huge_dimension_does_not_count_where_the_largest_are_dropped():
    prompts = frame(n_series=4, n_stages=6)
    line = np.zeros((1, 4, 2, 6, 20)) + np.arange(6.0)[:, None] * np.linspace(1, 2, 20)
    line[..., 5] = 1e3 * np.random.default_rng(0).permutation(6)
    states = {"mean": line}
    found = stages.views(states, prompts, stage_words.causes(tiny_model(), prompts), ["late"], n_components=10, n=9)
    mean = found.query("wording == 'unnumbered'").groupby("space")["line"].mean()
    assert mean["raw, without 3 dimensions"] == pytest.approx(1)
    assert mean["raw"] < 0.9


def test_all_components_of_all_stages_keep_every_distance():
    x = np.random.default_rng(0).normal(size=(4, 6, 12))
    assert np.allclose(stages.distances(stages.components(x, 12)), stages.distances(x))


def test_the_mean_over_states_leaves_out_the_embedding():
    rows = [(layer, item, 100 if layer == 0 else item + layer) for layer in range(3) for item in range(5)]
    table = pd.DataFrame(rows, columns=["layer", "item", "line"])
    found = stages.over_states(table, "line")
    assert found.value == 3.5
    assert found.low < 3.5 < found.high
    assert stages.difference_over_states(table, table, "line").value == 0


def test_a_count_is_held_against_the_poisson_binomial():
    table = pd.DataFrame({"layer": 1, "item": TEN, "circularity": [1] * 7 + [-1] * 3, "chance": 0.5})
    found = stages.counts(table, "circularity", "chance").iloc[0]
    assert found[["value", "n", "expected", "low_chance", "high_chance"]].tolist() == [7, 10, 5, 2, 8]


def test_significance_is_corrected_within_each_series():
    table = pd.DataFrame({"item": ["a"] * 4 + ["b"] * 4, "p": [0.03, 0.9, 0.9, 0.9, 0.03, 0.03, 0.03, 0.03]})
    assert stages.significant(table, "p").tolist() == [False] * 4 + [True] * 4


def test_loops_and_causes_have_a_row_for_each_state_and_series():
    x = np.stack([planted_stages.planted(shape, 2, 8, 20) for shape in ("line", "ring")])[None]
    found = stages.loops(x, ["line", "ring"], n=9).set_index("item")
    assert found.loc["ring", "p"] == 0.1
    assert found.loc["line", "bar"] < found.loc["ring", "bar"]
    tables = stages.distances(x.mean(axis=2))
    causes = np.stack([np.stack([t, np.ones_like(t)]) for t in tables[0]])
    shares = stage_words.cause_shares(tables, causes, ["line", "ring"], ["itself", "constant"])
    assert shares["cause"].tolist() == ["itself", "itself"]
    assert shares["value"].tolist() == pytest.approx([1, 1])


def test_every_fit_of_umap_is_scored_by_the_order_of_its_stages(monkeypatch):
    fits = []

    def picture(x, seed):
        fits.append(seed)
        return {"points": x[:, :2], "trustworthiness": 0.5}

    monkeypatch.setattr(geometry, "umap2", picture)  # a fit of the real one takes seconds
    monkeypatch.setattr(geometry, "spaces", lambda x, n, seed, umap: {"umap30": x if umap else None})
    x = np.random.default_rng(0).normal(size=(2, 5, 8, 40))
    found, trust = stages.in_umap(x, list("abcde"), layers=[1], seeds=[3, 4])
    assert fits == [3, 4]
    assert trust.to_dict("list") == {"layer": [1, 1], "seed": [3, 4], "trustworthiness": [0.5, 0.5]}
    of_d = found.query("item == 'd' and seed == 4").set_index("space")["circularity"]
    assert of_d["umap30"] == pytest.approx(geometry.circularity(x[1, 3], range(8)))
    assert of_d["umap2"] == pytest.approx(geometry.circularity(x[1, 3, :, :2], range(8)))


# --- weaker rings


def test_a_ring_is_found_until_other_differences_drown_it():
    table = planted_stages.weaker_rings(templates=3, hidden=60)
    assert table["share"].is_monotonic_decreasing and table["share"].iloc[0] > 0.95
    assert table["loop"].iloc[0] >= 19 and table["loop"].iloc[-1] <= 6
    assert table["bar"].iloc[0] > 4 * table["bar"].iloc[-1]


def test_the_weakest_ring_found_is_above_the_first_that_is_missed():
    table = pd.DataFrame({"share": [0.9, 0.5, 0.2], "ring": [20, 16, 20], "loop": [15, 20, 20]})
    assert planted_stages.found_from(table, "ring") == 0.2
    assert planted_stages.found_from(table.assign(ring=[20, 3, 20]), "ring") == 0.9
    assert planted_stages.found_from(table, "loop") is None
    said = stage_prose.unseen(table)
    assert said["ring_found_from"] == (0.2, "found where it holds 20 % of the variance between stages")
    assert said["loop_found_from"][1] == "not found at any size that was tried"


def test_the_planted_check_passes():
    passed, detail = planted_stages.check(templates=3, hidden=60)
    assert passed and "line: order 20" in detail


# --- words of the stages


def test_words_that_come_back_are_named_with_their_stages():
    texts = ["well", "thick calves", "thick calves, weak", "thick arms", "a chair", "a mask", "a bed", "thick calves"]
    frame = pd.DataFrame({"series": "one", "stage": range(8), "item": texts})
    table = pd.DataFrame({"layer": [0, 1], "item": "one", "circularity": [9.0, 0.25]})
    found = stage_words.recurring({"progression": frame}, {"progression": table})
    assert found.loc["one"].tolist() == [0.25, "thick (1-3, 7); calves (1-2, 7)"]
    assert stage_words.stretches([5, 0, 1]) == "0-1, 5"


# --- prose and tables


def made_up_views():
    prompts = frame(n_series=6, n_stages=10)
    shapes = {place: np.zeros((3, 6, 2, 10, 20)) for place in PLACES}
    for place, x in shapes.items():
        for layer in range(3):
            for i in range(6):
                kind = "ring" if place == "entity" else "line"
                x[layer, i] = planted_stages.planted(kind, 2, 10, 20, seed=10 * layer + i)
    causes = np.random.default_rng(0).random((6, 2, 10, 10))
    return stages.views(shapes, prompts, causes + causes.swapaxes(2, 3), ["late"], n_components=10, n=39)


def test_the_scale_of_circularity_is_that_of_a_perfect_line_and_ring():
    found = stage_prose.perfect()
    assert found["line_perfect"][1] == "−0.34" and found["ring_perfect"][1] == "0.34"


@pytest.mark.parametrize(
    ("circularity", "difference", "gain", "words"),
    [
        (
            (-0.1, -0.2, -0.05),
            (0, -0.1, 0.1),
            (0, -0.1, 0.1),
            ["a line than a ring", "by more than chance", "by no more than"],
        ),
        ((0.1, 0.05, 0.2), (0.1, 0.05, 0.2), (0.1, 0.05, 0.2), ["a ring than a line", "like a ring than", "make more"]),
        ((0, -0.1, 0.1), (-0.1, -0.2, -0.05), (-0.1, -0.2, -0.05), ["not decided", "like a line than", "make less"]),
    ],
)
def test_the_verdict_is_as_sure_as_its_intervals(circularity, difference, gain, words):
    said = stage_prose.verdict(Interval(*circularity), Interval(*difference), Interval(*gain))
    assert all(word in said for word in words)


def test_the_answer_quotes_each_view_and_what_the_words_alone_give():
    views = made_up_views()
    found = stage_prose.answer({"progression": views, "processes": views})
    main = stages.view(views)
    assert found["line"][0] == pytest.approx(main.query("layer > 0")["line"].mean())
    assert found["line_start"][0] == pytest.approx(main.query("layer == 0")["line"].mean())
    assert found["line_gain"][0] == pytest.approx(found["line"][0] - found["line_start"][0])
    assert found["circularity_entity"][0] > 0.1 > -0.1 > found["circularity"][0]
    assert found["n_line_start"] == (6, "6") and found["circularity_difference"][0] == 0


def test_late_returns_are_counted_and_the_widest_state_named():
    views = made_up_views()
    names = {"series 0": "Parkinson's disease", "series 1": "COPD"}
    found = stage_prose.returns({"progression": views.replace({"item": names}), "processes": views})
    assert found["late_parkinson"][1] == "0 of 3 states" and found["late_processes"][1] == "0 of 6"
    raw = stages.view(views).groupby("layer")["late_return"].std()
    assert found["widest"][0] == raw.idxmax()
    assert found["chance_late"][1].endswith(" %")


def test_umap_is_held_against_the_raw_scores_of_the_same_series_and_state():
    main = pd.DataFrame(
        {"layer": 1, "item": ["a", "b"], "circularity": [-0.2, 0.2], "csfs": [1.0, 8], "csls": [8.0, 1]}
    )
    rows = [
        (1, item, seed, space, c, csfs, 8.0)
        for space in ("umap30", "umap2")
        for item, values, csfs in (("a", (-0.1, 0.3), 9.0), ("b", (-0.1, -0.2), 1.0))
        for seed, c in enumerate(values)
    ]
    umap = pd.DataFrame(rows, columns=["layer", "item", "seed", "space", "circularity", "csfs", "csls"])
    bent = stage_prose.beside_raw({"progression": umap}, {"progression": main})
    found = stage_prose.in_umap(bent, pd.DataFrame({"trustworthiness": [0.8, 0.9]}))
    counts = {key: found[key][0] for key in ("n_umap", "raw_rings", "umap2_made", "umap2_lost", "umap_flips")}
    assert counts == dict(n_umap=2, raw_rings=1, umap2_made=1, umap2_lost=1, umap_flips=1)
    scores = stage_prose.paper_scores(bent).loc["progression"]
    assert scores.loc["raw", "CSFS"] == 4.5 and scores.loc["umap2", "CSFS is 5 to 9"] == 0.5
    assert scores.loc["raw", "CSLS is 0 to 4"] == 0.5 and scores.loc["umap30", "CSLS"] == 8


def test_the_p_of_every_view_over_templates_is_in_the_results_table():
    views = made_up_views()
    main = stages.view(views)
    loops = main[["layer", "item"]].assign(bar=0.1, p=0.5, null_mean=0.1, significant=False)
    curves = stage_figures.mean_curves({"progression": main}, {"progression": loops})
    shares = pd.DataFrame({"layer": [1], "item": "series 0", "cause": "words", "value": 0.5})
    rings = stages.counts(main, "circularity", "chance_circularity")
    umap = pd.DataFrame(dict(layer=[1], item="series 0", seed=0, space="umap2", circularity=0.1, csfs=1.0, csls=8.0))
    trust = pd.DataFrame(dict(layer=[1], seed=0, trustworthiness=0.9))
    weaker = pd.DataFrame(dict(share=[0.5], ring=20, loop=10))
    of = ({"progression": one} for one in (views, loops, shares, rings, umap, trust))
    seen, *rest = of
    table = stage_tables.table(seen, curves, *rest, weaker)
    tested = table.query("metric == 'p_line'")[["variant", "space"]].drop_duplicates()
    assert {
        ("entity, unnumbered", "raw"),
        ("last, unnumbered", "raw"),
        ("mean, unnumbered", "raw, corrected"),
        ("mean, unnumbered", "raw, without 3 dimensions"),
    } <= set(map(tuple, tested.to_numpy()))
    assert {"csls", "planted_loop_found", "h1_bar", "trustworthiness"} <= set(table["metric"])


def test_what_the_figures_show_beside_is_saved_as_it_is_drawn():
    views = made_up_views()
    by_view = stage_tables.by_view({"progression": views})
    ranks = stage_figures.ranked(stages.distances(polygon(10)))
    flat, _ = stage_figures.flattened(polygon(10))
    left = stages.view(views, space="raw, corrected")
    curves = {"line": {"progression": stage_figures.mean_curve(left, "line")}}
    dealt = pd.DataFrame({"layer": [0, 1], "value": [0.1, 0.2]})
    one = {"series 0": "progression"}
    rows = stage_tables.drawn({"series 0": ranks}, {"series 0": flat}, 1, one, by_view, curves, dealt)
    table = results.tidy(rows, model="m", technique="progression", seed=0)
    pair = table.query("metric == 'distance_rank' and variant == 'stages 2 and 7'")["value"].item()
    assert pair == ranks[2, 7] and table["metric"].eq("distance_rank").sum() == 45
    np.testing.assert_allclose(table.query("metric == 'second_component'")["value"], flat[:, 1], rtol=1e-3)
    here = table.query("metric == 'line_over_states' and variant == 'mean, unnumbered'").set_index("space")["value"]
    assert here["raw, corrected"] == by_view.loc[("progression", "mean, unnumbered, raw, corrected", "line"), "value"]
    assert table.query("metric == 'line'")["space"].unique().tolist() == ["raw, corrected"]
    assert table.query("metric == 'h1_bar_of_dealt_stages'")["value"].tolist() == [0.1, 0.2]


def test_numbers_are_written_with_a_true_minus_and_none_before_zero():
    assert stage_prose.signed(-0.104) == "−0.10" and stage_prose.signed(-0.001) == "0.00"
    assert stage_prose.interval(Interval(0.5, -0.1, 1))[1] == "0.50 (−0.10 to 1.00)"


# --- pictures


def test_a_path_is_drawn_through_numbered_points_and_the_share_is_said():
    points = {"a ring": polygon(10), "a line": polygon(10) * [1, 0, 0]}
    flat = {name: stage_figures.flattened(x) for name, x in points.items()}
    figure = stage_figures.paths(flat, dict.fromkeys(flat, "medical"))
    axes = figure.axes
    assert [text.get_text() for text in axes[0].texts] == [str(stage) for stage in TEN]
    assert "100%" in axes[0].get_title().replace(" ", "")


def test_distances_are_drawn_as_their_ranks():
    table = stages.distances(np.array([[0.0], [1], [3], [1e6]]))
    figure = stage_figures.apart({"one": stage_figures.ranked(table), "two": stage_figures.ranked(table**2)})
    one, two = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert one[0].filled(0).tolist() == [0, 1, 3, 6]
    assert (one == two).all()


def test_what_is_not_known_is_named_so_in_the_heat_map():
    import matplotlib.pyplot as plt

    table = pd.DataFrame({"layer": [0, 1], "item": "COPD", "circularity": [-0.1, 0.1], "sure": [False, True]})
    _, axes = plt.subplots()
    tables = {"progression": table, "processes": table.assign(item="baking")}
    stage_figures.heat_map(axes, tables, {"progression": False, "processes": True}, "circularity", "ring", "sure")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["COPD, not known", "baking"]
    plt.close("all")


def test_processes_keep_their_colour_where_they_are_not_known_and_diseases_do_not():
    known = {"progression": False, "processes": False}
    assert stage_figures.look_of("progression", known)["color"] == figures.NOT_KNOWN
    of_control = stage_figures.look_of("processes", known)
    assert of_control["color"] == figures.LOOKS["control"]["color"] and of_control["label"] == "processes, not known"
