"""Chapters on pictures are run on models that read them, and on no others."""

import pytest

from medlib import MedlibError
from medlib.book import execute, fitting, pairs
from medlib.models import zoo

TEXT = '# %% tags=["parameters", "remove-cell"]\nmodel_name = "a-model"  # any\n'
IMAGES = TEXT.replace('"remove-cell"', '"remove-cell", "images"')


@pytest.fixture
def notebook(tmp_path):
    def read(text, name="chapter"):
        path = tmp_path / f"{name}.py"
        path.write_text(f"# %% [markdown]\n# # A question?\n\n{text}")
        return pairs.read(path)

    return read


def test_a_chapter_on_text_is_for_every_model_but_one_made_around_another(notebook, monkeypatch):
    text = notebook(TEXT)
    assert fitting.is_for(text, "smollm2-135m") and fitting.is_for(text, "medgemma-4b")
    assert fitting.is_for(text, "lab/its-own")
    entries = {"outer": {"modality": "image and text", "wheel": {"around": "inner"}}}
    monkeypatch.setattr(zoo, "names", lambda: list(entries))
    monkeypatch.setattr(zoo, "entry", entries.__getitem__)
    assert not fitting.is_for(text, "outer") and fitting.is_for(notebook(IMAGES), "outer")


def test_a_chapter_on_pictures_is_for_models_that_read_them_and_for_those_nobody_knows(notebook):
    images = notebook(IMAGES)
    assert fitting.about_images(images) and not fitting.about_images(notebook(TEXT))
    assert fitting.is_for(images, "llava-med-7b") and fitting.is_for(images, "lab/its-own")
    assert not fitting.is_for(images, "smollm2-135m")


@pytest.mark.parametrize(("config", "fits"), [('{"vision_config": {}}', True), ("{}", False), ("[broken", True)])
def test_of_a_folder_its_config_says_what_the_model_reads(notebook, tmp_path, config, fits):
    (tmp_path / "config.json").write_text(config)
    images, folder = notebook(IMAGES), str(tmp_path)
    assert fitting.is_for(images, folder) is fits and fitting.is_for(notebook(TEXT), folder)
    if not fits:
        with pytest.raises(MedlibError, match="reads text only"):
            fitting.check(images, "chapter", folder)


def test_run_all_leaves_out_what_is_not_for_a_model_and_run_refuses_it(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "pictures.py").write_text(f"# %% [markdown]\n# # Which?\n\n{IMAGES}")
    assert list(execute.run_all(["pictures"], ["smollm2-135m", "gemma-3-270m"], tmp_path)) == []
    with pytest.raises(MedlibError, match="is about pictures, and smollm2-135m reads text only. Take medgemma-4b"):
        execute.run("pictures", "smollm2-135m", house=tmp_path)
