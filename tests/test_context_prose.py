"""Sentences that turn with the numbers, and figures that show each curve with its control."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_context_tables import LAYERS, noisy

from medlib.chapters.contextualisation import (
    context_figures,
    context_prose,
    context_tables,
    later_layers,
    token_changes,
)

ASKED = ["planted", "other"]
FALLS, RISES, OPEN = (0.1, 0.05, 0.2, 0.01), (-0.1, -0.2, -0.05, 0.01), (0.1, -0.1, 0.3, 0.01)
UNTESTED = (0.1, 0.05, 0.2, 0.2)


SPACES = ("raw", "without 1 largest", "without 10 largest")
WAYS = [(space, one, end) for space in SPACES for one in later_layers.MEASURES for end in later_layers.SPANS]
RAW, ADJUSTED = later_layers.MEASURES


def later(usual=FALLS, question="planted", **other):
    """Rows of `later_layers.later` and `by_count`: all ways alike but `other`, such as `raw_0_without_first=OPEN`.

    A way is named by the number of dimensions left out, and by "adjusted" or "raw"; see `_key`.
    """
    rows = [
        dict(component="text", variant=question, space=space, metric=f"{one}_fall{end}")
        | dict(zip(("value", "low", "high", "p"), other.get(_key(space, one, end), usual), strict=True))
        for space, one, end in WAYS
    ]
    assert set(other) <= {_key(*way) for way in WAYS}
    twice = [row | dict(space="without largest", low=-1.0, high=1.0) for row in rows if row["space"] == "raw"]
    return pd.DataFrame(rows + twice)  # those without the usual number of dimensions are there already, by count


def _key(space, one, end):
    count = 0 if space == "raw" else int(space.split()[1])
    return f"{'raw' if one == RAW else 'adjusted'}_{count}{end}"


def against(raw, adjusted=None, question="planted"):
    rows = later(raw, question, **{_key("raw", ADJUSTED, end): adjusted or raw for end in later_layers.SPANS})
    return rows.assign(metric=rows["metric"] + "_less_shuffled")


@pytest.mark.parametrize(
    ("ways", "beyond", "begins"),
    [
        (later(), against(FALLS), "Yes, and more than with shuffled pictures"),
        (later(), against(OPEN), "Not decided"),
        (later(), against(FALLS, OPEN), "Not decided"),
        (later(), against(RISES), "Not decided"),
        (later(RISES), against(FALLS), "No, the other way round"),
        (later(OPEN), against(FALLS), "Not decided"),
        (later(UNTESTED), against(FALLS), "Not decided"),
        (later(adjusted_1=OPEN), against(FALLS), "Not decided"),
        (later(adjusted_0_without_first=OPEN), against(FALLS), "Not decided"),
        (later(RISES, raw_10=FALLS), against(FALLS), "Not decided"),
    ],
)
def test_the_verdict_turns_with_every_way_and_the_shuffled_pictures(ways, beyond, begins):
    assert context_prose.verdict(ways, beyond, "planted").startswith(begins)


def test_shuffled_pictures_do_much_the_same_where_they_share_more_than_half_of_the_fall():
    near, far = (0.01, 0.005, 0.02, 0.01), (0.09, 0.05, 0.2, 0.01)
    text = context_prose.verdict(later(), against(near, OPEN[:1] + OPEN[1:]), "planted")
    assert "tiles in another order do much the same" not in text  # OPEN is as large as the fall itself
    text = context_prose.verdict(later(), against(near, (0.001, -0.1, 0.1, 0.9)), "planted")
    assert text.endswith(
        "tiles in another order do much the same: the fall is larger than theirs as the cosine stands (by +0.0100) and "
        "not told apart from theirs beside random tokens (by +0.0010)"
    )
    text = context_prose.verdict(later(adjusted_1=OPEN), against(far, RISES), "planted")
    assert "beside tiles in another order the fall is larger" in text and "smaller than theirs beside" in text


def test_the_tally_counts_the_ways_and_other_questions_must_agree_in_all():
    ways = later(adjusted_1=OPEN, adjusted_0_without_first=RISES)
    both = pd.concat([ways, later(question="other")])
    beyond = pd.concat([against(FALLS, OPEN), against(FALLS, question="other")])
    found = context_prose.of_later(both, beyond, ASKED)
    assert "falls in 16 of 18 ways to measure it, rises in 1 and is not decided in 1" in found["verdict"][1]
    assert found["other_questions"] == (0, "0 of 1 other questions agree in all ways")
    assert found["not_falling"] == (
        2,
        "It does not fall, or is not shown to: beside random tokens, without the first layer; beside random tokens, "
        "without the 1 largest",
    )
    assert found["fall"] == (0.1, "+0.1000 (95 % interval +0.0500 to +0.2000), p = 0.01")
    assert found["fall_without_first"][0] == -0.1 and found["others_beyond"][1] == "1 of 1 other questions"
    alone = context_prose.of_later(later(), against(OPEN), ASKED[:1])
    assert alone["other_questions"][1] == "no other was asked" and alone["not_falling"][1] == "It falls in every way"
    assert context_prose.of_later(later(OPEN), against(OPEN), ASKED[:1])["not_falling"][1] == "It falls in no way"


def test_the_fall_without_pictures_of_other_kinds_is_that_of_the_slices_alone():
    looks = context_tables.looks(noisy(np.linspace(0.5, 2, LAYERS + 1)))
    slices = np.arange(len(looks[0].own[0, 0])) > 4
    told, rows = context_prose.of_slices(looks, slices, "planted")
    look = looks[0]
    by_hand = look.own.mean(1)[:, slices][:, :, slices] - look.random[:, slices][:, :, slices]
    means = np.array([one[~np.eye(len(one), dtype=bool)].mean() for one in by_hand])
    assert told["slices_only"][0] == pytest.approx(means[1:4].mean() - means[7:10].mean()) and told["n_other"][0] == 5
    assert (rows["n"] == slices.sum()).all() and "beside random tokens" in told["slices_only"][1]
    told, rows = context_prose.of_slices(looks, np.arange(len(slices)) > 10, "planted")
    assert rows is None and "pictures are left, and an interval takes 8" in told["slices_only"][1]


def test_image_tokens_are_told_with_and_without_their_baseline():
    rows = later(adjusted_0=RISES).assign(component="image", variant=None)
    found = context_prose.of_image(rows, against(FALLS).query("space == 'raw'").assign(component="image"))
    assert found["image_beyond"][1].startswith("+0.1000 (95 %")
    value, text = found["image_direction"]
    assert text == "it falls as the cosine stands and rises beside random image tokens" and value == -0.1


def test_levels_are_means_over_the_last_third():
    table = context_tables.curves(context_tables.looks(noisy(np.linspace(0.5, 2, LAYERS + 1))))
    found = context_prose.of_curves(table, "planted", LAYERS)
    rows = context_tables.chosen(table, "mev", component="text").set_index("layer")["value"]
    assert found["mev_text"][0] == pytest.approx(rows[7:].mean())
    assert "beside random tokens" in found["self_similarity_image"][1] and len(found) == 6


def test_the_most_changed_token_is_ahead_only_where_its_lead_is_clear():
    changes = pd.DataFrame(
        dict(token=["\n", " lesion"], position=[11, 4], value=[0.2, 0.1], low=[0.1, 0.0], high=[0.3, 0.2])
    )
    said = context_prose.of_tokens(changes, (0, 1, (0.1, 0.05, 0.2)))["most_changed"][1]
    assert "clearly ahead of “lesion” (token 5 behind the picture)" in said
    assert said.startswith("the line break (token 12 behind the picture) changes most, by 0.2000 (95 %")
    assert "not told apart from" in context_prose.of_tokens(changes, (0, 1, (0.1, -0.05, 0.2)))["most_changed"][1]
    assert context_prose.of_lowest((23.0, 20.0, 30.0), 30)["lowest"][1] == "layer 23 of 30 (95 % interval 20 to 30)"


@pytest.fixture
def tables():
    yield context_tables.looks(noisy(np.linspace(0.5, 2, LAYERS + 1)))
    plt.close("all")


def test_figures_hold_each_curve_its_interval_and_its_control(tables):
    bare = [look.__class__(**look.__dict__ | {"space": "without largest"}) for look in tables]
    curves = context_tables.curves(tables + bare)
    black = context_tables.chosen(curves, "self_similarity", component="text", space="raw")
    figure = context_figures.with_controls(curves, curves, black, "planted")
    assert [len(axes.collections) for axes in figure.axes] == [3, 2] and len(figure.axes[0].lines) == 5
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"pictures", "shuffled pictures", "black picture", "random tokens"} <= set(names)
    figure = context_figures.measures(curves, "planted")
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3, 2, 2, 2]
    figure = context_figures.spaces(curves, ["planted"])
    assert [len(axes.collections) for axes in figure.axes][:2] == [2, 2]
    fall = later_layers.later(tables + bare)
    figure = context_figures.falls(fall, later_layers.against(tables, tables))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["planted", "image tokens"]
    assert len(figure.axes[0].lines) == len(figure.axes[1].lines) == 2 * 2 * 3 + 1
    figure = context_figures.change_map(token_changes.change_map(tables[0]), ["\n", " lesion", "?"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["'\\n'", "lesion", "?"]


def test_the_tables_of_the_page_are_in_words():
    rows = [
        dict(count=3, metric=f"{measure}_fall{ending}", value=0.5, low=0.25, high=0.75, p=0.0002)
        for measure in later_layers.MEASURES
        for ending in later_layers.SPANS
    ]
    ways = context_prose.table_of_ways(pd.DataFrame(rows))
    assert [*ways["layers"]] == ["all", "without the first layer", "without the first and last layer"]
    assert set(ways["as the cosine stands"]) == {"+0.5000 (+0.2500 to +0.7500), p = 0.0002"}
    changes = pd.DataFrame(dict(position=[0, 1], token=["\n", " Is"], value=[0.1, 0.2], low=0.05, high=0.3))
    said = context_prose.table_of_tokens(changes)
    assert [*said["token"]] == ["Is", r"'\n'"] and [*said["place behind the picture"]] == [2, 1]
    assert said["1 - SelfSim"].iloc[1] == "0.1000 (0.0500 to 0.3000)"
