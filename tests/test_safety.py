"""What a model, a table, a notebook or a name from elsewhere cannot do to the machine, the record or the reader."""

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import tiny_hf, word_tokenizer
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from standins import a_notebook, a_run

import medlib
from medlib import MedlibError, cli, paths
from medlib.book import building, current, execute, safe_html, stamp
from medlib.models import loading
from medlib.results import TEXTS

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))
import fault_house  # noqa: E402

SCRIPT = "<script>window.pwned = 1</script>"
IMAGE = '<img src="x" onerror="window.pwned = 2">'
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")


def tracked(*starts, suffix=""):
    files = [ROOT / name for name in TRACKED if name.startswith(starts) and name.endswith(suffix)]
    assert files, starts
    return [file for file in files if file.is_file()]


# --- weights and code from elsewhere ----------------------------------------------------------------------------------

UNSAFE = {  # a call by the end of its name, and what it may not have among its arguments where it is not refused at all
    **dict.fromkeys(("torch.load", "pickle.load", "pickle.loads", "joblib.load", "read_pickle", "yaml.load"), None),
    **dict.fromkeys(("eval", "exec", "os.system", "os.popen", "torch.hub.load", "shelve.open"), None),
    "np.load": "allow_pickle=True",
    "from_pretrained": "trust_remote_code=True",
    "subprocess.run": "shell=True",
    "subprocess.Popen": "shell=True",
}


def unsafe(text):
    """The calls in a piece of Python that would run what they read."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name, whole = ast.unparse(node.func), ast.unparse(node)
            for call, part in UNSAFE.items():
                if (name == call or name.endswith(f".{call}")) and (part is None or part in whole):
                    found.append(whole)
    return found


def test_no_code_here_reads_pickles_or_runs_what_it_reads():
    files = tracked("medlib/", "notebooks/", "training/", "benchmarks/", suffix=".py")
    found = {file.name: calls for file in files if (calls := unsafe(file.read_text(encoding="utf-8")))}
    found = {name: [call for call in calls if not call.endswith(".eval()")] for name, calls in found.items()}
    own = "torch.load(path, weights_only=True)"  # where a training of ours stopped; torch builds nothing but tensors
    assert {name: calls for name, calls in found.items() if calls} == {"train.py": [own]}


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(f)",
        "pd.read_pickle(f)",
        "np.load(f, allow_pickle=True)",
        "A.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_such_a_call_would_be_seen(text):
    assert unsafe(text)


@pytest.fixture
def folder(tmp_path):
    tiny_hf("llama").save_pretrained(tmp_path / "model")
    word_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("suffix", loading._PICKLES)
def test_a_pickle_is_opened_neither_in_place_of_weights_nor_beside_them(folder, tmp_path, suffix):
    marker = tmp_path / "ran"
    for name in ("pytorch_model", "optimizer", "training_args", "model", "tokenizer", "special_tokens_map"):
        (folder / f"{name}{suffix}").write_bytes(pickle.dumps(Bomb(marker)))
    assert medlib.load(folder).n_layers == 4
    (folder / "model.safetensors").unlink()
    with pytest.raises(MedlibError, match="only pickled weights.*opens only safetensors"):
        medlib.load(folder)
    assert not marker.exists()
    pickle.loads((folder / f"model{suffix}").read_bytes())
    assert marker.exists()  # the bombs were live


def change(path, **entries):
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **entries}))


def test_code_that_lies_beside_a_model_is_never_run(folder, tmp_path):
    marker = tmp_path / "ran"
    (folder / "mine.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nclass Mine: pass\n")
    names = {
        "AutoModelForCausalLM": "mine.Mine",
        "AutoTokenizer": ["mine.Mine", "mine.Mine"],
        "AutoConfig": "mine.Mine",
    }
    change(folder / "config.json", auto_map=names)
    change(folder / "tokenizer_config.json", auto_map=names, tokenizer_class="Mine")
    change(folder / "generation_config.json", custom_generate="mine")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text((folder / "mine.py").read_text())
    for keywords in ({}, {"offload": "disk", "memory": "64GiB"}):
        try:
            medlib.load(folder, **keywords)
        except MedlibError as error:
            assert "mine" in str(error).lower() or "code" in str(error)
    assert not marker.exists()


def test_a_chat_template_cannot_reach_python(folder):
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{{ messages.__class__.__mro__[1].__subclasses__() }}{{ messages[-1].content }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(MedlibError, match="chat template"):
        medlib.load(folder, chat=True)


# --- notebooks of unknown origin --------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path):
    return fault_house.build_house(tmp_path / "house", ROOT)


def test_no_command_executes_a_notebook_but_the_one_that_was_asked_for(house, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    cell = f"import pathlib\npathlib.Path({str(marker)!r}).touch()"
    parameters = '# %% tags=["parameters"]\nmodel_name = "smollm2-135m"\n'
    (house / "notebooks" / "strange.py").write_text(f"# %%\n{cell}\n\n{parameters}")
    strange = a_notebook("lesion", "smollm2-135m")
    strange.cells.append(new_code_cell(cell, execution_count=9))
    for runs in ("book/runs", "_build/runs"):
        a_run(house / runs, "lesion", "smollm2-135m", strange)
    monkeypatch.chdir(house)
    for command in ("techniques", "status", "record", "pairs", "pairs --write", "map smollm2-135m", "run strang"):
        monkeypatch.setattr(sys, "argv", ["medlib", *command.split()])
        with pytest.raises(SystemExit):
            cli.main()
            raise SystemExit
    assert building.choose(house)[0]
    assert not marker.exists()


def test_parameters_are_read_without_running_them(house, tmp_path):
    marker = tmp_path / "ran"
    text = f'# %% tags=["parameters"]\nmodel_name = __import__("pathlib").Path({str(marker)!r}).touch()\n'
    (house / "notebooks" / "strange.py").write_text(text)
    with pytest.raises(MedlibError, match="must assign one plain value"):
        current.state("strange", "smollm2-135m", house=house)
    assert not marker.exists()


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "..", "a/..", "~root/x", "a\\..\\b", "C:\\x", "x\0y", "-rf", ". ."]
)
def test_a_run_of_any_models_name_writes_in_its_folder_alone(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_RUNS", str(tmp_path / "inner" / "runs"))
    run = medlib.Run("lesion", SimpleNamespace(name=name, device="cpu"), parameters={}, seed=0)
    run.save([{"metric": "kl", "value": 1.0}])
    written = {path.relative_to(tmp_path / "inner" / "runs").parts for path in tmp_path.rglob("lesion.*")}
    assert len(written) == 2 and all(len(parts) == 2 for parts in written)


# --- HTML -------------------------------------------------------------------------------------------------------------


def styled(text):
    frame = pd.DataFrame(
        {"drug": [text], "answer": [f"it treats {text}"], text: [1.0]}, index=pd.Index([text], name=text)
    )
    return frame.style.format(precision=1).to_html()


def test_a_styled_table_of_pandas_would_bring_a_script_and_a_page_takes_it_as_text():
    from bs4 import BeautifulSoup

    for text in (SCRIPT, IMAGE, "<a href='javascript:alert(1)'>x</a>", "<svg onload=alert(1)>", "<iframe src='//x'>"):
        before = BeautifulSoup(styled(text), "html.parser")
        assert before.find(["script", "img", "a", "svg", "iframe"]), "pandas escapes now: this module can go"
        page = BeautifulSoup(safe_html.shown(styled(text)), "html.parser")
        assert {tag.name for tag in page.find_all()} <= safe_html.ALLOWED
        assert not [name for tag in page.find_all() for name in tag.attrs if name.startswith("on")]
        assert page.find("table") and text.split()[0].rstrip(">") in page.find("td").get_text()


def test_a_handler_in_an_attribute_and_a_style_that_loads_are_taken_out():
    assert safe_html.shown('<td onclick="alert(1)" class="a">x</td>') == '<td class="a">x</td>'
    assert safe_html.shown('<td style="background:url(//x)">x</td>') == "<td>x</td>"
    assert "<style>" not in safe_html.shown("<style>@import '//x'</style>")
    assert safe_html.shown("<td>x<!-- [if IE]><script>1</script> --></td>") == "<td>x</td>"


def test_tables_and_figures_of_ours_are_taken_as_they_are():
    from medlib.chapters.patching import token_heat

    frame = pd.DataFrame({"drug": [SCRIPT, "a & b"], "value": [1.0, 2.0]})
    assert safe_html.shown(frame.to_html()) == frame.to_html()  # pandas escapes these itself
    plain = frame.assign(drug=["aspirin", "insulin"]).style.format(precision=2).hide().to_html()
    assert safe_html.shown(plain) == plain
    figure = token_heat.page({"drugs": ([[0.5, 1.0]], [SCRIPT, IMAGE], 3)}, {"drugs": True}, "a-figure")
    assert safe_html.shown(figure) == figure and SCRIPT not in figure


def test_every_output_of_the_recorded_runs_is_taken_as_it_is():
    seen = []
    for file in tracked("book/runs/", suffix=".ipynb"):
        notebook = nbformat.read(file, as_version=4)
        before = [cell.get("outputs") for cell in nbformat.read(file, as_version=4).cells]
        safe_html.make_safe(notebook)
        assert [cell.get("outputs") for cell in notebook.cells] == before, file.name
        seen += [output for outputs in before for output in outputs or [] if "text/html" in output.get("data", {})]
    assert seen


def test_a_run_from_elsewhere_that_was_never_made_safe_is_so_on_its_page(tmp_path):
    plain = {"image/png": "aGk=", "text/plain": SCRIPT}
    outputs = [
        {"text/html": [styled(IMAGE), SCRIPT], **plain},
        {"application/javascript": "window.pwned = 3", **plain},
        {"text/markdown": SCRIPT, "application/vnd.jupyter.widget-view+json": {}, **plain},
        {"application/javascript": "window.pwned = 3"},
        {"application/papermill.record/text/html": IMAGE},
    ]
    notebook = a_notebook("lesion", "smollm2-135m")
    made = [new_output("display_data", data=data) for data in outputs]
    notebook.cells.append(new_code_cell("x", outputs=made, execution_count=5))
    folder = a_run(tmp_path / "runs", "lesion", "smollm2-135m", notebook)
    building._take_in(building.Chapter("smollm2-135m", "lesion", folder), tmp_path / "source")
    page = nbformat.read(tmp_path / "source" / "runs" / "smollm2-135m" / "lesion.ipynb", as_version=4)
    html, script, markdown, alone, glued = (
        output.data for cell in page.cells if cell.source == "x" for output in cell.outputs
    )
    assert "<script" not in html["text/html"] and "<img" not in html["text/html"] and "<table" in html["text/html"]
    assert script == markdown == plain and alone == {"text/plain": ""}
    assert "<img" not in glued["application/papermill.record/text/html"]


def test_a_script_that_says_it_is_plotlys_is_text():
    for html in (
        f"<table><tr><td><script>window.PLOTLYENV=1;{SCRIPT[8:]}</td></tr></table>",
        f'<div><div id="x" class="plotly-graph-div"></div><script>window.PLOTLYENV=1</script>{SCRIPT}</div>',
        '<div><div id="x" class="plotly-graph-div"></div><script src="//x">window.PLOTLYENV=1</script></div>',
    ):
        assert "<script" not in safe_html.shown(html)


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory):
    """The first page of a book of a run in which a drug's name, a generated answer and all else hold scripts."""
    house = fault_house.build_house(tmp_path_factory.mktemp("hostile") / "house", ROOT)
    model = f"m{IMAGE}"
    notebook = a_notebook("lesion", "smollm2-135m", text=f"layer {SCRIPT}", numbers={"drug": IMAGE})
    outputs = [
        new_output("display_data", data={"text/html": styled(text), "text/plain": text}) for text in (SCRIPT, IMAGE)
    ]
    outputs += [
        new_output("stream", text=f"{SCRIPT}{IMAGE}\n"),
        new_output("execute_result", data={"text/plain": SCRIPT}),
    ]
    mark = f"import pathlib\npathlib.Path({str(house / 'ran')!r}).touch()"
    notebook.cells.append(new_code_cell(mark, outputs=outputs, execution_count=5))
    notebook.cells.append(new_markdown_cell("The drug is {glue:text}`drug-lesion-smollm2-135m`."))
    stamp.clean(notebook, house)
    rows = {"metric": "kl", "value": [1.0], "item": SCRIPT, "domain": IMAGE}
    numbers = {"peak_layer": {"value": 1, "text": f"layer {SCRIPT}"}, "drug": {"value": IMAGE, "text": IMAGE}}
    changes = {
        "numbers": numbers,
        "parameters": {"domain": SCRIPT},
        "checks": [{"name": IMAGE, "passed": True, "detail": SCRIPT}],
    }
    a_run(house / "book" / "runs", "lesion", "smollm2-135m", notebook, rows, **changes)
    failed = a_notebook("patching", "smollm2-135m")
    failed.metadata["medlib"] = {"state": "failed", "error": f"ValueError: {SCRIPT}"}
    (house / "_build" / "runs" / paths.slug(model)).mkdir(parents=True)
    nbformat.write(failed, house / "_build" / "runs" / paths.slug(model) / "patching.failed.ipynb")
    return building.build(house)


def test_the_build_of_the_book_executes_no_notebook(hostile_book):
    house = hostile_book.parents[2]
    assert (house / "notebooks").is_dir() and not (house / "ran").exists()


@pytest.mark.parametrize("page", ["runs/smollm2-135m/lesion.html", "record.html", "intro.html"])
def test_a_script_in_a_drugs_name_or_a_generated_answer_is_text_on_the_page(hostile_book, visit, page):
    tab, heard = visit()
    tab.goto((hostile_book.parent / page).as_uri())
    tab.wait_for_load_state("load")
    assert tab.evaluate("window.pwned") is None
    assert not tab.query_selector("article [onerror]")
    text = tab.inner_text("article") + "".join(
        tab.eval_on_selector_all("article *", "all => all.map(x => x.textContent)")
    )
    assert page == "intro.html" or SCRIPT in text


# --- what is written down ---------------------------------------------------------------------------------------------

SECRETS = re.compile(r"\b(hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9]{32,})\b")
ADMIN = "/" + "root"  # in one piece it would be a home of this machine, which no file names
HOMES = re.compile(r"(?<![\w.~-])/(?:root|home/\w+|Users/\w+)(?=[/\s\"'\\]|$)|[A-Z]:\\\\Users\\\\")


def leaks(text):
    """The tokens and homes in a text; most texts hold none of the letters that they begin with."""
    patterns = [SECRETS] * any(start in text for start in ("hf_", "gh", "AKIA", "sk-"))
    patterns += [HOMES] * any(start in text for start in (ADMIN, "/home/", "/Users/", ":\\\\Users"))
    return [match[0] for pattern in patterns for match in pattern.finditer(text)]


def text_of(file):
    """The text in a file; of a table all its cells and what is written in its head."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return f"{table.schema.metadata} {table.select(list(TEXTS)).to_pydict()}"
    text = file.read_bytes().decode("utf-8", "ignore")
    return re.sub(r'"image/(?:png|jpeg)": "[^"]*"', "", text)  # in base64 anything looks like anything


def test_no_token_and_no_home_stands_in_any_record_table_notebook_or_page():
    kinds = (".json", ".ipynb", ".parquet", ".md", ".py", ".toml", ".svg", ".csv", ".js", ".css")
    files = [file for file in tracked("book/", "benchmarks/measured/", "notebooks/") if file.suffix in kinds]
    found = {str(file.relative_to(ROOT)): hits for file in files if (hits := leaks(text_of(file)))}
    assert found == {}


@pytest.mark.parametrize("text", [f"in {ADMIN}/.cache", '"/home/ann/models"', "hf_" + "aB3" * 12, "/Users/ann "])
def test_a_home_or_a_token_would_be_seen(text):
    assert leaks(text)


LEAKY = """# %% [markdown]
# # What leaks?

# %% tags=["parameters"]
model_name = "smollm2-135m"  # any model
where = "good"  # how it ends

# %%
import os, pathlib
from types import SimpleNamespace
import medlib

token, home = os.environ["HF_TOKEN"], str(pathlib.Path.home())
model = SimpleNamespace(name=model_name, source={"id": home}, revision=token, weights_sha256=None, device="cpu")
run = medlib.Run("leaky", model, parameters={"where": where, "home": f"{home}/x", "token": token}, seed=0)
run.check("nothing leaks", passed=True, detail=f"{home} {token}")
run.number("place", f"{home}/data {token}")
run.save([{"metric": "kl", "value": 1.0}])
print(token, home, f"{home}/.cache", os.getcwd())
if where == "bad":
    raise ValueError(f"{home}/.cache/{token}")
"""


@pytest.mark.parametrize("where", ["good", "bad"])
def test_a_run_that_prints_token_and_home_leaves_neither(house, monkeypatch, where):
    token = "hf_" + "aB3" * 12
    monkeypatch.setenv("HF_TOKEN", token)
    (house / "notebooks" / "leaky.py").write_text(LEAKY)
    outcome = execute.run("leaky", "smollm2-135m", {"where": where}, house=house)
    assert (outcome.state == "done") == (where == "good")
    written = list((house / "_build" / "runs").rglob("leaky*"))
    assert len(written) == (3 if where == "good" else 1)
    for file in written:
        text = text_of(file)
        plain = re.sub(r"(?:\\u001b|\x1b)\[[\d;]*m", "", text)
        for said in (text, plain):
            assert token not in said and not leaks(said) and str(house) not in said, file.name
