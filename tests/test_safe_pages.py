"""A run that somebody made to run scripts in a reader's browser or in the build: nothing of it runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from standins import a_notebook, a_run

from medlib import MedlibError
from medlib.book import building, figure_data, safe_figure, safe_html, safe_text

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))
import fault_house  # noqa: E402

TRACKED = subprocess.run(["git", "ls-files", "book/runs"], cwd=ROOT, capture_output=True, text=True, check=True)
RECORDED = [ROOT / name for name in TRACKED.stdout.split() if name.endswith(".ipynb")]
PWN = "window.pwned=1"
IMAGE = f'<img src="x" onerror="{PWN}">'
LINK = rf"\href{{javascript:{PWN}}}{{x}}"
TOKEN = rf"\mmlToken{{mi}}[href='javascript:{PWN}']{{x}}"
OPTIONS = dict(include_plotlyjs=False, full_html=False, config={"displaylogo": False, "showSendToCloud": False})


def a_figure(title="a title", name="a-figure", **options):
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], text=[IMAGE, "b"]), layout={"title": {"text": title}})
    figure.frames = [go.Frame(name="1", data=[go.Scatter(x=[1, 2], y=[4, 3])])]
    return figure.to_html(div_id=name, auto_play=False, **OPTIONS, **options)


# --- figures of Plotly's ----------------------------------------------------------------------------------------------


def parts(html):
    """What a script hands to Plotly, read by a JSON parser: each value that follows a name and a comma."""
    read, found = json.JSONDecoder().raw_decode, []
    for match in re.finditer(r"Plotly\.(\w+)\(\s*[\"']([^\"']+)[\"'],\s*", html):
        value, end = read(html, match.end())
        found.append((match[1], match[2], value))
        while comma := re.compile(r"\s*,\s*").match(html, end):
            value, end = read(html, comma.end())
            found.append(value)
    return found


def test_every_recorded_figure_is_a_figure_still_and_of_the_same_data():
    figures = 0
    for file in RECORDED:
        outputs = [out for cell in nbformat.read(file, as_version=4).cells for out in cell.get("outputs", [])]
        for html in (out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})):
            if "Plotly" in html:
                figures += 1
                anew = safe_figure.rewritten(html)
                assert anew is not None and parts(anew) == parts(html) and len(parts(html)) >= 3
                assert figure_data.points(anew).keys() == figure_data.points(html).keys() != set()
    assert figures >= 10


def test_a_figure_of_this_plotly_is_written_as_plotly_writes_it():
    for html in (a_figure(), a_figure("gözleme & <b>bagel</b>"), go.Figure().to_html(div_id="f", **OPTIONS)):
        assert safe_figure.rewritten(html) == html.replace("&", r"\u0026")


def test_a_figure_that_plays_by_itself_does_so_still():
    html = go.Figure(frames=[go.Frame(name="1")]).to_html(div_id="f", **OPTIONS)
    assert "Plotly.animate" in html and safe_figure.rewritten(html) == html


def test_what_is_said_to_be_a_figure_and_holds_more_is_text():
    html, more = a_figure(), f"<script>{PWN}</script>"
    box = '<div><div id="x" class="plotly-graph-div"></div>'
    for other in (
        f"{box}<script>window.PLOTLYENV=1;{PWN}</script>{IMAGE}</div>",
        f"{box}<script>window.PLOTLYENV=window.PLOTLYENV || {{}};{PWN}</script></div>",
        html + more,
        more + html,
        html + IMAGE,
        html + html,
        html.replace("</div>            <script>", f"{IMAGE}</div>            <script>"),
        html.replace("window.PLOTLYENV=", f"{PWN};window.PLOTLYENV="),
        html.replace("};            </script>", f"}};{PWN}            </script>"),
        html.replace('"responsive": true', f'"responsive": {PWN}'),
        html.replace('"x":[1,2]', f'"x":[1,({PWN})]'),
        html.replace('"x":[1,2]', '"x":[1,NaN]'),
        html.replace('"x":[1,2]', '"__proto__":{"x":1}'),
        html.replace('"x":[1,2]', f'"x":{"[" * 5000}{"]" * 5000}'),
        html.replace("addFrames('a-figure'", "addFrames('another'"),
        html.replace('"type":"scatter"', '"type":"scattergeo"'),
        a_figure(post_script=PWN),
        a_figure(name='x"+(window.pwned=1)+"'),
        a_figure(name="x<b"),
        a_figure(name="../../x"),
        html.replace("height:100%", f'height:100%"><img src=x onerror={PWN}><p class="'),
    ):
        assert other != html and safe_figure.rewritten(other) is None
        taken = safe_html.shown(other)
        assert "<script" not in taken and "<img" not in taken, other


def test_of_a_figures_settings_those_are_kept_that_send_nothing():
    html = a_figure().replace('"displaylogo": false', '"displaylogo": false, "plotlyServerURL": "//elsewhere"')
    html = html.replace('"showSendToCloud": false', '"showSendToCloud": true')
    assert "elsewhere" in html and "Cloud" in html
    assert parts(safe_figure.rewritten(html))[2] == {"displaylogo": False, "responsive": True}


# --- HTML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        f"<td>x</td><img src=x onerror={PWN} ",  # no end: the page's own next tag ends it
        f"<td>x</td><img src=x onerror={PWN} x=",
        f"<style></style x><script>{PWN}</script></style>",
        f"<![CDATA[ x > {IMAGE} ]]>",
        f"<!--> {IMAGE} -->",
        f"<!x [ > {IMAGE} ]>",
        f"<?x > {IMAGE} ?>",
        f'<td title="<img src=x onerror={PWN}>">x</td>',
        f"<td title='\"><img src=x onerror={PWN}>'>x</td>",
        f"<div/onclick={PWN}>x</div>",
    ],
)
def test_html_that_one_parser_reads_otherwise_than_another_is_written_anew(html):
    taken = re.sub(r"""=(?:"[^"<]*"|'[^'<]*')""", '=""', safe_html.shown(html))
    assert not re.search(r"<(script|img|[!?])|<[^>]* on\w+=", taken) and safe_html._PLAIN.fullmatch(taken), taken


def test_no_class_hands_a_text_to_mathjax():
    taken = safe_html.shown(rf'<td class="data math row0"><p class="mathjax_process output_area">\({LINK}\)</p></td>')
    assert 'class="data row0"' in taken and "mathjax_process" not in taken and "output_area" not in taken


# --- texts ------------------------------------------------------------------------------------------------------------


def test_directives_and_roles_of_a_runs_text_only_arrange_it():
    for text in ("```{raw} html", "> :::{include} ../secret", "- ~~~~ \t{RAW} html", "```{eval-rst}", "::::{figure} x"):
        assert not re.search(r"[`~:]{3,}\s*\{", safe_text.inert(text)) and "text {" in safe_text.inert(text)
    for text in ("{raw-html}`x`", r"\{raw}`x`", "{download}`/etc/passwd`", "{eval}`x`"):
        assert not re.search(r"\{[\w-]+\}`", safe_text.inert(text)) and "&#123;" in safe_text.inert(text)
    for text in ("```{note}\nx\n```", "{glue:text}`k` {cite:p}`a` {term}`layer`", r"$\frac{1}{2}$`x`"):
        assert safe_text.inert(text) == text


def test_the_text_and_the_metadata_of_the_recorded_runs_are_taken_as_they_are():
    for file in RECORDED:
        notebook = nbformat.read(file, as_version=4)
        safe_text.make_inert(notebook)
        assert notebook == nbformat.read(file, as_version=4), file


def test_a_notebook_that_sets_how_it_is_read_or_holds_raw_cells_is_without_them():
    options = {"execution_mode": "force", "image": {"alt": "b"}}
    cell = new_markdown_cell("x", metadata={"tags": ["a"], "mystnb": options})
    metadata = {"mystnb": {"execution_mode": "force"}, "myst": {"disable_syntax": []}, "widgets": {}, "medlib": {}}
    notebook = new_notebook(cells=[cell, new_raw_cell(IMAGE, metadata={"format": "text/html"})], metadata=metadata)
    safe_text.make_inert(notebook)
    assert notebook.metadata == {"medlib": {}} and len(notebook.cells) == 1
    assert notebook.cells[0].metadata == {"tags": ["a"], "mystnb": {"image": {"alt": "b"}}}


# --- the same in a browser --------------------------------------------------------------------------------------------

OUTPUTS = {
    "a plotly of somebody's": {
        "text/html": f'<div><div id="x" class="plotly-graph-div"></div><script>window.PLOTLYENV=1;{PWN}</script>'
        f"{IMAGE}</div>"
    },
    "a figure with a script after it": {"text/html": a_figure(name="b-figure", post_script=PWN)},
    "a figure": {"text/html": a_figure(f'${LINK}$ <a href="javascript:{PWN}">link</a> {IMAGE}')},
    "a formula in a cell": {"text/html": rf'<table><tr><td class="math">\({LINK}\)</td></tr></table>'},
    "latex": {"text/latex": f"${LINK} {TOKEN}$"},
    "latex that loads": {"text/latex": rf"$\require{{html}}{LINK}\class{{toggle}}{{x}}\cssId{{y}}{{x}}$"},
    "a formula": {"text/latex": r"$\frac{1}{2}$"},
    "an open tag": {"text/html": f"<td>x</td><img src=x onerror={PWN} "},
    "another end of a style": {"text/html": f"<style></style x><script>{PWN}</script></style>"},
    "no data": {"text/html": f"<![CDATA[ x > {IMAGE} ]]>"},
    "svg": {"image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg" onload="{PWN}"><script>{PWN}</script></svg>'},
    "a script": {"application/javascript": PWN},
    "markdown": {"text/markdown": IMAGE},
    "a widget": {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}},
}
TEXTS = [
    IMAGE,
    f"Words <script>{PWN}</script> {IMAGE} and a <b>tag</b>.",
    f"```{{raw}} html\n{IMAGE}\n```",
    f":::{{note}}\n```{{raw}} html\n{IMAGE}\n```\n:::",
    f"```{{eval-rst}}\n.. raw:: html\n\n   {IMAGE}\n```",
    f"```{{image}} x.png\n:target: javascript:{PWN}\n```",
    f"[a](javascript:{PWN}) <javascript:{PWN}> [b][c] [d](data:text/html,x)",
    f'[e](https://127.0.0.1/){{href="javascript:{PWN}" onclick="{PWN}"}}',
    f"[c]: javascript:{PWN}",
    rf"A formula: ${LINK}$ and ${TOKEN}$ and [\({LINK}\)]{{.math}}.",
    "{{ env.app.__class__.__init__.__globals__['os'].system('touch MARK') }}",
    "```{include} /../../secret.txt\n```",
    "{download}`/../../secret.txt`",
]


@pytest.mark.parametrize("text", ["[a](../../../../secret.txt)", "![a](../../../../secret.txt)"])
def test_a_text_that_leads_to_a_file_outside_the_book_stops_the_build(tmp_path, text):
    house = fault_house.build_house(tmp_path / "house", ROOT)
    (house / "secret.txt").write_text("a secret")
    notebook = a_notebook("lesion", "smollm2-135m")
    notebook.cells.append(new_markdown_cell(text))
    a_run(house / "book" / "runs", "lesion", "smollm2-135m", notebook)
    with pytest.raises(MedlibError, match=r"secret.txt lies outside the book"):
        building.build(house)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of a run that never went through `stamp.clean`, in a book built of it; what would have been made."""
    house = fault_house.build_house(tmp_path_factory.mktemp("hostile") / "house", ROOT)
    mark = house / "ran"
    (house / "secret.txt").write_text("a secret")
    notebook = a_notebook("lesion", "smollm2-135m")
    notebook.cells += [new_markdown_cell(text.replace("MARK", str(mark))) for text in TEXTS]
    outputs = [new_output("display_data", {**data, "text/plain": name}) for name, data in OUTPUTS.items()]
    touch = f"import pathlib\npathlib.Path({str(mark)!r}).touch()"
    notebook.cells.append(new_code_cell(touch, outputs=outputs, execution_count=5))
    notebook.cells.append(new_raw_cell(IMAGE, metadata={"format": "text/html"}))
    notebook.cells.append(new_raw_cell(PWN, metadata={"format": "application/javascript"}))
    notebook.metadata["mystnb"] = {"execution_mode": "force"}
    notebook.metadata["myst"] = {"disable_syntax": [], "enable_extensions": ["substitution"]}
    a_run(house / "book" / "runs", "lesion", "smollm2-135m", notebook)
    return building.build(house).parent / "runs" / "smollm2-135m" / "lesion.html"


def test_the_build_ran_nothing_of_a_strangers_notebook_and_read_no_file_for_it(hostile):
    house = hostile.parents[4]
    assert (house / "secret.txt").is_file() and not (house / "ran").exists()
    assert not [path for path in hostile.parents[2].rglob("*") if path.is_file() and b"a secret" in path.read_bytes()]


CLICK = """() => {
    const to = link => link && (link.getAttribute("href") || link.getAttribute("xlink:href"));
    const stays = click => { if (!/^\\s*javascript:/i.test(to(click.target.closest("a")))) click.preventDefault(); };
    window.addEventListener("click", stays);
    for (const one of document.querySelectorAll("article a, article a *, article .math *, article td"))
        one.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
}"""  # clicks every link, and follows none but one that would run


def test_nothing_of_a_strangers_run_runs_on_its_page_and_no_click_makes_it(hostile, visit):
    tab, heard = visit()
    tab.goto(hostile.as_uri())
    tab.wait_for_load_state("load")
    tab.evaluate("() => MathJax.startup.promise")
    tab.wait_for_selector("#a-figure .main-svg")
    tab.wait_for_timeout(1000)
    assert tab.evaluate("window.pwned") is None
    links = """() => [...document.querySelectorAll("article *")].flatMap(one => [...one.attributes])
        .filter(one => /^(xlink:)?href$|^on|^src$/.test(one.name)).map(one => `${one.name}=${one.value}`)"""
    assert not [link for link in tab.evaluate(links) if re.match(r"on|[\w:]+=\s*(javascript|data:text)", link)]
    tab.evaluate(CLICK)
    tab.wait_for_timeout(500)
    assert tab.evaluate("window.pwned") is None
    assert not [line for line in heard if "network" in line or "script" in line], heard
    assert tab.locator(".math mjx-container svg").count() > 2  # what was asked for in earnest is there
    assert tab.evaluate("document.getElementById('a-figure').data[0].y") == [3, 4]
    text = tab.text_content("article")
    for written in (IMAGE, f"<script>{PWN}</script>", "<b>tag</b>", "window.PLOTLYENV=1", "{{ env.app"):
        assert written in text, written
