"""Made-up scores and effects with known answers: who is chosen, what agrees by chance, and sentences that turn."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError, results
from medlib.chapters.multimodal_neurons import (
    neuron_effects,
    neuron_figures,
    neuron_maps,
    neuron_matches,
    neuron_prose,
    neuron_questions,
    neuron_scores,
    neuron_tables,
)

SITES = pd.DataFrame({"layer": np.repeat([1, 2, 3, 4], 50), "unit": np.tile(np.arange(50), 4)})
AREAS = ["map", "fill", "curve", "control", "value", "low", "high", "n"]
CURVES = ["map", "fill", "curve", "share", "value", "low", "high", "n"]
ANSWERS = {"polarity": ("bright", "dark"), "plane": ("axial", "coronal")}


def questions(scenes=12):
    rows = [
        dict(scene=scene, question_kind=kind, answer=answers[(scene // (1 + at)) % 2], answers=answers)
        for scene in range(scenes)
        for at, (kind, answers) in enumerate(ANSWERS.items())
    ]
    return neuron_questions.in_halves(pd.DataFrame(rows))


def made_up(asked, scores):
    return neuron_scores.Measured(SITES, scores, asked["answer"].to_numpy(), 0.0)


def test_every_answer_is_right_in_both_halves_and_a_scene_lies_in_one():
    asked = questions()
    assert (asked.groupby("scene")["half"].nunique() == 1).all()
    assert (asked.groupby(["question_kind", "answer"])["half"].nunique() == 2).all()
    assert asked["half"].mean() == 0.5
    rare = asked.assign(answer=asked["answer"].where(asked.index != 0, "oblique"))
    with pytest.raises(MedlibError, match="'oblique'"):
        neuron_questions.in_halves(rare)


@pytest.mark.parametrize("kinds", ["polarity", "polarity polarity", "polarity colour"])
def test_two_kinds_that_there_are_must_be_named(kinds):
    with pytest.raises(MedlibError, match="give two of"):
        neuron_questions.choose(kinds, 12)


def test_units_are_those_of_the_mean_over_scenes_with_the_answer_in_the_half():
    asked, random = questions(), np.random.default_rng(0)
    scores = random.normal(size=(len(asked), 200)).astype(np.float32)
    rows = ((asked.question_kind == "polarity") & (asked.answer == "dark") & (asked.half == 1)).to_numpy()
    scores[rows, 77] += 50
    measured = made_up(asked, {"gradient": scores})
    own = neuron_scores.mean_scores(measured, asked, "gradient", "polarity", "dark", 1)
    assert own == pytest.approx(scores[rows].mean(0), rel=1e-5)
    top = neuron_scores.first_units(measured, own, 3)
    assert top.iloc[0].layer == 2 and top.iloc[0].unit == 27 and top.score.is_monotonic_decreasing
    other = neuron_scores.mean_scores(measured, asked, "gradient", "polarity", "dark", 0)
    assert neuron_scores.first_units(measured, other, 1).index[0] == 0 and other.max() < 10


def test_what_two_sets_share_by_chance_is_that_of_simulated_sets_of_the_same_layers():
    random, layers = np.random.default_rng(0), SITES["layer"].to_numpy()
    top, others = np.r_[0:10, 50:60], np.r_[5:15, 55:60, 100:105]
    found = neuron_scores.shared(top, others, layers)
    assert found["value"] == 10 / 20
    drawn = [
        np.isin(np.r_[random.choice(50, 10, False), 50 + random.choice(50, 5, False)], top).mean() * 15 / 20
        for _ in range(4000)
    ]
    assert found["chance"] == pytest.approx(np.mean(drawn), abs=0.005) == 0.15
    assert (found["low"], found["high"]) == (
        pytest.approx(np.quantile(drawn, 0.025), abs=0.051),
        pytest.approx(np.quantile(drawn, 0.975), abs=0.051),
    )


def test_scores_that_only_share_their_layers_agree_over_all_units_and_not_within_layers():
    asked, random = questions(), np.random.default_rng(1)
    level = SITES["layer"].to_numpy() * 10.0
    two = {name: level + random.normal(size=(1, 200)) + np.zeros((len(asked), 1)) for name in ("a", "b")}
    two["same"] = 3 * two["a"]
    table = neuron_scores.agreement(made_up(asked, two), asked, "a", "b", [10])
    by = table.groupby("metric")["value"].mean()
    assert by["ranks"] > 0.9 and abs(by["ranks in layer"]) < 0.2
    shared = table[table.metric == "shared"]
    assert len(shared) == 4 and (shared["chance"] == 10 / 50).all() and (shared["value"] <= shared["high"]).all()
    same = neuron_scores.agreement(made_up(asked, two), asked, "a", "same", [10])
    assert same.value.to_numpy() == pytest.approx(1)
    halves = neuron_scores.halves(made_up(asked, two), asked, "a", [10])
    assert (halves["value"] == 1).all() and (halves["value"] > halves["high"]).all()


def taken(first=2.0, other=0.5, wrong=0.0, matched=0.0, scenes=12, noise=0.3, seed=0):
    random, rows = np.random.default_rng(seed), []
    for scene in range(scenes):
        for score in ("gradient", "contribution"):
            for kind in ANSWERS:
                for asked in ANSWERS:
                    for k in (5, 20) if kind == asked else (20,):
                        labels = dict(scene=scene, question_kind=asked, chosen_for=kind, score=score, k=k)
                        effect = first if kind == asked else other
                        sets = [("first", 0, effect), ("random", 0, 0.1), ("random", 1, -0.1)]
                        sets += [("matched", 0, matched)] * (kind == asked)
                        sets += [("wrong", 0, wrong)] * (kind == asked and k == 20)
                        for units, draw, mean in sets:
                            drop = mean + noise * random.normal()
                            lost = np.nan if units == "wrong" else float(drop > 1)
                            size = {"first": 3.0, "matched": 2.4}.get(units, np.nan)
                            rows.append(labels | dict(units=units, draw=draw, drop=drop, lost=lost, written=size))
    return pd.DataFrame(rows)


def right(low=0.8):
    return pd.DataFrame(dict(question_kind=[*ANSWERS], value=0.9, low=low, high=1.0, chance=0.5, n=12))


def verdict(found, accuracy):
    asked = questions()
    tables = neuron_effects.effects(found), neuron_effects.of_picture(found, asked), neuron_effects.specificity(found)
    return neuron_prose.verdict(*tables, accuracy)


def test_effects_are_means_over_scenes_and_their_difference_is_paired():
    found = neuron_effects.effects(taken(noise=0))
    assert len(found) == 2 * (2 * 2 * 5 + 2 * 3) * 2
    at = found[(found.metric == "drop") & (found.question_kind == found.chosen_for)].groupby("units")["value"]
    expected = {"first": 2, "random": 0, "difference": 2, "matched": 0, "difference from matched": 2}
    assert at.mean().to_dict() == pytest.approx(expected)
    lost = found[(found.metric == "lost") & (found.units == "first") & (found.question_kind == found.chosen_for)]
    assert (lost.value == 1).all() and (lost.n == 12).all()


def test_specificity_is_the_own_question_less_the_other_one_within_scenes():
    found = neuron_effects.specificity(taken(noise=0))
    assert len(found) == 4 and (found.k == 20).all()
    assert found.own.to_numpy() == pytest.approx(2) and found.other.to_numpy() == pytest.approx(0.5)
    assert found.value.to_numpy() == pytest.approx(1.5)


def test_units_that_raise_one_word_always_show_no_difference_between_right_and_wrong():
    """Where "bright" always loses 5 and "dark" 1, whichever is right, and bright is right more often."""
    asked, rows = questions(), []
    answers = asked[asked.question_kind == "polarity"].set_index("scene")["answer"]
    cost = {"bright": 5.0, "dark": 1.0}
    scenes = [*answers.index[answers == "bright"], *answers.index[answers == "dark"][:2]]
    for scene in scenes:
        own = answers[scene]
        wrong = "dark" if own == "bright" else "bright"
        for units, answer in (("first", own), ("random", None), ("matched", None), ("wrong", wrong)):
            drop = 0.0 if answer is None else cost[answer]
            labels = dict(scene=scene, question_kind="polarity", chosen_for="polarity", score="gradient", k=5)
            rows.append(labels | dict(units=units, draw=0, drop=drop, lost=0.0))
    found = neuron_effects.of_picture(pd.DataFrame(rows), asked).iloc[0]
    assert found["value"] == pytest.approx(0) and found["right"] == found["wrong"] == pytest.approx(3)


def test_an_answer_that_is_always_given_scores_chance():
    asked = questions()
    always = made_up(asked, {})._replace(given=np.where(asked.question_kind == "polarity", "bright", "axial"))
    found = neuron_effects.accuracy(always, asked).set_index("question_kind")
    assert found.value.to_numpy() == pytest.approx(0.5) and (found.chance == 0.5).all()
    asked = asked[~((asked.question_kind == "polarity") & (asked.answer == "dark") & (asked.scene > 1))]
    uneven = made_up(asked, {})._replace(given=np.where(asked.question_kind == "polarity", "bright", "axial"))
    assert neuron_effects.accuracy(uneven, asked).value.to_numpy() == pytest.approx(0.5)
    rare = made_up(asked, {})._replace(given=np.where(asked.answer == "dark", "dark", "axial"))  # right where it counts
    assert neuron_effects.accuracy(rare, asked)[["low", "high"]].stack().between(0, 1).all()


def test_where_all_answers_are_right_the_interval_is_the_exact_one():
    asked = questions()
    found = neuron_effects.accuracy(made_up(asked, {}), asked)
    assert (found["value"] == 1).all() and (found["high"] == 1).all()
    assert found["low"].to_numpy() == pytest.approx(0.025 ** (1 / 12))


def test_matched_units_are_as_loud_and_none_is_taken_twice():
    norms = {3: np.array([9.0, 1.0, 8.0, 1.1, 0.1, 7.0])}
    found = neuron_matches.matched_units(norms, {3: np.array([0, 1])})
    assert found[3].tolist() == [2, 3]
    both = neuron_matches.matched_units(norms, {3: np.array([0, 2])})
    assert sorted(both[3].tolist()) == [3, 5]  # the second loudest finds the nearest that is left
    assert neuron_matches.written(norms, found) == pytest.approx((8 + 1.1) / 2)


def test_how_loud_the_matches_are_is_a_ratio_of_means():
    found = neuron_effects.loudness(taken())
    assert len(found) == 4 and found["value"].to_numpy() == pytest.approx(0.8)
    said = neuron_prose.of_loudness(found)["loud_gradient"]
    assert said[1] == "0.80 (0.80 to 0.80) on plane; 0.80 (0.80 to 0.80) on polarity"


def test_the_blocks_of_first_units_are_those_that_they_lie_in():
    asked = questions()
    scores = np.zeros((len(asked), 200))
    scores[:, [60, 170]] = 1
    measured = made_up(asked, {"gradient": scores})
    assert neuron_effects.first_blocks(measured, asked, "gradient", "plane", 2) == (2, 4)
    assert neuron_prose.of_blocks({"plane": (2, 4), "polarity": (3, 3)}, "gradient") == {
        "blocks_gradient": (2, "2 to 4")
    }


def test_the_verdict_turns_with_the_numbers():
    value, text = verdict(taken(), right())
    assert value == 2 and text.count("first units at the image tokens, by the gradient, carry it from the picture") == 2
    assert text.count("those at the last token, by the contribution, write it there, more where it is right") == 2
    assert text.count("those by the gradient and the contribution cost it more than the other question") == 2
    value, text = verdict(taken(other=2.0), right())
    assert value == 2 and text.count("none are shown to cost it more than the other question") == 2
    value, text = verdict(taken(wrong=2.0, noise=0.0), right())
    assert value == 0 and text.count("raise it, but are not shown to carry it from the picture") == 2
    assert text.count("write it there, and not more where it is right") == 2
    assert text.count("(2.0 logits lost where it is right, 2.0 where wrong)") == 4
    for tables in (taken(first=0.0), taken(matched=2.0)):
        value, text = verdict(tables, right())
        assert value == 0 and text.count("not decided, since no first units are shown to cost it more") == 2
    value, text = verdict(taken(), right(low=0.4))
    assert value == 0 and text.count("not decided, since the model is not shown to answer it above chance") == 2


def compared(first, seed=0, less_overlap=0.0):
    random, rows = np.random.default_rng(seed), []
    for scene in range(12):
        for score in ("gradient", "contribution"):
            means = dict(zip(neuron_maps.BASELINES, (0.2, 0.1, 0.22, 0.3, 0.15), strict=True)) | {"first units": first}
            for name, mean in means.items():
                values = mean + 0.02 * random.normal(size=2)
                values[1] -= less_overlap * (name == "first units")
                rows.append(dict(scene=scene, score=score, map=name, draw=0, pointing=values[0], overlap=values[1]))
    return neuron_maps.compared(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("first", "number", "said"), [(0.6, 10, "more than all baselines"), (0.26, 8, "fails"), (0.0, 0, "fails")]
)
def test_a_map_that_does_not_beat_its_baselines_is_said_to_fail(first, number, said):
    found = neuron_prose.of_maps(compared(first))
    assert found["map_gradient"][0] == number and said in found["map_gradient"][1]
    assert found["map_contribution"][0] == number


def test_a_map_that_passes_by_one_measure_alone_fails_and_what_beats_it_is_named():
    text = neuron_prose.of_maps(compared(0.6, less_overlap=0.35))["map_gradient"][1]
    assert text.startswith(
        "the map by the gradient fails: it beats its baselines in 9 of 10 comparisons, all of them by"
    )
    assert (
        "by pointing; by overlap it has 0.2" in text
        and "worse than random units (0.3" in text
        and "by pointing it has" not in text
    )
    text = neuron_prose.of_maps(compared(0.0))["map_gradient"][1]
    assert text.count("worse than brain centre") == 2 and "brightness alone (0.2" in text


def test_all_tables_are_rows_of_the_results_table_and_can_be_drawn():
    asked, found = questions(), taken()
    random = np.random.default_rng(2)
    scores = {name: random.normal(size=(len(asked), 200)) for name in ("gradient", "contribution")}
    measured = made_up(asked, scores)
    agreements = {"both": neuron_scores.agreement(measured, asked, "gradient", "contribution", [5, 20])}
    halves = {score: neuron_scores.halves(measured, asked, score, [5, 20]) for score in scores}
    words = SITES.head(2).assign(question_kind="plane", answer="axial", score=1.0, words="a, b", says=True)
    of_picture, specific = neuron_effects.of_picture(found, asked), neuron_effects.specificity(found)
    effects, accuracy = neuron_effects.effects(found), neuron_effects.accuracy(measured, asked)
    loudness = neuron_effects.loudness(found)
    areas = pd.DataFrame([("gradient", "twin", "deletion", None, 0.2, 0.1, 0.3, 4)], columns=AREAS)
    tables = effects, of_picture, loudness, specific, accuracy, agreements, halves, compared(0.5), areas
    rows = neuron_tables.rows(*tables, {"gradient": words}, found, "polarity")
    tidy = results.tidy(rows, model="m", technique="multimodal_neurons", seed=0)
    assert tidy["value"].notna().all() and {"drop, first less random", "balanced accuracy"} <= set(tidy["metric"])
    assert tidy.loc[tidy["metric"] == "deletion_area", ["component", "space"]].values.tolist() == [["gradient", "twin"]]
    assert {"drop, first less matched", "drop, where wrong", "written by matched over first"} <= set(tidy["metric"])
    maps = {(3, "gradient"): np.array([[0.0, 0.5], [1.0, 0.25]])}
    filled = pd.DataFrame([("gradient", "twin", "deletion", 0.25, 0.9, 0.8, 1.0, 4)], columns=CURVES)
    drawn = neuron_tables.drawn(specific, maps, filled, 100, "polarity")
    drawn = results.tidy(drawn, model="m", technique="t", seed=0)
    assert drawn.query("metric == 'deletion'")[["position", "value"]].values.tolist() == [[25, 0.9]]
    assert drawn.query("metric == 'activity' and item == '3'")["value"].tolist() == [0, 0.5, 1, 0.25]
    assert drawn.query("metric == 'drop, other question'")["value"].tolist() == specific["other"].tolist()
    figure, grid = neuron_figures.costs(effects, "drop", "drop, logits")
    assert [axes.get_title() for axes in grid.flat][:2] == ["plane, by the contribution", "plane, by the gradient"]
    lines = grid.flat[0].get_lines()
    assert lines[0].get_ydata() == pytest.approx(2, abs=0.4) and lines[1].get_ydata() == pytest.approx(0, abs=0.4)
    _, axes = neuron_figures.served(specific)
    assert len(axes.get_yticklabels()) == 4
    _, axes = neuron_figures.pictured(of_picture)
    assert axes.get_legend_handles_labels()[1] == ["where it is right", "where it is wrong", "right less wrong"]
    _, panels = neuron_figures.sharing({"both": agreements["both"], "halves": halves["gradient"]}, [5, 20])
    assert [*panels] == ["plane: axial", "plane: coronal", "polarity: bright", "polarity: dark"]
    _, grid = neuron_figures.hits(compared(0.5))
    assert grid[0].get_xlabel() == "pointing score"
    told = neuron_prose.of_agreement(agreements["both"], "both") | neuron_prose.of_halves(halves["gradient"], "halves")
    assert set(told) == {"both_ranks", "both_within", "both_shared", "halves"}
    told = neuron_prose.of_effects(effects)
    assert told["n_most"] == (20, "20") and told["cost_gradient"][0] == pytest.approx(2, abs=0.3)
    assert neuron_prose.of_specificity(specific)["specific_gradient"][0] == pytest.approx(1.5, abs=0.4)
    assert neuron_prose.of_pictures(of_picture)["picture_gradient"][0] == pytest.approx(2, abs=0.4)
    assert neuron_prose.of_accuracy(accuracy)["accuracy"][1].startswith("plane 100% (74% to 100%) of 12 scenes, chance")
    assert told["beyond_matched_gradient"][0] == pytest.approx(2, abs=0.3)
    said = neuron_prose.of_words(words, words.assign(says=False), "gradient")
    assert said["says_gradient"] == (1.0, "100% against 0% of random units of the same layers")


def test_a_page_shows_headings_in_words_and_words_of_units_as_they_are():
    table = pd.DataFrame(dict(question_kind=["plane"], words=["<br>, a"], score=[0.1234], other=[1]))
    html = neuron_tables.shown(table, ["question_kind", "words", "score"], precision=3).to_html()
    assert ">question<" in html and "&lt;br&gt;, a" in html and "0.123" in html and "other" not in html
    assert ">other<" in neuron_tables.shown(table).to_html()
