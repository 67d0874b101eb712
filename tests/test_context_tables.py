"""Planted states give the planted numbers at every layer, and the fall over layers is found, not found, and tested."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError, geometry, results
from medlib.chapters.contextualisation import (
    context_tables,
    later_layers,
    pictures_read,
    planted_contexts,
    published,
    token_changes,
)
from medlib.geometry import contextual

N, HIDDEN, LAYERS = 16, 60, 9
FALLING = np.linspace(1, 0.4, LAYERS + 1)


def read(cosines=FALLING, **options):
    return planted_contexts.made_up(N, HIDDEN, cosines, **options)


def noisy(size, seed=0):
    """States that share a direction, with noise of a size for each layer, larger for some pictures than for others."""
    generator = np.random.default_rng(seed)
    own = generator.uniform(0.5, 1.5, size=(1, N, 1, 1)) * generator.normal(size=(len(size), N, 3, HIDDEN))
    states = 5 * np.eye(3, HIDDEN)[None, None] + np.asarray(size)[:, None, None, None] * own
    return pictures_read.Read({"planted": states}, {"planted": list("abc")}, states, np.arange(3), 0, 0.0, 0.0)


def test_every_measure_of_planted_states_is_the_planted_one_at_every_layer():
    table = context_tables.curves(context_tables.looks(read()))
    for kind in ("text", "image"):
        of_kind = table[table["component"] == kind]
        assert context_tables.chosen(of_kind, "self_similarity")["value"].to_numpy() == pytest.approx(FALLING)
        mev = context_tables.chosen(of_kind, "mev")["value"].to_numpy()
        assert mev == pytest.approx(FALLING + (1 - FALLING) / N)
    assert (table["low"] <= table["high"] + 1e-12).all() and set(table["space"]) == {"raw"}


def test_each_measure_less_its_baseline_is_their_difference_and_the_baseline_that_of_random_tokens():
    (look,) = context_tables.looks(noisy([1.0, 2.0, 3.0, 4.0]), kinds=("text",))
    table = context_tables.curves([look]).pivot(index="layer", columns="metric", values="value")
    for metric in published.VALUES:
        found = table[f"{metric}_adjusted"]
        assert found.to_numpy() == pytest.approx((table[metric] - table[f"{metric}_baseline"]).to_numpy())
    pool = look.pool[2]
    pairs = [geometry.mean_cosine(pool[rows]) for rows in contextual.random_sets(look.of, N, 8000)]
    assert table["self_similarity_baseline"][2] == pytest.approx(np.mean(pairs), abs=0.01)
    own = [geometry.intra_similarity(prompt) for prompt in look.states[2]]
    assert table["intra_similarity"][2] == pytest.approx(np.mean(own))


def test_the_intervals_of_mev_leave_groups_of_pictures_out():
    (look,) = context_tables.looks(noisy([1.0, 3.0]), kinds=("text",))
    table = context_tables.explained(look)
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()
    level = context_tables.explained(context_tables.looks(read(np.ones(2)), kinds=("text",))[0])
    assert context_tables.chosen(level, "mev")[["value", "low", "high"]].to_numpy() == pytest.approx(1)


def test_large_dimensions_are_those_of_other_pictures_and_hide_what_is_under_them():
    covered, other = read(large=True), read(large=True, seed=50)
    largest = context_tables.largest_dimensions(other, 1)
    assert (largest["text"] == HIDDEN - 1).all() and largest["image"].shape == (LAYERS + 1, 1)
    hidden, bare = context_tables.looks(covered)[0], context_tables.looks(covered, largest)[0]
    assert (hidden.space, bare.space) == context_tables.SPACES
    assert contextual.pair_mean(hidden.own.mean(axis=1)).min() > 0.99
    assert contextual.pair_mean(bare.own.mean(axis=1)) == pytest.approx(FALLING)
    counted = later_layers.by_count(covered, largest["text"], [1])
    assert counted["count"].unique().tolist() == [1] and counted["value"].iloc[0] == pytest.approx(0.4)


def test_a_fall_is_the_first_third_less_the_last():
    assert later_layers.thirds(30) == (range(1, 11), range(21, 31))
    assert later_layers.thirds(2) == (range(1, 2), range(2, 3))
    look = context_tables.looks(read())[0]
    found = {name: contextual.pair_mean(table) for name, table in later_layers.falls(look).items()}
    assert found["self_similarity_fall"] == pytest.approx(FALLING[1:4].mean() - FALLING[7:10].mean())
    assert found["self_similarity_fall_without_first"] == pytest.approx(FALLING[2:4].mean() - FALLING[7:10].mean())
    assert found["self_similarity_fall_without_ends"] == pytest.approx(FALLING[2:4].mean() - FALLING[7:9].mean())
    (look,) = context_tables.looks(read([0.9, 0.8, 0.6]), kinds=("text",))
    short = later_layers.falls(look)
    assert contextual.pair_mean(short["self_similarity_fall_without_ends"]) == pytest.approx(0.2)  # no other layer


def test_a_planted_fall_is_found_its_mirror_is_a_rise_and_a_level_curve_is_neither():
    rising = np.linspace(0.3, 2, LAYERS + 1)
    for size, said in ((rising, "falls"), (rising[::-1], "rises")):
        table = later_layers.later(context_tables.looks(noisy(size), kinds=("text",)))
        assert {later_layers.direction(row) for _, row in table.iterrows()} == {said}
    said = []
    for seed in range(40):
        table = later_layers.later(context_tables.looks(noisy(np.ones(LAYERS + 1), seed), kinds=("text",)), seed)
        said.append(later_layers.direction(table.iloc[0]))
    assert said.count("undecided") >= 36


def test_a_fall_that_shuffled_pictures_share_is_none_beyond_theirs():
    rising = np.linspace(0.3, 2, LAYERS + 1)
    mine, theirs = context_tables.looks(noisy(rising)), context_tables.looks(noisy(np.ones(LAYERS + 1), 1))
    beyond = later_layers.against(mine, theirs)
    assert {later_layers.direction(row) for _, row in beyond.iterrows()} == {"falls"}
    assert later_layers.against(mine, mine)["value"].to_numpy() == pytest.approx(0)


def test_the_lowest_layer_and_its_range_are_those_of_the_curve():
    bowl = np.array([0.1, 0.5, 1, 2, 1, 0.5, 0.4, 0.3, 0.2, 0.1])
    value, low, high = later_layers.lowest(context_tables.looks(noisy(bowl))[0])
    assert (value, low, high) == (3, 3, 3)


def test_the_token_that_moves_most_is_named_and_leads():
    made = noisy(np.ones(LAYERS + 1))
    made.text["planted"][:, :, 1] += np.random.default_rng(1).normal(size=(LAYERS + 1, N, HIDDEN))
    look = context_tables.looks(made)[0]
    table = token_changes.of_questions([look], made.tokens)
    assert table.loc[table["value"].idxmax(), "token"] == "b" and (table["low"] < table["value"]).all()
    first, _, (value, low, high) = token_changes.lead(look)
    assert first == 1 and 0 < low < value < high
    assert token_changes.change_map(look).shape == (LAYERS + 1, 3)


def test_a_picture_s_nearness_to_the_others_averages_to_self_similarity():
    look = context_tables.looks(noisy([1.0, 2.0]))[0]
    table = context_tables.of_pictures([look], range(100, 100 + N))
    means = table.groupby("layer")["value"].mean()
    assert means.to_numpy() == pytest.approx(contextual.pair_mean(look.own.mean(axis=1)))
    assert table["item"].min() == 100 and len(table) == 2 * N


def test_what_the_figures_show_beside_fits_the_results_table():
    changes = np.array([[0.0, 0.1], [0.2, 0.3]])
    scenes = pd.DataFrame({"scene": [8, 9, 11], "kind": ["slice", "other", "slice"]})
    parts = [context_tables.of_change_map(changes, ["a", "a"], "planted"), context_tables.of_shown(scenes, 2)]
    parts = {"scans": parts, "published": [context_tables.of_published(LAYERS)]}
    found = results.tidy(context_tables.results_table(parts), model="m", technique="t", seed=0)
    one = found.query("metric == 'change_by_layer'").pivot(index="layer", columns="position", values="value")
    assert one.to_numpy().tolist() == changes.tolist()
    assert found.query("metric == 'picture_shown'")["item"].tolist() == ["8", "9"]
    assert set(found.query("domain == 'published'")["metric"]) >= {"self_similarity_published", "mev_published"}


def test_all_tables_fit_the_results_table_and_p_values_are_rows():
    looks = context_tables.looks(noisy(np.ones(LAYERS + 1)))
    tables = [context_tables.curves(looks), later_layers.later(looks), context_tables.of_pictures(looks, range(N))]
    tables.append(token_changes.of_questions(looks, {"planted": list("abc")}))
    found = results.tidy(
        context_tables.results_table({"scans": tables, "shuffled": tables[:1]}), model="m", technique="t", seed=0
    )
    assert {"self_similarity_fall", "self_similarity_fall_p", "mev_adjusted", "change"} <= set(found["metric"])
    p = found[found["metric"] == "self_similarity_fall_p"]["value"]
    assert p.between(0, 1).all() and len(p) == 2
    assert set(found["domain"]) == {"scans", "shuffled"}


def test_the_planted_checks_pass_and_too_few_dimensions_are_refused():
    found = list(planted_contexts.answers(12, 40, 9))
    assert len(found) == 7 and all(passed for _, passed, _ in found), found
    with pytest.raises(MedlibError, match="need more than 12 dimensions"):
        planted_contexts.with_cosine(12, 12, 0.5)


def test_published_layers_are_mapped_by_relative_depth():
    assert [published.at_depth(layer, 30) for layer in published.LAYERS] == [0, 9, 19, 23, 30]
    assert [published.at_depth(layer, 32) for layer in published.LAYERS] == list(published.LAYERS)
    table = context_tables.curves(context_tables.looks(noisy(np.ones(LAYERS + 1)), kinds=("text",)))
    beside = published.beside(table, LAYERS)
    assert len(beside) == 15 and beside["published"].iloc[3] == 0.7605
    assert pd.notna(beside["ours"]).all() and beside["layer"].max() == LAYERS
