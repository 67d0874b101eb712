"""The command line: one message and exit code 1 for a mistake, a table and exit code 3 for a failed notebook."""

import shutil
import subprocess
import sys

import pytest
from standins import a_current_run

from medlib import MedlibError, cli
from medlib.book import current, execute
from medlib.models import zoo

QUESTION = "Which layer is odd?"


@pytest.fixture
def medlib(tmp_path, monkeypatch, capsys):
    """The command in a house with one notebook, whose execution is replaced by `outcome`: (exit code, out, err)."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "notebooks" / "tiny.py").write_text(
        f"# %% [markdown]\n# # {QUESTION}\n\n# %% tags=['parameters']\nmodel_name = 'smollm2-135m'\nrows = 2\n"
    )
    monkeypatch.chdir(tmp_path)

    def medlib(*arguments, outcome=("done", 61.2, 3 * 2**29, "")):
        def run(technique, model=None, parameters=None, house=None, profile="full", limit=None, runs=None):
            current.prepare(technique, model, parameters or {}, tmp_path)
            if outcome is KeyboardInterrupt:
                raise KeyboardInterrupt
            return execute.Outcome(technique, model or "smollm2-135m", *outcome)

        monkeypatch.setattr(execute, "run", run)
        monkeypatch.setattr(sys, "argv", ["medlib", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return medlib


def test_a_run_prints_a_table_with_seconds_and_memory(medlib):
    code, out, err = medlib("run", "tiny", "--model", "gemma-3-270m", "-p", "rows=3")
    assert (code, err) == (0, "")
    *table, last = out.strip().splitlines()
    assert " ".join(table).split()[-6:] == ["tiny", "gemma-3-270m", "done", "61", "1.5", "GiB"]
    assert last == "The run: _build/runs/gemma-3-270m/tiny.ipynb; `medlib build` puts it into the book."
    assert "book" not in medlib("run", "tiny", "--runs", "aside")[1]


def test_a_failed_notebook_is_in_the_table_with_its_error_and_the_exit_code_says_so(medlib):
    code, out, err = medlib("run", "tiny", outcome=("failed", 1.0, None, "In [4] ValueError: [bold]boom"))
    assert code == 3
    assert "failed" in out
    assert "_build/runs/smollm2-135m/tiny.failed.ipynb" in err
    assert "ValueError: [bold]boom" in err


def test_the_name_of_a_model_is_printed_as_it_is_whatever_rich_would_take_it_for(medlib, tmp_path):
    for name in ("tiny[v2]", "tiny[", "tiny[/b]", ":lock:"):
        (tmp_path / name).mkdir()
        code, out, err = medlib("run-all", "--models", f"./{name}")
        assert (code, err) == (0, f"running tiny on ./{name} ...\n")
        assert f"./{name} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tin"], ["no technique 'tin'", "Did you mean 'tiny'"]),
        (["run", "tiny", "--model", "./nowhere"], ["no folder ./nowhere"]),
        (["run", "tiny", "--model", "smolm2-135m"], ["no model 'smolm2-135m'", "Near names: smollm2-135m"]),
        (["run", "tiny", "-p", "row=3"], ["no parameter 'row'", "rows = 2"]),
        (["run", "tiny", "-p", "rows=many"], ["must be a whole number", "'many'"]),
        (["run", "tiny", "-p", "rows"], ["NAME=VALUE", "'rows'"]),
        (["run-all", "--models", "smollm2-135m nosuch"], ["no model 'nosuch'"]),
        (["pairs"], ["Not the same in .py and .ipynb: tiny", "make pair"]),
    ],
)
def test_a_mistake_is_one_message_on_stderr_and_exit_code_1(medlib, arguments, words):
    code, out, err = medlib(*arguments)
    assert (code, out) == (1, "")
    assert all(word in err for word in words)
    assert "Traceback" not in err


def test_of_a_run_that_is_current_it_is_said_where_it_lies_here_or_in_the_book(medlib, tmp_path):
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    for place, folder in (("book", "book/runs"), ("_build", "_build/runs")):
        a_current_run(tmp_path, place, technique="tiny")
        code, out, _ = medlib("run", "tiny", "--unless-current")
        assert code == 0 and f"The run: {folder}/smollm2-135m/tiny.ipynb;" in out
        shutil.rmtree(tmp_path / folder)


def test_run_all_says_what_it_runs_and_ends_with_the_table(medlib):
    code, out, err = medlib("run-all", "--models", "smollm2-135m gemma-3-270m")
    assert code == 0
    assert err.splitlines() == ["running tiny on smollm2-135m ...", "running tiny on gemma-3-270m ..."]
    assert out.count("done") == 2
    assert medlib("run-all", outcome=("failed", 1.0, None, "boom"))[0] == 3


def test_an_interrupt_of_run_all_prints_what_was_done_and_exits_130(medlib):
    code, out, err = medlib("run-all", outcome=KeyboardInterrupt)
    assert code == 130
    assert "technique" in out
    assert "the others are kept" in err


def test_an_interrupted_run_says_so_and_exits_130(medlib):
    code, _, err = medlib("run", "tiny", outcome=KeyboardInterrupt)
    assert code == 130 and "this run is lost" in err


def test_techniques_are_listed_with_their_question_and_models_with_what_they_need(medlib):
    assert QUESTION in medlib("techniques")[1]
    out = medlib("models")[1]
    assert all(name in out for name in zoo.names())


def test_status_is_the_matrix_of_chapters_models_and_profiles_with_the_reasons(medlib, tmp_path):
    out = medlib("status")[1]
    assert "profile full" in out and "profile quick" in out and "Nothing was run yet" in out and "stale" not in out
    folder = tmp_path / "_build" / "runs" / "smollm2-135m"
    folder.mkdir(parents=True)
    (folder / "tiny.parquet").touch()
    code, out, _ = medlib("status")
    assert code == 0 and "stale" in out and "its files do not belong together" in out and "Nothing was" not in out


def test_status_says_what_a_model_lacks_here(medlib):
    (line,) = [line for line in medlib("status")[1].splitlines() if "llama-3.3-70b" in line]
    assert "141 GB from the Hub, with an accepted licence and a token" in line


def test_pairs_are_written_then_agree(medlib, tmp_path):
    code, out, _ = medlib("pairs", "--write")
    assert code == 0
    assert out.splitlines() == ["wrote notebooks/tiny.ipynb", "Every notebook and its pair agree."]
    assert medlib("pairs")[0] == 0


def test_build_prints_where_the_book_is_and_passes_on_what_was_refused(medlib, monkeypatch):
    from medlib.book import building

    monkeypatch.setattr(building, "build", lambda root: root / "_build" / "html" / "index.html")
    assert medlib("build")[1].strip().endswith("_build/html/index.html")

    def refuse(root):
        raise MedlibError("lesion on tiny: cell 3 was not executed")

    monkeypatch.setattr(building, "build", refuse)
    assert medlib("build")[::2] == (1, "lesion on tiny: cell 3 was not executed\n")


def test_nothing_to_record_is_said(medlib):
    assert "Nothing to record" in medlib("record")[1]


def test_the_command_starts_without_loading_torch():
    code = "import sys, medlib.cli, medlib.book.execute, medlib.models.zoo; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
