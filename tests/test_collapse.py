"""Collapse: planted clouds whose answer is known, closed forms, and the measures of `geometry` as a second opinion."""

import numpy as np
import pandas as pd
import pytest

import medlib
from medlib import MedlibError, concepts, figures, geometry
from medlib.chapters.collapse import (
    clouds,
    collapse_figures,
    collapse_prose,
    collapse_tables,
    depths,
    labels,
    large_dimensions,
    planted,
)


def frame(n=30, templates=("early", "late")):
    parts = [
        pd.DataFrame(dict(item=[f"item {i}" for i in range(n)], variant=name, label=["a", "b"] * (n // 2)))
        for name in templates
    ]
    return pd.concat(parts, ignore_index=True).assign(cluster=lambda rows: rows["item"])


def collapsed(kind, way, layers=9, n=30, hidden=48):
    """The layers at which a made-up domain collapses in both templates, its largest dimension chosen on another."""
    states = [planted.made_up(2 * n, hidden, layers, kind, seed) for seed in (0, 1)]
    means = {name: large_dimensions.shares(x).mean(axis=1) for name, x in zip("ab", states, strict=True)}
    largest = large_dimensions.largest_of_others(means, 1)["a"]
    rank = clouds.clouds(states[0], frame(n), largest, ["effective_rank"], [way])["effective_rank"][0]
    found = depths.dips(rank, clouds.templates(frame(n))).query("collapsed")
    return found.groupby("layer").size().eq(2).loc[lambda both: both].index.tolist()


@pytest.mark.parametrize("way", clouds.WAYS)
def test_noise_does_not_collapse(way):
    assert collapsed("noise", way) == []


def test_a_huge_dimension_makes_a_collapse_that_goes_when_it_is_left_out():
    assert collapsed("huge dimension", "raw") == list(planted.middle(9)) == [4, 5, 6]
    assert collapsed("huge dimension", "without largest") == []


@pytest.mark.parametrize("way", clouds.WAYS)
def test_a_cloud_of_few_directions_collapses_whatever_is_left_out(way):
    assert collapsed("few directions", way) == list(planted.middle(9))


def test_the_signs_are_the_measures_of_geometry_and_so_are_those_without_a_group():
    x = np.random.default_rng(0).normal(size=(40, 12)) + 1
    x[7] = x[3]
    group = np.arange(40) % 4
    found = clouds.signs(x, group)
    measures = dict(
        effective_rank=geometry.effective_rank,
        first_component=geometry.anisotropy,
        mean_cosine=geometry.mean_cosine,
        intrinsic_dimension=geometry.intrinsic_dimension,
    )
    for name, measure in measures.items():
        expected = [measure(x), *(measure(x[group != left_out]) for left_out in range(4))]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_depth_compares_with_the_worse_of_the_two_sides():
    np.testing.assert_allclose(depths.depth(np.array([40, 10, 12, 50])), [np.nan, 0.25, 0.3, np.nan])
    rising = depths.depth(np.arange(1, 8.0))
    assert (rising[1:-1] > 1).all()


def test_a_fall_without_a_recovery_is_no_dip():
    falling = depths.depth(np.array([64.0, 32, 16, 8, 4]))
    assert (falling[1:-1] > 1).all()


def test_the_jackknife_of_a_mean_is_the_interval_of_students_t():
    from scipy.stats import t

    x = np.random.default_rng(0).normal(size=12)
    without = [np.delete(x, i).mean() for i in range(12)]
    value, low, high = depths.interval(np.array([x.mean(), *without]))
    half = t.ppf(0.975, 11) * x.std(ddof=1) / np.sqrt(12)
    np.testing.assert_allclose([value, low, high], [x.mean(), x.mean() - half, x.mean() + half])


def test_the_jackknife_of_the_rank_covers_what_it_says():
    """Of many draws from one distribution, about 95 % of the intervals hold the mean rank of such draws."""
    generator = np.random.default_rng(0)
    scale = 1 / np.arange(1, 13)
    draws = [clouds.signs(generator.normal(size=(40, 12)) * scale, np.arange(40) % 10) for _ in range(200)]
    ranks = np.array([draw["effective_rank"] for draw in draws])
    _, low, high = depths.interval(ranks, log=True)
    truth = ranks[:, 0].mean()
    assert 0.88 <= ((low < truth) & (truth < high)).mean() <= 1


def test_a_domain_does_not_choose_its_own_largest_dimensions():
    means = {name: np.full((1, 6), 0.1) for name in "abc"}
    means["a"][0, 0] = 9
    means["b"][0, 1] = 1
    largest = large_dimensions.largest_of_others(means, 1)
    assert {name: dims[0].tolist() for name, dims in largest.items()} == {"a": [1], "b": [0], "c": [0]}
    with pytest.raises(MedlibError, match="two domains"):
        large_dimensions.largest_of_others({"a": means["a"]}, 1)


def test_items_of_a_cluster_are_left_out_together():
    clusters = [f"disease {i // 5}" for i in range(60)]
    group = clouds.groups(clusters, count=4)
    assert all(len(set(group[i : i + 5])) == 1 for i in range(0, 60, 5))
    assert sorted(np.bincount(group)) == [15] * 4
    with pytest.raises(MedlibError, match="at least 3"):
        clouds.groups(["one", "two", "two"])


def test_a_state_is_shared_out_over_its_dimensions():
    found = large_dimensions.shares(np.array([[[3.0, 4.0]]]))
    np.testing.assert_allclose(found, [[[0.36, 0.64]]])


def test_silhouettes_are_those_of_geometry_in_each_template_and_above_shuffled_labels():
    rows = frame()
    states = np.random.default_rng(0).normal(size=(3, 60, 8))
    found = labels.silhouettes(states, rows, np.zeros((3, 1), dtype=int), ["raw", "without largest"])
    one = found.query("layer == 2 and space == 'without largest' and variant == 'late'")
    x, of = states[2, 30:, 1:], rows["label"][30:]
    np.testing.assert_allclose(one["value"], geometry.silhouette_samples(x, of))
    null = geometry.silhouette_test(x, of, n=20)["null_mean"]
    np.testing.assert_allclose(one["excess"], one["value"] - null)
    assert labels.silhouettes(states, rows.assign(label="a"), np.zeros((3, 1), dtype=int)).empty


def test_silhouettes_of_all_places_make_a_curve_for_each_domain_and_way():
    rows, none = frame(), np.zeros((3, 1), dtype=int)
    states = {("mean", name): np.random.default_rng(i).normal(size=(3, 60, 8)) for i, name in enumerate("ab")}
    scores = labels.everywhere(states, {"a": rows, "b": rows.assign(label="same")}, dict.fromkeys(states, none))
    curves = labels.over_layers(scores, "mean")
    assert set(curves) == {("a", "raw"), ("a", "without largest")}
    one = scores.query("space == 'raw' and layer == 2")["excess"].mean()
    assert curves["a", "raw"].set_index("layer").loc[2, "value"] == pytest.approx(one)


def test_overlap_is_one_for_the_same_dimensions_in_any_order():
    one = np.array([[5.0, 4, 3, 0], [5, 4, 3, 0]])
    other = np.array([[3.0, 4, 5, 0], [0, 0, 3, 4]])
    np.testing.assert_allclose(large_dimensions.overlap(one, other, 3), [1, 2 / 3])


def test_items_bring_a_label_and_the_cluster_of_their_question():
    rows = clouds.items("progression", 30)
    assert rows["item"].nunique() == 30 and rows["label"].nunique() <= 12
    asked = rows.groupby("cluster")["label"].nunique()
    assert asked.max() == 1


@pytest.mark.parametrize(
    ("flags", "words"), [([0, 1, 1, 1, 0, 1], "1 to 3, 5"), ([0, 0], "none"), ([1, 1], "0 to 1"), ([1], "0")]
)
def test_stretches_are_written_as_a_reader_would(flags, words):
    assert large_dimensions.stretches(np.array(flags, dtype=bool)) == words


def test_one_activation_ten_times_the_others_is_ten_times_their_median_until_it_is_left_out():
    states = np.ones((2, 60, 5))
    states[1, 3, 2] = -10
    found = large_dimensions.max_over_median(states, frame(), np.full((2, 1), 2))
    assert found.shape == (3, 1, 2)
    np.testing.assert_allclose(found[[0, 2], 0], [[10, 1], [1, 1]])


def test_the_share_of_a_dimension_is_given_for_every_item():
    states = np.tile([3.0, 4.0], (2, 60, 1))
    found = large_dimensions.share_of(states, frame(), np.zeros((2, 1), dtype=int))
    assert len(found) == 30
    np.testing.assert_allclose(found["value"], 0.36)


def test_the_results_table_holds_every_cloud_and_every_item():
    rows, where = frame(), "mean"
    states = planted.made_up(60, 12, 5, "noise")
    largest = np.zeros((6, 1), dtype=int)
    found = clouds.clouds(states, rows, largest)
    dips = depths.dips(found["effective_rank"][0], clouds.templates(rows))
    scores = labels.silhouettes(states, rows, largest, ["raw"])
    named = dict(place=where, domain="drugs")
    table = collapse_tables.results_table(
        dips.assign(space="raw", **named),
        {(where, "drugs"): found},
        scores.assign(**named),
        {"drugs": rows},
        {"drugs": large_dimensions.max_over_median(states, rows, largest)},
        large_dimensions.share_of(states, rows, largest).assign(domain="drugs"),
        where,
    )
    tidy = medlib.results.tidy(table, model="m", technique="collapse", seed=0)
    counts = tidy.groupby("metric").size()
    assert counts["effective_rank"] == counts["max_over_median"] == 3 * 5 * 2 and counts["depth"] == 3 * 2
    assert counts["silhouette"] == counts["share_of_largest"] == 5 * 30
    one = tidy.query("metric == 'effective_rank' and space == 'raw' and layer == 3 and variant == 'late'")
    np.testing.assert_allclose(one["value"], geometry.effective_rank(states[3, 30:]))


def flagged(cells, layers=5):
    """Depths of four series over some layers, collapsed where `cells` says: {(domain, variant): [layer]}."""
    rows = [
        ("mean", domain, variant, layer, layer in cells.get((domain, variant), ()))
        for domain in ("drugs", "foods")
        for variant in ("early", "late")
        for layer in range(2, 2 + layers)
    ]
    table = pd.DataFrame(rows, columns=["place", "domain", "variant", "layer", "collapsed"])
    return table.assign(value=np.where(table["collapsed"], 0.2, 0.9), low=0.1, high=1.0)


def test_what_still_collapses_is_counted_apart_from_what_is_new():
    before = flagged({("drugs", "early"): [2, 3], ("foods", "late"): [4]})
    after = flagged({("drugs", "early"): [3, 4], ("foods", "early"): [6]})
    assert depths.kept_and_new(before, after) == {
        "layers": 3,
        "kept_layers": 1,
        "new_layers": 2,
        "series": 2,
        "kept_series": 1,
        "new_series": 1,
    }
    assert depths.n_series(before) == 4


def test_a_planted_dimension_needs_as_many_left_out_as_there_are():
    """Two huge dimensions: one left out leaves the collapse, two do not."""
    rows, states = frame(), planted.made_up(60, 48, 9, "huge dimension")
    states[list(planted.middle(9)), :, 3] = 0.7 * states[list(planted.middle(9)), :, 7][:, ::-1]
    order = {("mean", "drugs"): np.tile([7, 3, 0], (10, 1))}
    found = depths.by_count({("mean", "drugs"): states}, {"drugs": rows}, order, [1, 2])
    assert found.groupby("count")["collapsed"].sum().to_dict() == {1: 6, 2: 0}
    assert set(found["space"]) == {"without 1 largest", "without 2 largest"}


@pytest.mark.parametrize(
    ("numbers", "opening"),
    [
        ((0, 5, 0, 5), "No:"),
        ((0, 5, 2, 5), "Not in medicine"),
        ((2, 5, 0, 5), "Yes, and in medicine only"),
        ((2, 5, 4, 10), "Yes, but in the controls at least as often"),
        ((2, 5, 3, 10), "Yes, and in medicine more often"),
    ],
)
def test_the_verdict_holds_medicine_against_its_controls(numbers, opening):
    assert collapse_prose.verdict(*numbers).startswith(opening)


def in_every_way(raw, rms, without):
    ways = zip(clouds.WAYS, (raw, rms, without), strict=True)
    return pd.concat([flagged(cells).assign(space=way) for way, cells in ways], ignore_index=True)


def test_the_counts_of_the_prose_are_those_of_each_side():
    cells = {("drugs", "early"): [2, 3], ("foods", "late"): [4]}
    found = in_every_way(cells, {}, {("drugs", "early"): [3], ("foods", "early"): [5, 6]})
    numbers = {key: value for key, (value, _) in collapse_prose.counted(found, {"drugs": "foods"}).items()}
    assert (numbers["n_series"], numbers["n_series_all"], numbers["n_clouds"]) == (1, 2, 10)
    assert (numbers["n_raw"], numbers["n_rms"], numbers["n_still"], numbers["n_new"]) == (2, 0, 1, 0)
    assert (numbers["n_raw_control"], numbers["n_still_control"], numbers["n_new_control"]) == (1, 0, 2)


def test_the_table_by_count_has_a_row_for_each_number_of_dimensions():
    found = in_every_way({("drugs", "early"): [2]}, {}, {})
    without = pd.concat([flagged({("drugs", "early"): [2]}).assign(count=1), flagged({}).assign(count=5)])
    table = collapse_tables.by_count(found, without, {"drugs": "foods"}).set_index(("", "left out"))
    assert table.loc[1, ("medical series", "still")] == 1 and table.loc[5, ("medical series", "still")] == 0
    assert (table["control series"] == 0).all(axis=None)


def test_an_opening_item_counts_where_its_mean_is_read():
    rows = {"drugs": frame(4).assign(prompt=lambda part: part["variant"])}
    fallen = flagged({("drugs", "early"): [2, 3], ("drugs", "late"): [2]}).query("domain == 'drugs'")
    n, text = collapse_prose.opening(fallen, rows, lambda prompt: prompt == "early")
    assert n == 2 and text.startswith("2 of the 3")
    n, text = collapse_prose.opening(fallen.assign(place="last"), rows, lambda prompt: prompt == "early")
    assert n == 0 and text.startswith("None of the 3")
    assert collapse_prose.opening(fallen, rows, lambda prompt: True)[1].startswith("All of the 3")
    assert "No medical cloud" in collapse_prose.opening(fallen.assign(collapsed=False), rows, bool)[1]


def test_the_deepest_fall_is_quoted_with_both_intervals():
    found = in_every_way({("drugs", "late"): [4]}, {}, {})
    value, text = collapse_prose.deepest(found)
    assert value == 0.2
    assert "0.20 (0.10 to 1.00)" in text and "layer 4, template late" in text and "0.90 (0.10 to 1.00) without" in text


def labelled(gain):
    """Silhouettes of ten items in a series that collapses at layer 2 of two, and in one that does not."""
    rows = [
        ("mean", "drugs", variant, layer, f"i{item}", way, 0.01 * item + (gain[layer] if way != "raw" else 0))
        for variant in ("early", "late")
        for layer in (2, 3)
        for item in range(10)
        for way in ("raw", "without largest")
    ]
    columns = ["place", "domain", "variant", "layer", "item", "space", "excess"]
    return pd.DataFrame(rows, columns=columns).assign(cluster=lambda table: table["item"])


def test_a_gain_where_series_collapse_is_held_against_the_other_layers_of_the_same_series():
    found = labels.gains(labelled({2: 0.3, 3: 0.1}), flagged({("drugs", "early"): [2]}, 2), ["drugs"])
    np.testing.assert_allclose(found["value"].astype(float), [0.3, 0.1, 0.2])
    assert (found["n"] == 10).all() and found.loc["collapsed", "without"] > found.loc["collapsed", "raw"]
    text = collapse_prose.gained(found)
    assert text["collapsed"][1].startswith("+0.300") and "from" not in text["difference"][1]


def test_no_series_that_collapses_gives_no_gain():
    found = labels.gains(labelled({2: 0.3, 3: 0.1}), flagged({}, 2), ["drugs"])
    assert found.empty
    assert collapse_prose.gained(found)["collapsed"][1].startswith("no number")


def test_every_check_of_the_planted_clouds_passes_and_says_what_it_found():
    found = list(planted.answers(30, 48, 9, 1))
    assert [passed for _, passed, _ in found] == [True] * 5
    assert found[1][2] == "3 layers collapse, 3 planted"


@pytest.fixture
def measured():
    """Clouds of two domains at one place: (place, domain) -> what `clouds` returns, with the frames."""
    rows = {"drugs": frame(), "foods": frame()}
    states = {name: planted.made_up(60, 12, 5, "noise", seed) for seed, name in enumerate(rows)}
    none = np.zeros((6, 1), dtype=int)
    found = {("mean", name): clouds.clouds(x, rows[name], none) for name, x in states.items()}
    size = {name: large_dimensions.max_over_median(x, rows[name], none) for name, x in states.items()}
    return found, rows, size


def test_the_depth_map_counts_the_wordings_that_collapse(measured):
    found, rows, _ = measured
    table = depths.every_depth(found, rows)
    table["collapsed"] = table["domain"].eq("drugs") & table["layer"].eq(3) & table["space"].eq("raw")
    figure = collapse_figures.depth_maps(table, {"drugs": "foods"}, {"drugs": False, "foods": False}, ["mean"])
    maps = figure.axes[:3]
    assert [[text.get_text() for text in axes.texts] for axes in maps] == [["2"], [], []]
    assert [label.get_text() for label in maps[0].get_yticklabels()] == ["(drugs)", "foods"]


def test_the_legend_goes_from_raw_to_without_medical_first_and_a_control_is_never_grey(measured):
    found, _, _ = measured
    curves = depths.curves(found, "mean", "effective_rank", log=True)
    figure = collapse_figures.curves(curves, {"drugs": "foods"}, {"drugs": False, "foods": False}, "rank")
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:2] == ["as they are, medical", "as they are, control"] and words[-1] == "without the largest, control"
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert colours == {figures.NOT_KNOWN, figures.LOOKS["control"]["color"]}


def test_the_other_signs_have_a_panel_each(measured):
    found, _, size = measured
    figure = collapse_figures.signs(collapse_tables.sign_means(found, size, {"drugs": "foods"}, "mean"))
    assert len(figure.axes) == 3 and all(len(axes.lines) == 4 for axes in figure.axes)


def test_what_the_figures_show_is_saved_as_it_is_drawn(measured):
    found, rows, size = measured
    table = depths.every_depth(found, rows)
    table["collapsed"] = table["domain"].eq("drugs") & table["layer"].eq(3) & table["space"].eq("raw")
    ranks = depths.curves(found, "mean", "effective_rank", log=True)
    signs = collapse_tables.sign_means(found, size, {"drugs": "foods"}, "mean")
    share = np.random.default_rng(0).random((4, 12))
    drawn = collapse_tables.drawn(table, {"ranks": ranks}, signs, {"medical": share}, np.array([7, 2]), "mean")
    tidy = medlib.results.tidy(drawn, model="m", technique="collapse", seed=0)
    one = tidy.query("metric == 'wordings_that_collapse'")
    assert one[["domain", "layer", "value"]].to_numpy().tolist() == [["drugs", 3, 2]]
    cell = table.query("domain == 'foods' and space == 'rms' and layer == 3")["value"].min()
    deepest = tidy.query("metric == 'depth_of_deepest' and domain == 'foods' and space == 'rms' and layer == 3")
    assert deepest["value"].item() == cell
    curve = tidy.query("metric == 'ranks' and domain == 'drugs' and space == 'raw'")
    np.testing.assert_allclose(curve["value"], ranks["drugs", "raw"]["value"])
    large = tidy.query("space == 'dimension 2'")
    np.testing.assert_allclose(large["value"], share[:, 2], rtol=1e-3)
    mean = tidy.query("metric == 'max_over_median_over_domains' and variant == 'control domains' and space == 'raw'")
    np.testing.assert_allclose(mean["value"], size["foods"][0].mean(axis=1))


def test_signs_are_summed_up_where_clouds_collapse_and_elsewhere(measured):
    found, rows, size = measured
    table = depths.every_depth(found, rows)
    table["collapsed"] = table["domain"].eq("drugs") & table["layer"].eq(3)
    where = collapse_tables.signs_where(table, found, size, rows, "mean").set_index(["domain", "layers"])
    assert where["clouds"].to_dict() == {("drugs", "collapsed"): 2, ("drugs", "other"): 4, ("foods", "other"): 6}
    expected = found["mean", "drugs"]["effective_rank"][0, 2, :, 0].mean()
    assert where.loc[("drugs", "collapsed"), "effective_rank"] == pytest.approx(expected)


def test_large_dimensions_are_listed_with_their_peak_and_shown_for_both_sides():
    share = np.full((4, 6), 0.05)
    share[2, 5] = 0.75
    sides = {"medical": share, "control": np.full((4, 6), 1 / 6)}
    row = collapse_tables.large(sides, [5]).iloc[0]
    assert row["peak, medical, %"] == 75 and row["at state, medical"] == 2
    assert row["states above 10 %, medical"] == "2" and row["states above 10 %, control"] == "0 to 3"
    number, text = collapse_prose.largest(sides, [5])
    assert number == 5 and "up to 75 %" in text
    assert len(collapse_figures.dimensions(sides, [5, 0]).axes) == 3


def test_dimensions_are_chosen_at_each_place_by_itself():
    share = np.eye(3)[:, None]  # domain i is large in dimension i, at every state
    means = {("mean", "a"): share[0], ("mean", "b"): share[1], ("last", "a"): share[0], ("last", "b"): share[2]}
    found = large_dimensions.of_each_place(means, 1)
    assert found["mean", "a"].tolist() == [[1]] and found["last", "a"].tolist() == [[2]]


def test_domains_are_listed_with_their_counts():
    rows = frame(4).assign(prompt="p")
    table = collapse_tables.domains({"drugs": rows})
    assert table.loc["drugs"].tolist() == [4, 8, 2, "p"]


def test_constants_say_the_bound_of_the_rank():
    found = collapse_prose.constants(0.5, 48, 3, "mean", 200, {"a": 0.5, "b": 1.0})
    assert found["rank_limit"][0] == 47 and found["even"][1] == "0.50"
    assert found["in_common"][1] == "75 % (50 to 100 %)"


def test_all_domains_give_as_many_items_as_the_smallest_has():
    assert clouds.as_many_of_each(["drugs", "elements"], 48) == 48
    assert clouds.as_many_of_each(["drugs", "elements"], 1000) == concepts.prompts("elements")["item"].nunique()
    with pytest.raises(MedlibError, match="8 items are needed for a cloud; n_items is 3"):
        clouds.as_many_of_each(["drugs", "elements"], 3)
