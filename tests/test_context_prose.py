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


def later(*ways, question="planted"):
    """Rows of `later_layers.later`: raw and adjusted with all dimensions, then without the largest."""
    where = [(space, metric) for space in context_tables.SPACES for metric in later_layers.MEASURES]
    rows = [
        dict(component="text", variant=question, space=space, metric=f"{metric}_fall")
        | dict(zip(("value", "low", "high", "p"), numbers, strict=True))
        for (space, metric), numbers in zip(where, ways, strict=True)
    ]
    return pd.DataFrame(rows)


def against(numbers):
    rows = later(*[numbers] * 4)
    return rows.assign(metric=rows["metric"] + "_less_shuffled")


@pytest.mark.parametrize(
    ("ways", "beyond", "begins"),
    [
        ([FALLS] * 4, FALLS, "Yes, and more than with shuffled pictures"),
        ([FALLS] * 4, OPEN, "Yes, but not shown to be more than with shuffled pictures"),
        ([FALLS] * 4, RISES, "Yes, but shuffled pictures do more of it"),
        ([RISES] * 4, FALLS, "No, the other way round"),
        ([OPEN] * 4, FALLS, "Not decided"),
        ([UNTESTED] * 4, FALLS, "Not decided"),
        ([FALLS, OPEN, FALLS, OPEN], FALLS, "Only as the cosine stands"),
        ([FALLS, FALLS, OPEN, OPEN], FALLS, "Only with the largest dimensions in"),
        ([OPEN, FALLS, OPEN, RISES], FALLS, "That depends on how it is measured"),
    ],
)
def test_the_verdict_turns_with_the_four_ways_and_the_shuffled_pictures(ways, beyond, begins):
    assert context_prose.verdict(later(*ways), against(beyond), "planted").startswith(begins)


def test_the_tally_counts_the_ways_and_other_questions_must_agree_in_all():
    both = pd.concat([later(FALLS, OPEN, RISES, FALLS), later(*[FALLS] * 4, question="other")])
    found = context_prose.of_later(both, against(OPEN), ASKED)
    assert "falls in 2 of 4 ways to measure it, rises in 1 and is not decided in 1" in found["verdict"][1]
    assert found["other_questions"] == (0, "0 of 1 other questions agree in all four ways")
    assert found["fall"] == (0.1, "+0.1000 (95 % interval +0.0500 to +0.2000), p = 0.01")
    alone = context_prose.of_later(both, against(OPEN), ASKED[:1])
    assert alone["other_questions"][1] == "no other was asked"


def test_image_tokens_are_told_with_and_without_their_baseline():
    rows = later(FALLS, RISES, FALLS, FALLS).assign(component="image", variant=None)
    value, text = context_prose.of_image(rows)["image_direction"]
    assert text == "it falls as the cosine stands and rises beside random image tokens" and value == -0.1


def test_levels_are_means_over_the_last_third():
    table = context_tables.curves(context_tables.looks(noisy(np.linspace(0.5, 2, LAYERS + 1))))
    found = context_prose.of_curves(table, "planted", LAYERS)
    rows = context_tables.chosen(table, "mev", component="text").set_index("layer")["value"]
    assert found["mev_text"][0] == pytest.approx(rows[7:].mean())
    assert "beside random tokens" in found["self_similarity_image"][1] and len(found) == 6


def test_the_most_changed_token_is_ahead_only_where_its_lead_is_clear():
    changes = pd.DataFrame(dict(token=["\n", " lesion"], value=[0.2, 0.1], low=[0.1, 0.0], high=[0.3, 0.2]))
    said = context_prose.of_tokens(changes, (0, 1, (0.1, 0.05, 0.2)))["most_changed"][1]
    assert "clearly ahead of `lesion`" in said and said.startswith(r"`'\n'` changes most, by 0.2000 (95 %")
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
