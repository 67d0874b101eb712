"""The page of claims says what the rules say, leads to the figures, and keeps a row for each model that did not run."""

import re

import nbformat
import pytest
from planted_claims import PLANTED, SMALL
from standins import a_record

from medlib import concepts, plan, results
from medlib.book import claims
from medlib.book.claims import costs, pages
from medlib.chapters.lesion import harm
from medlib.models import zoo
from medlib.scans import make_items
from medlib.summary import sample_items

CLAIMS = {claim.key: claim for claim in claims.claims()}


class AChapter:
    """A run as the book has it, of a planted table; with its figures or without."""

    def __init__(self, folder, model, technique, run, labels=()):
        self.name, self.technique, self.page = model, technique, f"runs/{model}/{technique}"
        self.folder = folder
        results.write(run.table, self.file(".parquet"))
        numbers = {key: dict(value=value, text=str(value)) for key, value in run.numbers.items()}
        self.record = a_record(technique, model, numbers=numbers)
        figures = [{"mystnb": {"figure": {"name": f"{label}-{model}"}}} for label in labels]
        cells = [nbformat.v4.new_code_cell("", metadata=one) for one in figures]
        self.notebook = nbformat.v4.new_notebook(cells=cells)

    def file(self, suffix):
        return self.folder / f"{self.name}-{self.technique}{suffix}"


@pytest.fixture
def written(tmp_path):
    """A function that writes the page of some planted runs and returns its pieces by name."""

    def write(*chapters):
        pages.write(tmp_path, chapters)
        return {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.md")}

    return lambda **planted: write(
        *(
            AChapter(tmp_path, SMALL, chapter, run, [CLAIMS[key].figure] if key == "A4" else [])
            for key, word in planted.items()
            for chapter, run in PLANTED[key](word)[SMALL].items()
        )
    )


def lines(text, begins):
    return [line for line in text.splitlines() if line.startswith(begins)]


def test_without_runs_every_claim_is_there_and_not_run_on_any_model(written):
    found = written()
    for work in "AB":
        of = [claim for claim in CLAIMS.values() if claim.work == work]
        rows = lines(found[f"claims_matrix_{work}"], "| [")
        assert [re.match(r"\| \[(\w+)\]", row)[1] for row in rows] == [claim.key for claim in of]
        for claim, row in zip(of, rows, strict=True):
            assert row.endswith(f"| {len(claim.asks)} not run |") and f"](#claim-{claim.key.lower()})" in row
            assert f"(claim-{claim.key.lower()})=" in found[f"claims_{work}"]


def test_a_verdict_is_in_the_matrix_and_in_its_section_with_number_control_and_figure(written):
    found = written(A4="contradicted", A2a="supported")
    row = next(row for row in lines(found["claims_matrix_A"], "| [A4]"))
    assert "| **contradicted** |" in row
    starred = next(row for row in lines(found["claims_matrix_A"], "| [A2a]"))
    assert "| **supported**\\* |" in starred
    section = found["claims_A"].split("### A4.")[1].split("### A5.")[0]
    assert f"**`{SMALL}`: contradicted**." in section
    assert "mean over states: −0.100 (−0.150 to −0.050), n = 304 drugs" in section
    assert "- *control*: dishes, kind minus origin" in section
    assert f"[the figure](#fig-geometry-two-labels-{SMALL})" in section
    other = found["claims_A"].split("### A2a.")[1].split("### A2b.")[0]
    assert f"[the chapter](/runs/{SMALL}/ages.ipynb)" in other and "supported**; the control does the same." in other


def test_a_run_whose_table_lacks_the_rows_is_not_decided_and_says_why(written):
    found = written(A4="supported")
    section = found["claims_A"].split("### A6.")[1].split("### A7.")[0]
    assert f"**`{SMALL}`: not decided**." in section and "The run does not say: the table has no rows of" in section


def test_every_model_that_did_not_run_keeps_a_row_with_its_command_and_cost(written):
    found = written(A4="supported")
    for claim in CLAIMS.values():
        section = found[f"claims_{claim.work}"].split(f"(claim-{claim.key.lower()})=")[1].split("(claim-")[0]
        ran = claim.key in ("A4", "A6")
        left = [name for name in claim.asks if not (ran and name == SMALL)]
        for name in left:
            command = " && ".join(f"medlib run {chapter} --model {name}" for chapter in claim.chapters)
            (row,) = [line for line in section.splitlines() if f"`{command}`" in line]
            memory, seconds = costs.cost(claim.chapters, name)
            said = plan.said(seconds).replace(" ", "\N{NO-BREAK SPACE}")
            assert row.endswith(f"| {memory / 2**30:.3g} | {said} |")
        first = next(line for line in section.splitlines() if "`medlib run" in line)
        assert any(f"**{name}**" in first for name in claim.of)


def test_a_cost_grows_with_the_model_and_holds_its_weights():
    small, large = (costs.cost(["lesion", "knowledge"], name) for name in ("gemma-3-27b", "llama-3.3-70b"))
    assert small[0] < large[0] and small[1] < large[1]
    assert large[0] > zoo.entry("llama-3.3-70b")["parameters"] * 2
    assert costs.cost(["lesion", "knowledge"], "gemma-3-27b")[1] == pytest.approx(
        sum(costs.cost([one], "gemma-3-27b")[1] for one in ("lesion", "knowledge"))
    )


def test_planned_prompts_are_those_of_the_chapters_at_their_defaults():
    told = {chapter: dict(sweeps) for chapter, (sweeps, _) in costs.SWEEPS.items()}
    medical = concepts.medical()
    names = [*medical, *map(concepts.control, medical)]
    prompts = {name: concepts.prompts(name) for name in names}
    questions = {name: concepts.questions(name) for name in names}
    assert told["knowledge"]["activations"] == sum(map(len, questions.values()))
    compared = ("drugs", "foods", "diseases", "cities", "symptoms", "animals", "progression", "processes")
    assert told["geometry"]["activations"] == sum(len(prompts[name]) for name in compared)
    assert told["ages"]["activations"] == len(prompts["age"]) + len(prompts["numbers"])
    assert told["progression"]["activations"] == len(prompts["progression"]) + len(prompts["processes"])
    templates = {name: frame["variant"].nunique() for name, frame in prompts.items()}
    assert told["collapse"]["activations"] == 48 * sum(templates.values())
    drawn = {name: sample_items(asked, 12, 0) for name, asked in questions.items()}
    fewer = {name: harm.in_templates(asked, 2) for name, asked in drawn.items()}
    few = {name: harm.of_clusters(harm.in_templates(asked, 1), 4, 0) for name, asked in drawn.items()}
    plain, two, parts = (sum(map(len, of.values())) for of in (drawn, fewer, few))
    assert told["lesion"]["lesion"] == plain + 2 * two + 4 * parts
    assert told["patching"]["patching"] == 2 * 12 * len(names)
    assert told["embedding_geometry"]["activations"] == len(make_items("held-out", 120, seed=0))


def test_every_chapter_of_a_claim_has_a_cost():
    assert {name for claim in CLAIMS.values() for name in claim.chapters} <= set(costs.SWEEPS)
    assert all(isinstance(costs.cost(claim.chapters, claim.of[0])[1], float) for claim in CLAIMS.values())


def test_a_model_that_the_zoo_lacks_is_judged_where_it_ran(tmp_path):
    run = PLANTED["A4"]("supported")[SMALL]["geometry"]
    pages.write(tmp_path, [AChapter(tmp_path, "org-other", "geometry", run)])
    matrix = (tmp_path / "claims_matrix_A.md").read_text(encoding="utf-8")
    (row,) = lines(matrix, "| [A4]")
    assert "`org-other`" in matrix and "| **supported** |" in row
