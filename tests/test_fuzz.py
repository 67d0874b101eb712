"""Made-up input: whatever is given, the answer is right or a MedlibError that says what is wrong, and nothing else.

Each property is a Hypothesis test; `make bench-faults` tries them on many more cases (benchmarks/fault_cases.py).
"""

import csv
import json
import math
import os
import shlex
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import conftest
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import medlib
from medlib import MedlibError, concepts, paths, results
from medlib.book import parameters, stamp
from medlib.book.pages import markdown
from medlib.prompts import Prompt
from medlib.run import Run

CASES = int(os.environ.get("FUZZ_CASES", "20"))
few = settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
more = settings(few, max_examples=5 * CASES)  # where a case takes no files and no model

NASTY = [
    *("", " ", "\n", "\t", "\0", "\x07\x1b[31m", "\r\n", "\u2028", "\ufeff", "\u200b"),
    *("\u202eevil\u202c", "مرض السكري", "סוכרת", "糖尿病", "👩🏽‍⚕️💊", "e\u0301", "ﷺ", "\u0000a", "𝕏" * 3),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</script><!--", "&lt;b&gt;", "javascript:alert(1)"),
    *("{entity}", "{item}", "{0}", "{", "}}", "{entity!r:>100}", "%s%n", "$x$", "`", "|", "\\", "](x)", "{ref}`x`"),
    *(
        "../../etc/passwd",
        "..",
        ".",
        "/",
        "a/../b",
        "C:\\x",
        "~",
        "CON",
        "-rf",
        "--help",
        "=",
        "nan",
        "1e999",
        "-0",
        "٣",
    ),
    "x" * 3_000,
    "糖" * 3_000,
]
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(NASTY),
    st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), max_size=4).map("".join),
    st.text(st.characters(categories=["Cc", "Cf", "Zs", "Lo", "So", "Mn"]), max_size=20),
)
HALF = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)  # half characters, which are no Unicode text
NUMBER = st.one_of(
    st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.integers(0, 50), st.floats(-10, 10)
)
ANYTHING = st.one_of(TEXT, NUMBER, st.binary(max_size=4), st.lists(st.integers(), max_size=2), st.dates())


# --- tables -----------------------------------------------------------------------------------------------------------


@few
@given(
    st.lists(
        st.dictionaries(st.sampled_from(results.COLUMNS), st.one_of(NUMBER, TEXT), max_size=6), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_a_results_table_is_refused_or_read_as_it_was_written(rows, sound):
    if sound:  # so that most rows come far
        rows = [{**row, "value": 1.5, "metric": "kl", "low": None, "high": None, "position": 3} for row in rows]
    try:
        table = results.tidy(rows, model="m", technique="t")
    except MedlibError:
        return
    assert np.isfinite(table["value"]).all() and not table["metric"].isna().any()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        results.write(table, path)
        pd.testing.assert_frame_equal(results.read(path), table)


@few
@given(st.data(), st.integers(1, 5))
def test_a_damaged_table_is_refused_or_the_one_that_was_written(data, n):
    table = results.tidy([{"value": float(i), "metric": "kl"} for i in range(n)], model="m", technique="t")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        results.write(table, path)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:cut])
        with pytest.raises(MedlibError, match="t.parquet"):
            results.read(path)


# --- concept tables and templates -------------------------------------------------------------------------------------

DESCRIPTION = """title = {title}
about = {about}
licence = "CC0"

[columns.kind]
about = "its kind"
values = [{kind}, "other"]

[templates]
{name} = {template}
last = "About {{entity}}"
"""


def loaded(folder, text, rows):
    (folder / "mine.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with (folder / "mine.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows(rows)
    domain = str(folder / "mine.toml")
    return concepts.load(domain), concepts.prompts(domain)


@few
@given(st.lists(TEXT, min_size=4, max_size=4), st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), st.booleans())
@example(["t", "a", "drug", "{entity} helps"], [("<script>alert(1)</script>", "drug")], True)
def test_a_domain_of_ones_own_is_refused_or_its_prompts_hold_the_items_as_written(texts, cells, sound):
    title, about, kind, template = texts
    template = f"What is {{entity}}{template.strip()}" if sound else template
    quoted = [json.dumps(text) for text in (title, about, kind, template)]
    text = DESCRIPTION.format(title=quoted[0], about=quoted[1], kind=quoted[2], name="first", template=quoted[3])
    rows = [["item", "kind", "source", "checked"], *([item, kind if sound else k, "s", "c"] for item, k in cells)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            table, prompts = loaded(Path(folder), text, rows)
        except MedlibError as error:
            assert "mine." in str(error)
            return
    assert len(table) == len(cells) and len(prompts) == 2 * len(cells)
    for prompt, item in zip(prompts["prompt"], prompts["item"], strict=True):
        start, end = prompt.entity
        assert prompt[start:end].lower() == item.lower()


@few
@given(st.one_of(TEXT, HALF), st.one_of(TEXT, HALF))
@example("{entity}{entity}", "a")
def test_files_that_are_no_domain_at_all_are_refused(toml, table):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_bytes(toml.encode("utf-8", "surrogatepass"))
        path.with_suffix(".csv").write_bytes(table.encode("utf-8", "surrogatepass"))
        with pytest.raises(MedlibError):
            concepts.load(str(path))


@more
@given(TEXT, TEXT, TEXT)
def test_an_item_stands_in_its_template_where_the_prompt_says(before, item, after):
    template = f"{before}{{entity}}{after}"
    try:
        prompt = Prompt.fill(template, item)
    except MedlibError:
        assert template.count("{entity}") != 1 or not item
        return
    assert str(prompt) == before + item + after and prompt[slice(*prompt.entity)] == item


# --- parameters -------------------------------------------------------------------------------------------------------

DEFAULTS = {"seed": 0, "share": 0.5, "domains": "drugs", "mean": True, "layers": [1, 2], "kinds": {"a": 1}}


@more
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(DEFAULTS)), TEXT), st.one_of(TEXT, HALF, NUMBER), max_size=3))
def test_a_parameter_is_refused_or_of_the_type_of_its_default(asked):
    try:
        values = parameters.resolve(DEFAULTS, asked, "lesion", {"share": "0..1"})
    except MedlibError:
        return
    assert set(values) == set(DEFAULTS) and 0 <= values["share"] <= 1
    assert all(type(values[name]) is type(default) for name, default in DEFAULTS.items())


@more
@given(
    st.fixed_dictionaries(
        {"seed": st.integers(), "share": st.floats(0, 1), "domains": TEXT, "layers": st.lists(st.integers())}
    )
)
def test_the_command_on_a_page_gives_the_parameters_of_its_run(values):
    said = stamp.command("lesion", "org/model", {**DEFAULTS, **values}, DEFAULTS)
    words = shlex.split(said)
    assert words[:5] == ["medlib", "run", "lesion", "--model", "org/model"]
    asked = dict(word.split("=", 1) for word in words[6::2])
    assert parameters.resolve(DEFAULTS, asked, "lesion") == {**DEFAULTS, **values}


# --- records and names ------------------------------------------------------------------------------------------------


@few
@given(st.dictionaries(st.one_of(TEXT, HALF), st.one_of(ANYTHING, HALF), max_size=4), TEXT)
def test_a_record_is_refused_or_holds_what_it_was_given(given_parameters, name):
    assume(name)  # a model of whatever kind has a name
    model = SimpleNamespace(name=name, device="cpu")
    slow = mock.patch.multiple("medlib.run", sources=dict, data=lambda parameters: {})  # hashes of files, not of input
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, MEDLIB_RUNS=folder), slow:
        try:
            run = Run("fuzz", model, given_parameters, seed=0)
        except MedlibError:
            return
        assume(not any(paths.public(value) != value for value in (given_parameters, name)))
        run.save([{"metric": "kl", "value": 1.0}])
        record = json.loads((run.folder / "fuzz.json").read_text(encoding="utf-8"))
        assert run.folder.resolve().parent == Path(folder).resolve()
    assert record["model"]["name"] == name and record["parameters"] == run.parameters


@more
@given(st.one_of(TEXT, HALF, st.tuples(st.sampled_from(["/", "./", "~", "a/"]), HALF).map("".join)))
def test_the_folder_of_any_model_lies_in_the_folder_of_runs(name):
    slug = paths.slug(name)
    assert slug and not set("/\\\0:") & set(slug) and not slug.startswith((".", "-")) and slug.isascii()
    assert len(slug) < 130  # room in a file's name for what stands before and after it


SECRET = "hf_0123456789abcdefghij"


@few
@given(st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)), TEXT)
def test_no_token_and_no_home_is_left_in_what_is_public(value, beside):
    home = str(Path.home())
    hidden = {"a": value, "b": [f"{beside} {home}/models", f"{beside}{SECRET}{beside}"], f"{home}/key": home}
    with mock.patch.dict(os.environ, HF_TOKEN=SECRET):
        text = json.dumps(paths.public(hidden), ensure_ascii=False)
    assert SECRET not in text and f"{home}/models" not in text and f'"{home}' not in text


# --- pages ------------------------------------------------------------------------------------------------------------


@few
@given(TEXT)
@example("<script>alert(1)</script>")
@example("a | b \\| c")
def test_a_cell_of_a_page_shows_any_text_as_it_stands_and_is_no_html(text):
    from bs4 import BeautifulSoup

    html = MarkdownIt("commonmark").enable("table").render(markdown.table(["what", "text"], [["x", text]]))
    page = BeautifulSoup(html, "html.parser")
    assert {tag.name for tag in page.find_all()} <= {"table", "thead", "tbody", "tr", "th", "td"}
    shown = " ".join(page.find_all("td")[1].get_text().replace("\ufffd", "\0").split())
    assert shown == " ".join(text.split())


# --- prompts and activations ------------------------------------------------------------------------------------------


@cache
def byte_model():
    """A tiny random model whose tokens are bytes, so that it reads any text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    sizes = conftest.SIZES | dict(vocab_size=len(letters), num_hidden_layers=2, max_position_embeddings=256)
    hf = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **conftest.HEADS)).eval()
    return medlib.Model(hf, transformers.PreTrainedTokenizerFast(tokenizer_object=backend), name="bytes")


@few
@given(st.lists(st.one_of(TEXT, HALF), max_size=3))
@example(["\0", "\u202e"])
def test_any_prompts_are_refused_or_have_finite_states(prompts):
    try:
        states = medlib.activations(byte_model(), prompts, at="mean")
    except MedlibError:
        return
    assert states.shape == (3, len(prompts), 32) and np.isfinite(states).all()


@few
@given(TEXT, TEXT, TEXT)
def test_the_states_of_an_item_are_those_of_its_own_tokens(before, item, after):
    model = byte_model()
    try:
        prompt = Prompt.fill(f"{before}{{entity}}{after}", item)
        states = medlib.activations(model, [prompt], at="entity")
    except MedlibError:
        return
    last = len((before + item).encode()) - 1
    with torch.no_grad():
        whole = model.hf(**model.tokenizer(str(prompt), return_tensors="pt"), output_hidden_states=True).hidden_states
    assert np.allclose(states[1, 0], whole[1][0, last], atol=1e-5)


@few
@given(TEXT, TEXT, TEXT)
def test_a_lesion_of_any_prompt_is_refused_or_finite(prompt, answer, other):
    try:
        table = medlib.lesion_sweep(byte_model(), [prompt, other], [answer, answer])
    except MedlibError:
        return
    assert len(table) == 4 and np.isfinite(table[["kl", "logprob_drop"]]).all(axis=None)


SWEEPS = {  # what makes numbers; states that are not finite make none, since no table takes such a number
    "geometry": lambda model: medlib.geometry.mean_cosine(medlib.activations(model, ["w1 w2 w3", "w4 w2"])[-1]),
    "lesion": lambda model: medlib.lesion_sweep(model, ["w1 w2 w3"], [" w4"])[["kl", "logprob_drop"]],
    "patching": lambda model: medlib.patch_sweep(model, [medlib.Pair("w1 w2", "w3 w2", " w4", " w5")])[["logit_diff"]],
    "saliency": lambda model: medlib.weight_saliency(model, ["w1 w2 w3"], [" w4"])[["saliency"]],
}
WRONG = st.sampled_from([math.nan, math.inf, -math.inf, 3e38])


@cache
def family_model(family):
    return conftest.tiny_model(family)


@few
@given(st.sampled_from(["llama", "gemma3", "gpt-oss", "gpt2"]), st.sampled_from(sorted(SWEEPS)), st.data())
def test_a_model_with_a_weight_that_is_no_number_is_refused_or_its_numbers_are_finite(family, sweep, data):
    model = family_model(family)
    weights = dict(model.hf.named_parameters())
    weight = weights[data.draw(st.sampled_from(sorted(weights)))].data.view(-1)
    place = data.draw(st.integers(0, len(weight) - 1))
    before = weight[place].item()
    weight[place] = data.draw(WRONG)
    try:
        found = np.ravel(np.asarray(SWEEPS[sweep](model), dtype=float))
        results.tidy({"value": found, "metric": sweep}, model="m", technique="t")
    except MedlibError:
        return
    finally:
        weight[place] = before
    assert np.isfinite(found).all()
