"""Pictures that are no brain slices, for questions about the modality: retina, tissue section, CT and MR slice.

There is one picture of each, so a scene is a crop of it.  Crops for training come from the left part of a picture and
held-out crops from its right part, with a gap between: no pixel is in both.  What is measured on them is whether the
model tells these pictures apart, not whether it knows a modality.
"""

from functools import cache

import numpy as np
from PIL import Image

from medlib.errors import MedlibError
from medlib.scans.slices import SIZE
from medlib.scans.volumes import find

MODALITIES = {"fundus": "photograph", "microscopy": "microscopy", "ct": "CT", "mr": "MRI"}  # source -> the answer
PARTS = {"train": (0.0, 0.55), "held-out": (0.58, 1.0)}  # of the width


@cache
def whole(source):
    """A source's whole picture, uint8 `[row, column, 3]`; `MedlibError` if its wheel is missing."""
    path = find(source)
    if path.suffix != ".dcm":
        return np.asarray(Image.open(path).convert("RGB"))
    try:
        import pydicom
    except ImportError as error:
        raise MedlibError("DICOM files are read with pydicom: `pip install pydicom==3.0.2`.") from error
    pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [1, 99])
    grey = np.round(255 * np.clip((pixels - low) / (high - low), 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def crop(source, part, size, left, top, turns):
    """A square crop of a source: uint8 `[SIZE, SIZE, 3]`.

    `part`: of `PARTS`; `size`, `left`, `top`: 0..1, the side between half and the whole width of the part, and where
    it lies; `turns`: quarter turns, and 4 more for a mirrored picture (these pictures have no sides).
    """
    picture = whole(source)
    height, width = picture.shape[:2]
    begin, end = (round(share * width) for share in PARTS[part])
    side = round((0.5 + 0.5 * size) * min(end - begin, height))
    left = begin + round(left * (end - begin - side))
    top = round(top * (height - side))
    square = Image.fromarray(picture[top : top + side, left : left + side]).resize((SIZE, SIZE), Image.BILINEAR)
    square = np.rot90(np.asarray(square), turns % 4)
    return np.ascontiguousarray(square[:, ::-1] if turns >= 4 else square)
