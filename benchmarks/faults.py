"""What becomes of runs, records and the book when something goes wrong in the middle.

    python benchmarks/faults.py [--only kills_run] [--kills 60] [--cases 200] [--seed 0]

Faults are made in a small house (fault_house.py) and after each it is looked at: every table that is there reads and
belongs to its record, what was finished before is there byte by byte or its successor is whole, and the same command
then ends well.  Inputs are made up by Hypothesis, with the properties of tests/test_fuzz.py and more cases.  What was
tried, how often and what happened goes to _build/bench/faults.json; exit status 1 where something did not hold.
"""

import argparse
import os
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import bench
import fault_house as house_of
from fault_found import report, row, write
from fault_house import Command
from rich.console import Console

from medlib.book import placing

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = {"run": ["run", house_of.TECHNIQUE], "record": ["record"], "build": ["build"]}
SHARES = {"run": 0.4, "record": 0.45, "build": 0.15}  # of the kills
LAST = {"run": 20, "record": 20, "build": 200}  # file operations at a command's end, which put things in their place
KEPT, WHOLE = "the earlier one is there, byte by byte", "the new one is there, whole"
ASIDE = "the earlier one stands aside, byte by byte, for the next build to put back"


class Trials:
    """A house with two runs that differ in one value, and commands that turn the one into the other."""

    def __init__(self, folder, context, seed):
        self.house = house_of.build_house(folder, ROOT)
        self.context, self.random, self.value = context, random.Random(seed), 0
        self.stored = {}
        for _ in range(2):
            self.next_value()
            self.done("run")
            self.stored[self.value] = house_of.files(self.local)
        self.done("record")

    @property
    def local(self):
        return house_of.folders(self.house)[0]

    @property
    def committed(self):
        return house_of.folders(self.house)[1]

    def next_value(self):
        """What the next run will find, the one of two values that the last did not."""
        self.value = 3 if self.value == 4 else 4
        (self.house / "value.txt").write_text(str(self.value))

    def command(self, name, **options):
        return Command(self.context, self.house, ARGUMENTS[name], **options)

    def done(self, name):
        """A command that must end well; how it ended."""
        ended = self.command(name).ended()
        if ended.code:
            raise RuntimeError(f"medlib {name} ended with {ended.code} where nothing was wrong:\n{ended.printed}")
        return ended

    def prepare(self, name):
        """Before a trial: the command will have something new to do.  What is there now."""
        self.next_value()
        if self.value == {"record": house_of.value_of(self.committed), "build": house_of.shown(self.house)}.get(name):
            self.next_value()
        if name != "run":
            house_of.put(self.value, self.local, self.stored)
        if name == "build":  # of a local and a committed run the later one goes into the book
            house_of.put(self.value, self.committed, self.stored)
        return self.there()

    def there(self):
        return house_of.files(self.local), house_of.files(self.committed), house_of.site(self.house)

    def said(self, ended):
        """The last line that a command printed, without the place of the house and the names of temporary files."""
        return house_of.without_temporary(ended.message.replace(str(self.house), "."))

    def look(self, name, before, either=False):
        """What became of what `name` was writing, as a phrase; one that begins with LOST is a fault of ours.

        A run that stands ready is put in its place first, as by whoever reads runs.  `either`: of two at once the one
        that came last counts, whichever it was.
        """
        placing.settle(self.house)
        local, committed, site = self.there()
        untouched = {"run": (committed, site), "record": (local, site), "build": (local, committed)}[name]
        as_before = {"run": before[1:], "record": (before[0], before[2]), "build": before[:2]}[name]
        if untouched != as_before:
            return "LOST: something that the command does not write is another now"
        place = list(ARGUMENTS).index(name)
        if (local, committed, site)[place] == before[place]:
            return KEPT
        if name == "build":
            if site is None:
                aside = before[2] is not None and house_of.site(self.house, "html.old") == before[2]
                return ASIDE if aside else "LOST: there is no book"
            return WHOLE if house_of.shown(self.house) == self.value else "LOST: the book is half a book"
        found = house_of.value_of((self.local, self.committed)[place])
        if found == self.value or (either and found is not None):
            return WHOLE
        return "LOST: files that are there are not of one run"

    def change_notebook(self):
        """Make every run that is there stale."""
        with (self.house / "notebooks" / f"{house_of.TECHNIQUE}.py").open("a") as file:
            file.write("\n# %%\n1 + 1\n")

    def chosen(self, clock, changed):
        """Which run the book takes, the committed or the new one, as a phrase; the new one where the other is stale.

        That run is also the one that is not made again.
        """
        new = house_of.chosen(self.house) == self.value
        which = "the new run" if new else "the run that was recorded with the wrong clock"
        said = f"{clock}{' and the notebook changed since' if changed else ''}: the book takes {which}"
        kept = Command(self.context, self.house, [*ARGUMENTS["run"], "--unless-current"]).ended()
        if (changed and not new) or " current " not in kept.printed:
            return f"LOST: {said}, and the next run is {'adopted' if ' current ' in kept.printed else 'made again'}"
        return said

    def again(self, name):
        """The same command once more: nothing where it ends well and leaves the new one, else what is wrong, a list."""
        ended = self.command(name).ended()
        if ended.code:
            return [f"the next {name} ended with {ended.code}: {self.said(ended)}"]
        if name == "build":
            found = house_of.shown(self.house)
        else:
            found = house_of.value_of(self.local if name == "run" else self.committed)
        return [] if found == self.value else [f"the next {name} left the value {found} and not {self.value}"]


def kills(name, trials, given):
    """`kill -9` at random moments of a command: of the clock, and just before a file operation."""
    trials.prepare(name)
    usual = trials.done(name)
    for fault in ("kill -9 at a moment of the clock", "kill -9 before a file operation"):
        outcomes, wrong = [], []
        for _ in range(round(given.kills * SHARES[name] / 2)):
            before = trials.prepare(name)
            group = trials.random.random() < 0.5  # its children too, or itself alone
            if "clock" in fault:
                command = trials.command(name, group=group)
                command.process.join(trials.random.uniform(0, usual.seconds))
                command.kill()
            else:
                at = trials.random.randint(1, usual.operations)
                command = trials.command(name, at=at, group=group)
            ended = command.ended()
            if house_of.left(trials.house):
                wrong.append("a kernel or Sphinx went on")
            outcomes.append(trials.look(name, before) if ended.code else "it had ended before")
            wrong += trials.again(name)
        yield row(fault, name, outcomes, wrong)


def pairs(trials, given):
    """Two of the same at once: one is held just before one of its last file operations until the other is done."""
    for name in ARGUMENTS:
        trials.prepare(name)
        usual = trials.done(name)
        outcomes, wrong = [], []
        for _ in range(min(2, given.each) if name == "build" else given.each):
            before = trials.prepare(name)
            late = usual.operations - trials.random.randrange(min(LAST[name], usual.operations))
            first = trials.command(name, at=late, how=house_of.STOP)
            held = first.stopped()
            if name == "run":
                trials.next_value()  # the two find different values
            other = trials.command(name)
            other.process.join(2 * usual.seconds + 5)  # it may wait for the one that is held
            if held:
                first.go_on()
            codes = first.ended().code, other.ended().code
            found = trials.look(name, before, either=True)
            outcomes.append(found if codes == (0, 0) else f"{found}; exit codes {codes}")
            wrong += trials.again(name)
        yield row("two at once", name, outcomes, wrong)


def full(trials, given):
    """A disk that is full at some place of the command's writing; then there is room again."""
    for name in ARGUMENTS:
        outcomes, wrong, messages = [], [], []
        for turn in range(2 if name == "build" else given.each):
            before = trials.prepare(name)
            with house_of.full_disk(trials.house, left=turn and trials.random.randrange(80_000)):
                ended = trials.command(name).ended()
                outcomes.append(trials.look(name, before) if ended.code else "there was room enough")
            messages += [trials.said(ended)] if ended.code else []
            wrong += trials.again(name)
        yield row("disk full", name, outcomes, wrong, messages)


def read_only(trials, given):
    """Folders that may not be written; then they may again."""
    for name in ARGUMENTS:
        before = trials.prepare(name)
        with house_of.read_only(trials.house):
            ended = trials.command(name).ended()
            outcome = trials.look(name, before) if ended.code else "LOST: it said that all was well"
        yield row("read-only folder", name, [outcome], trials.again(name), [trials.said(ended)])


def kernels(trials, given):
    """A kernel that is killed, that crashes, that leaves, and one that never ends."""
    for mode in ("dies", "crashes", "exits", "hangs"):
        options = ["-p", f"mode={mode}"]
        if mode == "hangs":
            options += ["--limit", str(given.limit)]
        before = trials.prepare("run")
        ended = Command(trials.context, trials.house, [*ARGUMENTS["run"], *options]).ended()
        outcome = trials.look("run", before) if ended.code == 3 else f"LOST: it ended with {ended.code}"
        yield row(f"a kernel that {mode}", "run", [outcome], trials.again("run"), [trials.said(ended)])


def clock(trials, given):
    """Clocks that are wrong: of the machine when a run is made, and of every file of the house."""
    outcomes, wrong = [], []
    for days, changed in ((400, False), (-400, False), (400, True), (-400, True)):
        trials.prepare("run")
        (trials.house / "clock.txt").write_text(str(days * 86400))
        trials.done("run")
        trials.done("record")
        (trials.house / "clock.txt").write_text("0")
        if changed:
            trials.change_notebook()
        trials.prepare("run")
        trials.done("run")
        outcomes.append(trials.chosen(f"clock {days:+} days when the committed run was made", changed))
        wrong += trials.again("record")
        if house_of.chosen(trials.house) != trials.value:
            wrong.append("the new run is recorded and the book takes another")
    yield row("a wrong clock", "run", outcomes, wrong)
    outcomes = []
    for year in (1970, 2100):
        for path in trials.house.rglob("*"):
            os.utime(path, (((year - 1970) * 31556952) + 1,) * 2)
        ended = Command(trials.context, trials.house, ["run-all"]).ended()
        state = "current" if " current " in ended.printed else f"LOST: {trials.said(ended)}"
        outcomes.append(f"all files of the year {year}: {state}")
    yield row("wrong dates of files", "run-all", outcomes, [])


SECTIONS = {f"kills_{name}": partial(kills, name) for name in ARGUMENTS}
SECTIONS |= {"pairs": pairs, "full": full, "read_only": read_only, "kernels": kernels, "clock": clock}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, "damage", "made_up"], help="these sections alone")
    parser.add_argument("--kills", type=int, default=60, help="of run, record and build together")
    parser.add_argument("--each", type=int, default=4, help="trials of a disk that is full, and of two at once")
    parser.add_argument("--cases", type=int, default=200, help="made-up cases of each property, and files to damage")
    parser.add_argument("--limit", default="0.25", help="minutes that a kernel that hangs is given")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wanted = given.only or [*SECTIONS, "damage", "made_up"]
    console = Console()
    machine = {name: value for name, value in bench.machine().items() if name != "model"}
    write("machine", machine | {"seed": given.seed})
    found = []
    if set(wanted) & set(SECTIONS):
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, house_of.small_disk(folder) as place:
            trials = Trials(place / "house", house_of.warm_up(), given.seed)
            for name in (name for name in wanted if name in SECTIONS):
                found += write(name, report(console, SECTIONS[name](trials, given)))
    if "damage" in wanted:
        import fault_damage

        found += write("damage", report(console, fault_damage.rows(given)))
    if "made_up" in wanted:
        import fault_cases

        found += write("made_up", report(console, fault_cases.rows(given)))
    if broken := [f"{line['fault']} ({line['command']})" for line in found if not line["holds"]]:
        sys.exit(f"Did not hold: {', '.join(broken)}.")


if __name__ == "__main__":
    main()
