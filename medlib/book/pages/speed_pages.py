"""The page of speed and memory: what the benchmarks measured, as they wrote it.

`make bench-record` keeps what `make bench` and its sisters found in `benchmarks/measured`, and the page is written from
there when the book is assembled.  Nothing is measured or computed here; what has not been measured is said to be so.
"""

from collections import Counter

import matplotlib.pyplot as plt

from medlib import figures
from medlib.book.pages import measured as measured_files
from medlib.book.pages.markdown import table

MEASURED = {
    "peers": "make bench-peers",
    "bench": "make bench",
    "planned": "make bench",
    "scaling": "make bench-scaling",
    "stream": "make bench-stream",
    "slurm": "make bench-slurm",
}


def write(folder, measured):
    """Write a piece for each benchmark into `folder`, and the curves; `measured` is the folder of their JSON files."""
    for name, command in MEASURED.items():
        file = measured / f"{name}.json"
        found = measured_files.read(file)
        with measured_files.damage_named(file):
            text = globals()[f"_{name}"](found, folder) if found else f"Not measured in this copy; `{command}` does.\n"
        (folder / f"speed_{name}.md").write_text(text, encoding="utf-8")


def _machine(found):
    """What the numbers were measured on: the machine, how busy it was, and each library's own environment."""
    facts = {name: str(value) for name, value in found["machine"].items()}
    load = " and ".join(facts.pop(name) for name in ("load before", "load after") if name in facts)
    apart = [facts.pop(name) for name, value in list(facts.items()) if " torch " in value]
    said = ", ".join(f"{name} {value}" for name, value in facts.items())
    said += f"; load average before and after {load}" if load else ""
    said += f".\nEach library in an environment of its own: {'; '.join(apart)}" if apart else ""
    return f"\n*Measured on*: {said}.\n"


def _apart(difference):
    """A difference in one digit; none is a plain 0."""
    return f"{difference:.0e}" if difference else "0"


def _times(value):
    """A ratio in two or three digits."""
    return f"{value:.3g}"


def _peers(found, folder):
    summary, single = [], []
    for job, result in found["jobs"].items():
        best = result["best"]
        cells = [f"{_times(best[way]['of medlib'])} ({best[way]['library']})" if best[way] else "–" for way in best]
        ways = dict(zip(best, cells, strict=True))
        met = "met" if result["met"] else "missed"
        target = f"{result['target']:g}, {met}"
        summary.append([job, result["what"], ways["batched"], ways["resumed"], ways["documented"], target])
        summary[-1].append(_times(result["floor"]))
        for way in result["ways"]:
            if "error" in way:
                single.append([job, way["library"], way["way"], "cannot: " + way["error"], *[""] * 4])
                continue
            single.append(
                [
                    job,
                    way["library"],
                    way["way"],
                    f"{way['seconds']:.2f}",
                    _times(way["of medlib"]),
                    f"{way['extra'] / 2**20:.0f}",
                    _times(way["extra of medlib"]),
                    _apart(way["difference"]),
                ]
            )
    header = ["job", "what", "batched by hand", "resumed", "as documented", "target", "floor"]
    ways = ["job", "library", "way", "CPU s", "of medlib's", "MiB", "of medlib's", "apart"]
    return (
        table(header, summary)
        + "\n:::{dropdown} Every way of every library\n"
        + table(ways, single)
        + ":::\n"
        + _machine(found)
    )


def _bench(found, folder):
    header = ["job", "way", "CPU s", "of plain", "of careful", "floor", "MiB", "apart", "target"]
    rows = []
    for job, result in found["jobs"].items():
        for name, way in result["ways"].items():
            ours = name == "medlib"
            rows.append(
                [
                    job if name == next(iter(result["ways"])) else "",
                    name,
                    f"{way['seconds']:.2f}",
                    _times(way["of plain"]),
                    _times(way["of careful"]),
                    _times(result["floor"]) if ours and result["floor"] else "",
                    f"{way['extra'] / 2**20:.0f}",
                    _apart(way["difference"]),
                    _target(result) if ours else "",
                ]
            )
    return table(header, rows) + _machine(found)


def _target(result):
    met = "met" if result["met"] else "missed"
    return f"{result['target is for']} {_times(result['reached'])}, at most {result['target']:g}: {met}"


def _planned(found, folder):
    header = ["model", "technique", "planned", "measured", "measured / planned", "planned memory", "measured memory"]
    rows = [
        [
            row["model"],
            row["technique"],
            f"{row['planned']:.2f} s",
            f"{row['measured']:.2f} s",
            f"{row['measured'] / row['planned']:.2f}" + ("" if row["within"] else ", off"),
            f"{row['planned memory'] / 2**30:.2f} GiB",
            f"{row['measured memory'] / 2**30:.2f} GiB",
        ]
        for row in found["plans"]
    ]
    return table(header, rows) + _machine(found)


def _scaling(found, folder):
    _curves(found["curves"]).savefig(folder / "scaling.png", dpi=200)
    plt.close("all")
    rows = [
        [
            row["sweep"],
            row["size"],
            f"{row['sizes'][0]} to {row['sizes'][-1]}",
            f"{row['seconds'][0]:.3f} to {row['seconds'][-1]:.3g}",
            f"{row['exponent']:.2f}",
            f"{row['end']:.2f}",
            f"{row['expected']:g}",
        ]
        for row in found["curves"]
    ]
    figure = (
        ":::{figure} generated/scaling.png\n:name: fig-scaling\n"
        ":alt: Four panels of straight lines on logarithmic axes.\n\n"
        "Time against size, each as a multiple of its smallest; dotted, what the count of operations says: "
        "in proportion, and with the square.\n:::\n\n"
    )
    header = ["sweep", "what grows", "from, to", "CPU s", "exponent", "of the last doubling", "expected"]
    return figure + table(header, rows) + _machine(found)


def _curves(curves):
    figures.style()
    sweeps = list(dict.fromkeys(row["sweep"] for row in curves))
    sizes = list(dict.fromkeys(row["size"] for row in curves))
    markers = dict(zip(sizes, "osD^", strict=False))
    figure, panels = plt.subplots(1, len(sweeps), figsize=(9, 3), sharey=True, layout="constrained")
    for axes, sweep in zip(panels, sweeps, strict=True):
        for row in (row for row in curves if row["sweep"] == sweep):
            times = [n / row["sizes"][0] for n in row["sizes"]]
            seconds = [s / row["seconds"][0] for s in row["seconds"]]
            axes.plot(
                times, seconds, marker=markers[row["size"]], color=f"C{sizes.index(row['size'])}", label=row["size"]
            )
        for power in {row["expected"] for row in curves if row["sweep"] == sweep}:
            axes.plot(times, [n**power for n in times], ls=":", color="0.4", zorder=0)
        axes.set(title=sweep, xlabel="size / smallest", xscale="log", yscale="log", xticks=times)
        axes.set_xticklabels([f"{n:g}" for n in times])
        axes.minorticks_off()
        axes.legend(fontsize="small")
    panels[0].set_ylabel("time / that of the smallest")
    return figure


def _stream(found, folder):
    header = ["technique", "time", "of it, checking the replay", "peak memory", "read a walk, of the weights"]
    rows = [
        [
            row["technique"],
            f"{row['seconds']:.0f} s",
            f"{row['check']:.0f} s",
            f"{row['peak'] / 2**30:.2f} GiB",
            f"{row['walk']:.3f}",
        ]
        for row in found["techniques"]
    ]
    most = found["memory"].replace("GiB", " GiB")
    said = f"\nWeights of {found['weights'] / 2**30:.1f} GiB on disk, at most {most} of memory.\n"
    return table(header, rows) + said + _machine(found)


def _slurm(found, folder):
    killed, cells = found["killed"], found["cells"]
    what = "stand-ins for chapters, which load no model" if found["stand_in"] else "chapters of the book, quick profile"
    ended = dict(sorted(Counter(found["ended"]).items()))
    then = f"with {killed['done']} cells done and {killed['running']} running"
    rows = [
        ["cells run", f"{cells}, {what}"],
        [
            "jobs at a time, on GPUs",
            f"{found['at_once']} on {found['gpus']}; times that two had one: {found['shared']}",
        ],
        ["node and its jobs killed", f"after {killed['at']} s, {then}"],
        ["processes killed", killed["processes"]],
        ["given up by the controller", f"after {killed['noticed']} s; started again after {killed['back']} s"],
        ["done cells kept, of those done then", f"{found['kept']} of {killed['done']}, byte for byte"],
        ["how jobs ended", ", ".join(f"{state.lower().replace('_', ' ')} {n}" for state, n in ended.items())],
        ["all done", f"after {found['seconds']} s"],
        ["asked again: current", f"{found['again'][1]} of {found['again'][0]}"],
        ["in a clone with these runs: current", f"{found['clone'][1]} of {found['clone'][0]}"],
    ]
    of = found["machine"]
    node = (
        f"one node of {of['cores']} cores and {of['memory'] / 2**10:.0f} GiB, given up after {of['silence_seconds']} s"
    )
    with_ = f"SLURM {of['slurm']}, Snakemake {of['snakemake']}, its executor {of['snakemake-executor-plugin-slurm']}"
    return table(["what", "seen"], rows) + f"\n*Seen with*: {with_}; {node} without an answer.\n"
