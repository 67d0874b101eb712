"""Whatever file is damaged, a command goes on without it or stops with a message that names it."""

import errno
import json
import os
import shutil
import subprocess

import nbformat
import pytest
from standins import a_notebook, a_run

from medlib import MedlibError, cli
from medlib.book import at_hand, building, caches, current, disk, execute, forms, jobs, leash, matrix, pairs, profiles
from medlib.book.pages import fault_pages, speed_pages
from medlib.book.reproduction import rerun
from medlib.models import embedded, hashes, zoo

MODEL = "smollm2-135m"
NOTEBOOK = '# %% [markdown]\n# # A question?\n\n# %% tags=["parameters"]\nmodel_name = "smollm2-135m"\nrows = 2\n'
APART = [("stale", ["its files do not belong together"])]
RUBBISH = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "rubbish": lambda whole: b"\xff\0[",
}
RUBBISH |= {"list": lambda whole: b"[]", "object": lambda whole: b"{}"}


@pytest.fixture
def house(tmp_path):
    """A house with a chapter, which has a run here and the same in the book."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "lesion.py").write_text(NOTEBOOK)
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    (tmp_path / "_toc.yml").write_text("root: intro\nparts: []\n")
    for runs in ("_build/runs", "book/runs"):
        a_run(tmp_path / runs, "lesion", MODEL)
    return tmp_path


def asked(house):
    """What the commands that read runs make of them: the book's chapters, their cells, and that the others go on."""
    execute.kept("lesion", MODEL, house=house)
    current.state("lesion", MODEL, house=house)
    wanted = jobs.Matrix({"profile": "full", "techniques": "lesion"}, house)
    assert [cell.technique for cell in wanted.to_do()] == ["lesion"]
    assert wanted.needs(jobs.Cell("lesion", MODEL))["runtime"] >= jobs.LEAST
    (cell,) = [c for c in matrix.matrix(house) if (c.model, c.profile) == (MODEL, "full")]
    return cell


def change(house, edit, runs="_build/runs"):
    path = house / runs / MODEL / "lesion.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", RUBBISH)
@pytest.mark.parametrize("part", [".parquet", ".ipynb", ".json"])
def test_a_damaged_run_here_counts_as_not_there_and_the_books_is_taken(house, part, how):
    path = house / "_build" / "runs" / MODEL / f"lesion{part}"
    path.write_bytes(RUBBISH[how](path.read_bytes()))
    assert [asked(house).here] == APART
    (chapter,), failed = building.choose(house)
    assert chapter.folder == house / "book" / "runs" / MODEL
    assert failed == [(MODEL, "lesion", "its files are not those of one execution")]


@pytest.mark.parametrize("part", [".parquet", ".ipynb", ".json"])
def test_a_damaged_run_of_the_book_is_named_by_build_and_the_others_go_on(house, part):
    path = house / "book" / "runs" / MODEL / f"lesion{part}"
    path.write_bytes(path.read_bytes()[:300])
    assert [asked(house).committed] == APART
    with pytest.raises(MedlibError, match=f"lesion on {MODEL}: its files are not those of one execution"):
        building.choose(house)


@pytest.mark.parametrize("how", RUBBISH)
def test_of_a_damaged_failed_run_is_said_that_it_failed(house, how):
    path = house / "_build" / "runs" / MODEL / "lesion.failed.ipynb"
    path.write_bytes(RUBBISH[how](nbformat.writes(a_notebook("lesion", MODEL)).encode()))
    why = "it failed, and lesion.failed.ipynb, which says why, is damaged"
    assert current.state("lesion", MODEL, house=house) == ("failed", [why])
    assert asked(house).here == ("failed", [why])
    assert building.choose(house)[1] == [(MODEL, "lesion", why)]


KEYS = ("finished", "model", "sources", "checks", "numbers", "run", "seconds", "parameters")


@pytest.mark.parametrize("key", KEYS)
def test_a_record_that_lacks_a_key_or_has_another_kind_there_is_damaged(house, key):
    change(house, lambda record: record.update({key: None}))
    assert [asked(house).here] == APART
    change(house, lambda record: record.pop(key))
    assert [asked(house).here] == APART
    assert building.choose(house)[1] == [(MODEL, "lesion", "its files are not those of one execution")]


def test_a_record_that_names_no_file_makes_no_run_of_those_beside_it(house):
    change(house, lambda record: record["run"].update(files={}))
    (house / "_build" / "runs" / MODEL / "lesion.parquet").write_bytes(b"half")
    assert forms.complete(house / "_build" / "runs" / MODEL, "lesion") is None


FORMS = {"record": [None, "1", 2, 0, [1]], "schema": [None, "2b", 2, 0]}


@pytest.mark.parametrize(("key", "form"), [(key, form) for key, of_key in FORMS.items() for form in of_key])
@pytest.mark.parametrize("lacks", ["seed", "model", "sources"])
def test_a_record_of_another_form_is_told_by_its_form_and_not_read_on(house, key, form, lacks):
    def edit(record):
        record.update({key: form})
        del record[lacks]

    change(house, edit)
    state, (why,) = asked(house).here
    assert state == "stale" and f"its {'table' if key == 'schema' else 'record'} has the form" in why
    ((_, _, refused),) = building.choose(house)[1]
    later = form == 2
    assert "this medlib reads 1" in refused
    assert ("made by a later medlib" in refused) == later and ("the page on upgrading" in refused) != later


# --- caches and weights -----------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.mark.parametrize("content", ["[]", "null", "", '{"a"', '{"FILE": null}', '{"FILE": [1, 2]}'])
def test_a_damaged_list_of_hashes_is_made_anew(cache, tmp_path, content):
    (tmp_path / "tiny").mkdir()
    weights = tmp_path / "tiny" / "model.safetensors"
    weights.write_bytes(b"weights")
    (cache / "hashes.json").write_text(content.replace("FILE", str(weights)))
    assert at_hand.weights_sha256(str(weights.parent)) == embedded.sha256(weights)
    assert hashes.sha256(weights) == embedded.sha256(weights)


@pytest.mark.parametrize("content", ["[]", "null", '{"files": []}', '{"files": {}}', '{"files": {"a": 1}}', '{"fi'])
def test_a_damaged_list_of_converted_weights_makes_them_be_converted_anew(cache, content):
    kept = embedded._kept(zoo.entry(MODEL))
    kept.mkdir()
    (kept / embedded.RECORD).write_text(content)
    assert caches.mend_lists() == [embedded.RECORD] and not embedded._sound(kept)


@pytest.mark.parametrize("how", ["cut", "empty", "rubbish"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_compiled_function_is_compiled_anew(cache, tmp_path, suffix, how):
    folder = cache / "numba" / "m_1"
    folder.mkdir(parents=True)
    files = {kind: folder / f"m.f-2.py311{kind}" for kind in (".nbi", ".nbc")}
    for file in files.values():
        file.write_bytes(b"compiled code")
    caches.seal_compiled()
    assert caches.mend_compiled() == []
    files[suffix].write_bytes(RUBBISH[how](b"compiled code"))
    assert caches.mend_compiled() == [files[suffix].name]
    assert [kind for kind, file in files.items() if file.exists()] == [kind for kind in files if kind != suffix]
    (cache / "numba" / "sealed.json").write_text("[")
    assert len(caches.mend_compiled()) == 1 and caches.mend_compiled() == []


@pytest.mark.parametrize("content", ['{"weight_map": {"a": "mod', "[]", "{}", '{"weight_map": 3}', ""])
def test_a_damaged_index_of_weights_is_what_is_missing(cache, tmp_path, content):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(content)
    assert at_hand.weights_sha256(str(folder)) is None
    assert "model.safetensors.index.json is damaged" in at_hand.missing(str(folder))


# --- pages, settings, notebooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [how for how in RUBBISH if how != "list"])
def test_a_damaged_report_of_the_reproduction_is_named(tmp_path, how):
    report = tmp_path / rerun.REPORT
    report.write_bytes(RUBBISH[how](b'[{"technique": "lesion", "model": "m"}]'))
    with pytest.raises(MedlibError, match="reproduction.json is damaged .* or delete it"):
        rerun.read(report)
    report.write_text('[{"technique": "lesion"}]')
    with pytest.raises(MedlibError, match="an entry lacks"):
        rerun.read(report)


@pytest.mark.parametrize("name", ["faults", *speed_pages.MEASURED])
@pytest.mark.parametrize("content", [b'{"machine": ', b"[]", b"", b"\xff", b'{"jobs": 3, "kills_run": 3}'])
def test_a_damaged_measurement_is_named(tmp_path, name, content):
    (tmp_path / f"{name}.json").write_bytes(content)
    with pytest.raises(MedlibError, match=f"benchmarks/measured/{name}.json is damaged .* with git"):
        (fault_pages if name == "faults" else speed_pages).write(tmp_path, tmp_path)


@pytest.mark.parametrize("file", ["_toc.yml", "_config.yml"])
@pytest.mark.parametrize("content", [b"a: [b", b"", b"\xff\xfe", b"[]", b"\0"])
def test_broken_settings_of_the_book_are_named(house, file, content):
    (house / "_config.yml").write_text("title: A book\n")
    (house / file).write_bytes(content)
    with pytest.raises(MedlibError, match=rf"(?s)^{file} .*earlier one"):
        building.assemble(house)


def test_a_list_of_contents_without_parts_is_named(house):
    (house / "_config.yml").write_text("title: A book\n")
    (house / "_toc.yml").write_text("parts: 3")
    with pytest.raises(MedlibError, match="_toc.yml has no list of `parts`"):
        building.assemble(house)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b'# %% tags=["parameters"]\nmodel_name = (\n',
        b'# %% tags=["parameters"\nmodel_name = "m"\n',
        b'# %% tags=["parameters"]\nmodel_name = "m"\0\n',
        b"",
    ],
)
def test_a_damaged_notebook_is_named(house, content):
    (house / "notebooks" / "lesion.py").write_bytes(content)
    with pytest.raises(MedlibError, match=r"notebooks/lesion\.py"):
        current.prepare("lesion", MODEL, {}, house)


@pytest.mark.parametrize("how", RUBBISH)
def test_a_damaged_pair_is_no_pair_and_is_written_anew(house, how):
    path = house / "notebooks" / "lesion.ipynb"
    path.write_bytes(RUBBISH[how](pairs.as_ipynb(NOTEBOOK).encode()))
    with pytest.raises(MedlibError, match=r"notebooks/lesion\.ipynb cannot be read as a notebook"):
        pairs.read(path)
    assert pairs.different(house) == pairs.write(house) == ["lesion"]
    assert pairs.different(house) == []


@pytest.mark.parametrize("content", [b"[lesion", b"\xff", b"lesion = 3"])
def test_a_broken_quick_profile_is_named(house, content):
    (house / "notebooks" / "quick.toml").write_bytes(content)
    with pytest.raises(MedlibError, match=r"notebooks/quick\.toml"):
        profiles.parameters("quick", "lesion", house)


# --- a disk that is full ----------------------------------------------------------------------------------------------


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_of_a_full_disk_is_said_which_file_it_was_and_what_to_do(house, monkeypatch, capsys):
    target = house / "_build" / "runs" / MODEL / "lesion.failed.ipynb"
    monkeypatch.setattr("medlib.paths.write_atomically", full)

    def app():
        execute._keep_failed(a_notebook("lesion", MODEL), "ValueError: no", "full", target, house)

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith(f"{target} cannot be read or written: No space left on device. Make room on its disk")


def test_of_a_folder_that_is_not_copied_for_want_of_room_the_first_file_is_named():
    def copy():
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device"), ("c", "d", "x")])

    with pytest.raises(OSError, match="No space left") as error, disk.named("source"):
        copy()
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, "b")


def test_a_build_that_ends_for_want_of_room_says_so(tmp_path, monkeypatch):
    said = "Exception occurred:\nOSError: [Errno 28] No space left on device\nA bug report can be filed. Thanks!"
    done = subprocess.CompletedProcess([], 2, "", said)
    monkeypatch.setattr(leash, "run", lambda *arguments, **options: done)
    with pytest.raises(OSError, match="No space left") as error:
        building._sphinx(tmp_path / "source", tmp_path / "html", tmp_path / "doctrees")
    assert error.value.filename == str(tmp_path / "html")
