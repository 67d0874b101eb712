"""A picture and a question become the model's inputs, and every image token knows its pixels of the original."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import vision_models
from conftest import tiny_model
from PIL import Image
from vision_models import FAMILIES, PATCH, SIDE, picture, tiny

from medlib import MedlibError
from medlib.vision import View, image_prompt, read_picture
from medlib.vision.inputs import answer_id, pixels_of
from medlib.vision.view import find_grid


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [True, False])
def test_the_inputs_are_the_processors_own_and_each_token_is_image_or_word(family, template):
    model = tiny(family, template=template)
    prompt = image_prompt(model, picture(), "w1 w2", reply=" w3")
    ids = prompt.inputs["input_ids"][0]
    assert prompt.view.grid == (SIDE // PATCH, SIDE // PATCH)
    assert (ids[prompt.image] == 3).all()
    assert sorted([*prompt.image, *prompt.words]) == list(range(prompt.length))
    assert (ids == model.tokenizer.bos_token_id).sum() == int(template)  # the bare tokenizer adds none
    assert model.tokenizer.decode(ids[-1]) == "w3"
    assert prompt.inputs["pixel_values"].shape == (1, 3, SIDE, SIDE)
    own = model.processor(images=[picture()], text=prompt.text, return_tensors="pt", add_special_tokens=prompt.special)
    assert all((prompt.inputs[name] == own[name]).all() for name in own)
    model.hf(**prompt.inputs)


@pytest.mark.parametrize(
    ("family", "padding", "height", "width", "origin", "cell"),
    [
        ("llava", False, 40, 40, (0, 0), (10, 10)),
        ("llava", False, 64, 128, (0, 32), (16, 16)),  # the shorter side is resized, the rest cropped
        ("llava", False, 128, 64, (32, 0), (16, 16)),
        ("llava", False, 8, 8, (0, 0), (2, 2)),  # enlarged
        ("llava", True, 64, 128, (-32, 0), (32, 32)),  # padded to a square above and below
        ("llava", True, 300, 200, (0, -50), (75, 75)),
        ("gemma3", False, 64, 128, (0, 0), (16, 32)),  # squeezed
    ],
)
def test_the_view_undoes_resize_crop_and_padding(family, padding, height, width, origin, cell):
    view = image_prompt(tiny(family, padding=padding), picture(height, width), "w1").view
    assert view.origin == pytest.approx(origin, abs=0.01 * max(height, width))
    assert view.cell == pytest.approx(cell, abs=0.01 * max(height, width))


@pytest.mark.parametrize(("family", "padding"), [("llava", False), ("llava", True), ("gemma3", False)])
@pytest.mark.parametrize(("height", "width"), [(64, 128), (160, 80)])
def test_a_marked_patch_is_mapped_back_to_the_pixels_that_it_came_from(family, padding, height, width):
    """Each token's pixels, found by changing the original there, are those that its box says."""
    model = tiny(family, padding=padding)
    prompt = image_prompt(model, picture(height, width), "w1")
    grey = Image.new("RGB", (width, height), (100, 100, 100))
    plain = pixels_of(model, grey)[0].mean(0).numpy()
    for number in np.flatnonzero(prompt.view.in_picture().ravel()):
        marked = np.asarray(grey).copy()
        marked[prompt.view.tokens == number] = 255
        change = np.abs(pixels_of(model, Image.fromarray(marked))[0].mean(0).numpy() - plain)
        by_token = change.reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).mean((1, 3))
        assert by_token.argmax() == number
        assert by_token.ravel()[number] > 0.7 * by_token.sum()


def test_maps_go_to_the_picture_and_regions_to_the_grid():
    view = View(grid=(2, 2), size=(4, 10), origin=(0.0, 3.0), cell=(2.0, 2.0))
    shown = view.to_picture([[1, 2], [3, 4]])
    assert np.isnan(shown[:, [0, 1, 2, 7, 8, 9]]).all()
    assert shown[:, 3:7].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    region = np.zeros((4, 10))
    region[0, 3] = region[2:, 5:] = 1
    assert view.to_grid(region).tolist() == [[0.25, 0], [0, 1]]
    padded = View(grid=(2, 1), size=(2, 2), origin=(-2.0, 0.0), cell=(2.0, 2.0))
    assert padded.in_picture().tolist() == [[False], [True]]
    assert padded.boxes().tolist() == [[[-2, 0, 0, 2]], [[0, 0, 2, 2]]]
    with pytest.raises(MedlibError, match="a finite number for each"):
        view.to_picture([[1, 2]])
    with pytest.raises(MedlibError, match="they must agree"):
        view.to_grid(np.zeros((2, 2)))


@pytest.mark.parametrize(("count", "size", "grid"), [(576, (336, 336), (24, 24)), (8, (20, 40), (2, 4))])
def test_a_count_of_tokens_makes_a_grid_of_square_cells(count, size, grid):
    assert find_grid(count, *size) == grid


@pytest.mark.parametrize("count", [0, 12, 577])
def test_a_count_that_makes_no_grid_is_refused(count):
    with pytest.raises(MedlibError, match="make no grid"):
        find_grid(count, 336, 336)


def test_a_class_token_among_the_patches_is_refused():
    model = tiny()
    model.processor.vision_feature_select_strategy = "full"
    with pytest.raises(MedlibError, match="17 image tokens make no grid"):
        image_prompt(model, picture(), "w1")


def test_a_picture_cut_into_tiles_is_refused():
    model = tiny("gemma3")
    model.processor.image_processor.do_pan_and_scan = True
    model.processor.image_processor.pan_and_scan_min_crop_size = 8
    model.processor.image_processor.pan_and_scan_max_num_crops = 2
    model.processor.image_processor.pan_and_scan_min_ratio_to_activate = 1.2
    with pytest.raises(MedlibError, match="one whole picture"):
        image_prompt(model, picture(32, 128), "w1")


def test_a_processor_that_turns_the_picture_over_is_refused():
    model = tiny()
    own = model.processor.image_processor.preprocess

    def upside_down(images, **keywords):
        return own([image.transpose(Image.FLIP_TOP_BOTTOM) for image in images], **keywords)

    model.processor.image_processor.preprocess = upside_down
    with pytest.raises(MedlibError, match="more to a picture than"):
        image_prompt(model, picture(), "w1")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("question", ["w1 <image> w2", "what is <image>?"])
def test_a_question_with_the_placeholder_is_refused(family, question):
    with pytest.raises(MedlibError, match="stands for the image"):
        image_prompt(tiny(family), picture(), question)


@pytest.mark.parametrize("question", ["", "  ", None, ["w1"]])
def test_a_question_must_be_a_text(question):
    with pytest.raises(MedlibError, match="The question is"):
        image_prompt(tiny(), picture(), question)


def test_a_text_only_model_and_a_missing_processor_are_refused():
    with pytest.raises(MedlibError, match="reads text only"):
        image_prompt(tiny_model("llama"), picture(), "w1")
    model = tiny()
    for half in (None, model.tokenizer, model.processor.image_processor):
        model.processor = half
        with pytest.raises(MedlibError, match="without an image processor"):
            image_prompt(model, picture(), "w1")


def test_a_prompt_is_shown_by_its_text():
    prompt = image_prompt(tiny(), picture(), "w1")
    assert repr(prompt) == f"ImagePrompt({prompt.text!r}, {prompt.length} tokens)"


def test_a_reply_must_be_a_text_without_the_placeholder():
    with pytest.raises(MedlibError, match="The reply is None"):
        image_prompt(tiny(), picture(), "w1", reply=None)
    with pytest.raises(MedlibError, match="stands for the image"):
        image_prompt(tiny(), picture(), "w1", reply=" <image>")


def test_a_template_that_takes_a_text_only_gets_the_placeholder_in_it():
    model = tiny()
    model.processor.chat_template = "{% for m in messages %}<user> {{ m['content'] | trim }} {% endfor %}<reply>"
    assert image_prompt(model, picture(), "w1").text == "<user> <image>\nw1 <reply>"
    model.processor.chat_template = "{{ raise_exception('no pictures') }}"
    with pytest.raises(MedlibError, match="no pictures"):
        image_prompt(model, picture(), "w1")


def test_a_prompt_must_fit_the_context():
    with pytest.raises(MedlibError, match="does not fit"):
        image_prompt(tiny(), picture(), "w1 " * 200)


def test_the_answers_token_is_the_first_after_the_prompt():
    model = tiny()
    prompt = image_prompt(model, picture(), "w1")
    assert answer_id(model, prompt, " w5 w6") == answer_id(model, prompt, 13) == 13
    for answer, message in [
        (64, "no token 64"),
        (-1, "no token -1"),
        ("", "give a text"),
        (None, "give a text"),
        (True, "give a text"),
        (["w5"], "give a text"),
        ("w5", "melts into"),
        (" effusion", "does not know ' effusion'"),
    ]:
        with pytest.raises(MedlibError, match=message):
            answer_id(model, prompt, answer)


def test_the_tiny_processors_are_of_both_families():
    assert {type(vision_models.processor(family)).__name__ for family in FAMILIES} == {
        "LlavaProcessor",
        "Gemma3Processor",
    }


def test_pictures_of_any_kind_become_rgb(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    for image in (grey, grey[..., None], np.stack([grey] * 3, -1), grey / 255, Image.fromarray(grey), [grey]):
        assert (np.asarray(read_picture(image)) == grey[..., None]).all()
    deep = Image.fromarray(grey.astype(np.uint16) * 200)
    assert np.asarray(read_picture(deep)).max() == 255
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (np.asarray(read_picture(clear)) == 255).all()
    turned = Image.fromarray(grey)
    exif = turned.getexif()
    exif[274] = 6  # a camera held upright
    turned.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(str(tmp_path / "turned.png")).size == (3, 4)


def test_files_of_every_depth_and_colour_become_rgb(tmp_path):
    """16 bits are scaled to their range; a palette, CMYK, one bit and a transparent edge give the colours they show."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    plain = Image.fromarray(colours)
    grey = np.asarray(plain.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 200)
    scaled = np.round((grey - float(grey.min())) / np.ptp(grey) * 255)
    for name in ("deep.png", "deep.tif"):
        deep.save(tmp_path / name)
        assert np.abs(np.asarray(read_picture(tmp_path / name))[..., 0] - scaled).max() <= 1
    few = plain.quantize(4)
    few.save(tmp_path / "palette.png")
    assert (np.asarray(read_picture(tmp_path / "palette.png")) == np.asarray(few.convert("RGB"))).all()
    plain.convert("CMYK").save(tmp_path / "ink.tif")
    assert np.abs(np.asarray(read_picture(tmp_path / "ink.tif")).astype(int) - colours).max() <= 1
    plain.convert("1").save(tmp_path / "line.png")
    assert set(np.unique(np.asarray(read_picture(tmp_path / "line.png")))) == {0, 255}
    half = np.dstack([colours, np.full((6, 5), 128, np.uint8)])
    Image.fromarray(half).save(tmp_path / "half.png")
    expected = colours * (128 / 255) + 255 * (127 / 255)  # on white
    assert np.abs(np.asarray(read_picture(tmp_path / "half.png")) - expected).max() <= 2
    assert (np.asarray(read_picture(colours[None])) == colours).all()  # a batch of one


@pytest.mark.parametrize("ending", ["gif", "png", "tif", "webp"])
def test_a_file_of_several_frames_is_several_images(tmp_path, ending):
    frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 90, 250)]
    path = tmp_path / f"film.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(MedlibError, match="holds 3 frames where one image is needed"):
        read_picture(path)
    with Image.open(path) as opened, pytest.raises(MedlibError, match="holds 3 frames"):
        read_picture(opened)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_file_cut_short_is_refused_by_its_path_and_opened(tmp_path, ending):
    picture().save(tmp_path / f"whole.{ending}")
    whole = (tmp_path / f"whole.{ending}").read_bytes()
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MedlibError, match="cannot be read as an image .*truncated"):
        read_picture(path)
    with Image.open(path) as opened, pytest.raises(MedlibError, match="The picture cannot be read as an image"):
        read_picture(opened)


def test_a_path_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("a lesion")
    for path, message in [
        (tmp_path, "is a folder where a file is needed"),
        (tmp_path / "empty.png", "cannot be read as an image"),
        (tmp_path / "notes.txt", "cannot be read as an image"),
        ("x" * 5000, "cannot be opened"),
        ("https://example.org/scan.png", "no image file"),
    ]:
        with pytest.raises(MedlibError, match=message):
            read_picture(path)


def test_a_huge_picture_is_refused_before_it_is_read(tmp_path, monkeypatch):
    picture(40, 40).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(MedlibError, match="too large to be read .* Scale it down"):
        read_picture(tmp_path / "huge.png")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_too_small_for_its_tokens_is_refused_and_the_smallest_is_mapped(family, dtype):
    model = tiny(family, dtype=dtype)
    for size in ((1, 1), (1, 40), (40, 4)):
        with pytest.raises(MedlibError, match="too small .* at least 5 a side"):
            image_prompt(model, picture(*size), "w1")
    view = image_prompt(model, picture(5, 5), "w1").view
    assert view.origin == pytest.approx((0, 0), abs=0.05)
    assert view.cell == pytest.approx((1.25, 1.25), rel=0.02)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "No image"),
        ([], "0 images"),
        ([np.zeros((2, 2)), np.zeros((2, 2))], "2 images"),
        (np.zeros((2, 4, 4, 3)), "2 images where one"),
        (np.zeros((2, 2, 5)), "no image"),
        (np.full((2, 2), 300), "must lie in 0..255"),
        (np.full((2, 2), 2.0), "must lie in 0..1"),
        (np.full((2, 2), np.nan), "must lie in 0..1"),
        ({"a": 1}, "no image"),
        (np.full((2, 2), np.inf), "must lie in 0..1"),
        (np.full((2, 2), -1), "must lie in 0..255"),
        (np.full((2, 2), 4000, np.uint16), "must lie in 0..255"),
        (np.ones((2, 2), bool), "no image"),
        (np.ones((2, 2), complex), "no image"),
        (np.zeros(5), "no image"),
        (np.zeros((0, 4)), "no image"),
        (np.zeros((3, 40, 40), np.uint8), "no image"),
        (np.zeros((4, 4, 4), np.uint8), "no image"),
        (7, "no image"),
        (b"png", "no image"),
        (torch.zeros(4, 4).bfloat16(), "no image"),
        (Image.new("RGB", (0, 0)), "0 x 0 pixels"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "NaN or infinite"),
        ("nowhere.png", "no image file"),
    ],
)
def test_what_is_no_single_picture_is_refused(image, message):
    with pytest.raises(MedlibError, match=message):
        read_picture(image)


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(MedlibError, match="cannot be read as an image"):
        read_picture(tmp_path / "broken.png")


class Dicom(SimpleNamespace):
    """As much of a DICOM data set as is read."""

    def __contains__(self, name):
        return hasattr(self, name)


def dicom(monkeypatch, path, **fields):
    """A file whose beginning is a DICOM's, and a stand-in for pydicom that finds these fields in it."""
    path.write_bytes(b"\0" * 128 + b"DICM")
    same = SimpleNamespace(apply_voi_lut=lambda pixels, file: pixels, apply_modality_lut=lambda pixels, file: pixels)
    file = Dicom(**dict(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2") | fields)
    monkeypatch.setitem(sys.modules, "pydicom", SimpleNamespace(dcmread=lambda path: file, pixels=same))
    monkeypatch.setitem(sys.modules, "pydicom.pixels", same)
    return path


def test_a_dicom_is_scaled_to_its_range_and_turned_bright_where_it_is_dense(monkeypatch, tmp_path):
    deep = np.array([[-1000, 0], [1000, 3000]])
    fields = dict(PixelData=b"", pixel_array=deep)
    plain = np.asarray(read_picture(dicom(monkeypatch, tmp_path / "scan", **fields)))[..., 0]
    assert plain.tolist() == [[0, 64], [128, 255]]
    inverted = dicom(monkeypatch, tmp_path / "scan", **fields, PhotometricInterpretation="MONOCHROME1")
    assert (np.asarray(read_picture(inverted))[..., 0] == 255 - plain).all()


def test_a_dicom_without_pixels_or_with_many_frames_or_without_pydicom_is_refused(monkeypatch, tmp_path):
    with pytest.raises(MedlibError, match="without pixels"):
        read_picture(dicom(monkeypatch, tmp_path / "report.dcm"))
    film = dict(PixelData=b"", pixel_array=np.zeros((3, 2, 2)), NumberOfFrames="3")
    with pytest.raises(MedlibError, match="3 frames"):
        read_picture(dicom(monkeypatch, tmp_path / "film.dcm", **film))
    colours = dict(PixelData=b"", pixel_array=np.zeros((2, 2)), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(MedlibError, match="numbers of a palette"):
        read_picture(dicom(monkeypatch, tmp_path / "doppler.dcm", **colours))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MedlibError, match="install pydicom>=3"):
        read_picture(tmp_path / "film.dcm")
