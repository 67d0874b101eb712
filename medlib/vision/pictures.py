"""Pictures as they come: a PIL image, an array, a file, or a DICOM file; all become one RGB picture.

A DICOM needs pydicom, which is no dependency: it is asked for when the first DICOM is read.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medlib.errors import MedlibError

ALLOWED = "a PIL image, an array [height, width] or [height, width, 3], or the path of a picture or a DICOM file"


def read_picture(image):
    """One picture as RGB, from a PIL image, an array, or the path of a picture or a DICOM file.

    >>> read_picture("chest.png").size
    (1024, 1024)

    Arrays are `[height, width]` (grey) or `[height, width, 3]`: uint8 of 0..255, or floats of 0..1.  A list must hold
    one picture.  A picture's own rotation (EXIF) is applied.  Raises `MedlibError` for no picture or several, a file
    that cannot be read, an array of another shape or range, a picture without pixels or with NaN in them, and a file or
    DICOM with several frames.
    """
    if isinstance(image, list | tuple):
        if len(image) != 1:
            raise MedlibError(f"{len(image)} images were given where one is needed; ask about each on its own.")
        image = image[0]
    if image is None:
        raise MedlibError(f"No image was given. Give {ALLOWED}.")
    if isinstance(image, str | Path):
        return _from_file(Path(image))
    if isinstance(image, Image.Image):
        return _from_pil(image, "The picture")
    try:
        array = np.asarray(image)
    except Exception as error:  # an object may raise anything when it is asked for numbers
        raise MedlibError(f"A {type(image).__name__} is no image ({error}). Give {ALLOWED}.") from error
    return _from_array(array)


def _from_pil(image, name):
    """A PIL image in RGB, turned as its EXIF says; PIL reads a file only when asked, so a broken one shows here."""
    try:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a camera's photograph, with a preview behind it
            raise MedlibError(f"{name} holds {frames} frames where one image is needed; save one of them.")
        if 0 in image.size:
            raise MedlibError(f"{name} has {image.width} x {image.height} pixels, so there is nothing to see in it.")
        return _rgb(ImageOps.exif_transpose(image))
    except MedlibError:
        raise
    except Exception as error:  # a decoder may raise anything on a broken file
        raise MedlibError(f"{name} cannot be read as an image ({error}). Convert it to PNG or JPEG.") from error


def _rgb(image):
    """In RGB; what has more than 8 bits is scaled to its own range, which a plain conversion would cut off."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_array(array):
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 4:
        raise MedlibError(f"An array of shape {array.shape} is {len(array)} images where one is needed.")
    if array.dtype == object or array.dtype.kind not in "uif" or 0 in array.shape:
        raise MedlibError(f"An array of {array.dtype}, shape {array.shape}, is no image. Give {ALLOWED}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise MedlibError(f"An array of shape {array.shape} is no image. Give [height, width] or [height, width, 3].")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise MedlibError("An array of floats must lie in 0..1; scale it, or give uint8 of 0..255.")
        array = np.round(array * 255)
    elif array.min() < 0 or array.max() > 255:
        raise MedlibError(f"An array of {array.dtype} must lie in 0..255; it has {array.min()} to {array.max()}.")
    return Image.fromarray(array.astype(np.uint8)).convert("RGB")


def _from_file(path):
    try:
        if path.is_dir():
            raise MedlibError(f"{path} is a folder where a file is needed; give the path of one picture in it.")
        if not path.is_file():
            raise MedlibError(f"There is no image file {path}.")
        with path.open("rb") as file:
            opening = file.read(132)
    except OSError as error:  # no permission, or a name that is no path
        raise MedlibError(f"{str(path)[:80]} cannot be opened ({error.strerror}).") from error
    if path.suffix.lower() in (".dcm", ".dicom") or opening[128:] == b"DICM":
        return _from_dicom(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise MedlibError(f"{path} is too large to be read ({error}) Scale it down first.") from error
    except Exception as error:  # a decoder may raise anything on a broken file
        raise MedlibError(f"{path} cannot be read as an image ({error}). Convert it to PNG or JPEG.") from error
    with image:
        return _from_pil(image, str(path))


def _from_dicom(path):
    """A DICOM's pixels in its own display window, bright where the body is dense."""
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise MedlibError(f"{path} is a DICOM file; install pydicom>=3, or convert it to PNG.") from error
    try:
        file = pydicom.dcmread(path)
    except Exception as error:
        raise MedlibError(f"{path} cannot be read as DICOM ({error}).") from error
    if "PixelData" not in file:
        raise MedlibError(f"{path} is a DICOM file without pixels (such as a report); give one with an image.")
    if int(getattr(file, "NumberOfFrames", 1) or 1) > 1:
        raise MedlibError(f"{path} holds {file.NumberOfFrames} frames where one image is needed; save one of them.")
    if getattr(file, "PhotometricInterpretation", None) == "PALETTE COLOR":
        raise MedlibError(f"{path} holds numbers of a palette and no brightness; convert it to PNG.")
    try:
        pixels = file.pixel_array
        if file.SamplesPerPixel == 1:
            pixels = pydicom.pixels.apply_modality_lut(pixels, file)
            pixels = pydicom.pixels.apply_voi_lut(pixels, file)
    except Exception as error:  # a compressed file needs a decoder of its own
        raise MedlibError(f"The pixels of {path} cannot be decoded ({error}). Convert it to PNG.") from error
    if pixels.ndim == 3:
        return _from_array(pixels)
    pixels = _to_bytes(pixels)
    return _from_array(255 - pixels if file.PhotometricInterpretation == "MONOCHROME1" else pixels)


def _to_bytes(pixels):
    pixels = pixels.astype(np.float64)
    if not np.isfinite(pixels).all():
        raise MedlibError("The picture has pixels that are NaN or infinite; set them to a number first.")
    low, high = pixels.min(), pixels.max()
    return np.round((pixels - low) / ((high - low) or 1) * 255).astype(np.uint8)
