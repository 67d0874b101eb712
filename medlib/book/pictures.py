"""The pictures of the built site, kept as lossless WebP: every pixel as it was, in a third of the bytes.

Matplotlib's PNGs are the larger part of a page's weight.  A run keeps its PNG; only the site has the smaller file.
Pages say how large each picture is, so that text does not move when it comes, and which are wide: rows of panels, which
the style sheet lets a phone scroll.
"""

import hashlib
import io
import re
import shutil
from pathlib import Path

from PIL import Image

from medlib.paths import write_atomically

WIDE = 2.4  # times as wide as high: three panels in a row


def shrink(site, cache):
    """Replace the PNGs in `<site>/_images` by WebP where that is smaller, and what the pages say of them.

    >>> shrink(Path("_build/html"), cache=Path("_build/webp"))

    `cache` keeps what was made, by the hash of the PNG, for the next build.
    """
    site, cache = Path(site), Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    smaller, sizes = {}, {}
    for picture in sorted((site / "_images").glob("*.png")):
        kept = cache / f"{hashlib.sha256(picture.read_bytes()).hexdigest()}.webp"
        if not kept.exists():
            write_atomically(kept, _webp(picture))
        if kept.stat().st_size < picture.stat().st_size:
            shutil.copyfile(kept, picture.with_suffix(".webp"))
            smaller[picture.name] = picture.with_suffix(".webp").name
            picture.unlink()
    for picture in (site / "_images").glob("*"):
        if picture.suffix in (".png", ".webp"):
            with Image.open(picture) as image:
                sizes[picture.name] = image.size
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        changed = re.sub(r"(_images/)([^\"'/<>]+\.png)", lambda at: at[1] + smaller.get(at[2], at[2]), text)
        changed = re.sub(r"<img (?=[^<>]*_images/([^\"'/<>]+)\")", lambda at: _sized(sizes.get(at[1])), changed)
        if changed != text:
            page.write_text(changed, encoding="utf-8")


def _sized(size):
    """The beginning of a picture's tag, with its size in pixels where that is known."""
    if size is None:
        return "<img "
    width, height = size
    return f'<img width="{width}" height="{height}" ' + 'data-shape="wide" ' * (width > WIDE * height)


def _webp(picture):
    buffer = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGBA").save(buffer, "WEBP", lossless=True, exact=True, quality=80, method=4)
    return buffer.getvalue()
