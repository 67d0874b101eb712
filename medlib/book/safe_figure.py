"""A figure of Plotly's taken apart and written anew, so that nothing of a script comes from whoever made it.

What `to_html` writes is a div and a script that hands JSON to Plotly.  The JSON is read by a JSON parser, and a script
of ours is written around it in the form that Plotly gives it; what does not read exactly so is no figure.  In a text
Plotly itself takes a handful of tags, keeps of a link the protocols of the web and of mail, and runs nothing.
"""

import json
import re

SETTINGS = {
    "displaylogo": (False, True),
    "responsive": (False, True),
    "showSendToCloud": (False,),
}  # no others are kept
MAPS = {
    *("choropleth", "choroplethmap", "choroplethmapbox", "densitymap", "densitymapbox"),
    *("scattergeo", "scattermap", "scattermapbox"),
}  # kinds of trace that ask the network for a map
_SIZE = r"[\d.]+(?:px|%)"
_BOX = rf"height:({_SIZE}); width:({_SIZE});"
_NAME = r"(?!\.)[^\"'<>&\\/\r\n]+"  # of its table's file too
_HEAD = re.compile(
    rf'\s*<div style="{_BOX}">\s*<div id="({_NAME})" class="plotly-graph-div" style="{_BOX}"></div>\s*'
    r"<script>\s*window\.PLOTLYENV=window\.PLOTLYENV \|\| \{\};\s*"
    r'if \(document\.getElementById\("\3"\)\) \{\s*Plotly\.newPlot\(\s*"\3",\s*'
)
_COMMA = re.compile(r"\s*,\s*")
_PLOTTED = re.compile(r"\s*\)")
_FRAMES = re.compile(rf"\.then\(function\(\)\{{\s*Plotly\.addFrames\('({_NAME})',\s*")
_FRAMED = re.compile(r"\);\s*\}\)")
_PLAYED = re.compile(rf"\.then\(function\(\)\{{\s*Plotly\.animate\('({_NAME})', null\);\s*\}}\)")
_TAIL = re.compile(r"\s*\};\s*</script>\s*</div>\s*")
_LINE = "\n" + " " * 24
_PROTOTYPE = re.compile(r"[\w.\[\]-]*(?:__proto__|constructor|prototype)[\w.\[\]-]*")  # what a path may not lead to


def rewritten(html):
    """A figure of Plotly's written anew, as HTML; None where a piece of HTML is no such figure and nothing else.

    >>> rewritten(figure.to_html(include_plotlyjs=False, full_html=False)) is not None, rewritten("<div></div>")
    (True, None)
    """
    try:
        box, name, data, layout, config, frames, plays = _read(html)
    except (ValueError, RecursionError):
        return None
    config = {key: value for key, value in config.items() if any(value is kept for kept in SETTINGS.get(key, ()))}
    after = ""
    if frames is not None:
        after += f".then(function(){{{_LINE}    Plotly.addFrames('{name}', {_json(frames)});{_LINE}}})"
    if plays:
        after += f".then(function(){{{_LINE}    Plotly.animate('{name}', null);{_LINE}}})"
    return (
        f'<div style="height:{box[0]}; width:{box[1]};">                            '
        f'<div id="{name}" class="plotly-graph-div" style="height:{box[2]}; width:{box[3]};"></div>            '
        "<script>                window.PLOTLYENV=window.PLOTLYENV || {};                                "
        f'if (document.getElementById("{name}")) {{                    Plotly.newPlot('
        f'                        "{name}",                        {_json(data)},'
        f"                        {_json(layout)},                        {json.dumps(config)}                    )"
        f"{after}                }};"
        "            </script>        </div>"
    )


def _read(html):
    """The sizes of the boxes, name, data, layout, settings, frames (or None) of a figure, and whether it plays."""
    head = _past(_HEAD, html, 0)
    *sizes, name = (head[number] for number in (1, 2, 4, 5, 3))
    parts, place = [], head.end()
    for kind in (list, dict, dict):
        part, place = _value(html, place, kind)
        parts.append(part)
        place = _past(_PLOTTED if len(parts) == 3 else _COMMA, html, place).end()
    data, layout, config = parts
    frames, plays = None, False
    if adds := _FRAMES.match(html, place):
        frames, place = _value(html, adds.end(), list)
        place = _past(_FRAMED, html, place).end()
    if played := _PLAYED.match(html, place):
        plays, place = True, played.end()
    named = {match[1] for match in (adds, played) if match}
    if named - {name} or _past(_TAIL, html, place).end() != len(html):
        raise ValueError("more than one figure")
    drawn = {key: value for key, value in layout.items() if key != "template"}  # a template holds every kind of trace
    paths = any(_PROTOTYPE.fullmatch(text) for text in _texts([data, layout, frames]))
    if paths or MAPS & set(_texts([data, drawn, frames])):
        raise ValueError("more than a figure")
    return sizes, name, data, layout, config, frames, plays


def _past(pattern, html, place):
    match = pattern.match(html, place)
    if match is None:
        raise ValueError(f"{pattern.pattern} is not at {place}")
    return match


def _value(html, place, kind):
    value, place = json.JSONDecoder(parse_constant=_no_number).raw_decode(html, place)
    if not isinstance(value, kind):
        raise ValueError(f"no {kind.__name__}")
    return value, place


def _no_number(name):
    raise ValueError(f"{name} is no JSON")


def _texts(value):
    """Every text and every key in what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _json(value):
    """JSON that no HTML parser takes for anything: without an angle bracket, an ampersand or a slash, in ASCII."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&/]", lambda sign: f"\\u{ord(sign[0]):04x}", text)
