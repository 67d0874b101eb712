"""What the patching chapter says: its verdict and its numbers in words, true whatever they are for another model.

Only domains that the model knows, and that have enough couples, are counted; all others are named apart.
"""

from collections import Counter

import numpy as np

from medlib.chapters.patching import couples


def numbers(drawn, curves, gaps, at_last, handovers, agreement, controls, known, layers, threshold):
    """The numbers of the chapter's prose: key -> `(value, text)`.

    `drawn`: domain -> `couples.Drawn`; `curves`, `gaps`, `at_last`: domain -> part -> table of medians by layer;
    `handovers`: "handover" and "handover_interpolated" -> `sites.handovers`; `agreement`: `patch_tables.agreements`;
    `known`: domain -> bool; `layers`: how many the model has.
    """
    medical = [name for name in controls if name in curves and known[name]]
    n = sum(drawn[name].labels["couple"].nunique() for name in medical)
    at, steps = _layers_of(handovers["handover"], controls), _steps(curves, handovers["handover"])
    sharp = _counted(handovers["handover_interpolated"], controls, known)
    found = {
        "verdict": (len(medical), verdict({name: at[name] for name in medical}, steps, at, controls, known, layers)),
        "n_couples_used": (n, str(n)),
        "n_domains": (len(medical), str(len(medical))),
        "n_asked": (len(controls), str(len(controls))),
        "apart": (
            len(controls) - len(medical),
            f"{apart(drawn, curves, controls, known)} {without_control(medical, curves, controls, known)}".strip(),
        ),
        "handover_said": (
            float(np.median([at[name] for name in medical])) if medical else "none",
            hand_over(at, known, layers),
        ),
        "handover_differences": (len(sharp), differences(sharp, controls)),
        "handover_listed": (len(sharp), _listed([_named(row, controls) for row in sharp.itertuples()])),
        "n_differences": (len(sharp), str(len(sharp))),
        "by_chance": (0.05 * len(sharp), f"{0.05 * len(sharp):.2g}"),
        "threshold": (threshold, f"{threshold:g} logit{'s' * (threshold != 1)}"),
        "fewest": (couples.FEWEST, str(couples.FEWEST)),
        "between_most": _most(curves, medical, ["between"], ".0%"),
        "gap_most": _most(gaps, medical, ["subject", "last"], ".2f"),
    }
    for component in ("attention", "MLP"):
        found[f"{component.lower()}_most"] = _most(at_last, medical, [component], ".0%", "not measured")
    for component in ("residual", "attention", "mlp"):
        ranks = agreement[agreement["component"] == component]["value"]
        text = f"{ranks.min():.2f} to {ranks.max():.2f}" if len(ranks) else "not measured"
        found[f"estimate_{component}"] = (float(ranks.median()) if len(ranks) else "none", text)
    return found


def verdict(at, steps, of_all, controls, known, layers):
    """Where the last token takes over, how abruptly, and whether the controls do so elsewhere: one short sentence.

    `at`: known medical domain -> handover layer; `steps`: domain -> by how much the last token's P rises there;
    `of_all`: domain or control -> handover layer.
    """
    if not at:
        return "No verdict: no medical domain that this model knows has enough couples."
    middle = np.median(list(at.values())) / layers
    when = "Late" if middle > 2 / 3 else "Early" if middle <= 1 / 3 else "In the middle of the model"
    rises = [steps[name] for name in at]
    how = "in one step" if min(rises) > 0.5 else "mostly in one step" if np.median(rises) > 0.5 else "over many layers"
    apart = [
        abs(layer - of_all[controls[name]]) for name, layer in at.items() if _has_control(name, of_all, known, controls)
    ]
    if not apart:
        return f"{when}, {how}; no control has enough couples to be held against it."
    same = (
        "at the same layer as the controls"
        if not max(apart)
        else f"at most {_counts(max(apart), 'layer')} from the controls"
    )
    return f"{when}, {how}, {same}."


def hand_over(at, known, layers):
    """At which layer domains and controls hand over, `at`: name -> layer; those not known are named apart."""
    counted = {name: layer for name, layer in at.items() if known[name]}
    others = [f"{name} ({layer:.0f})" for name, layer in at.items() if not known[name]]
    end = f" Not known, and not counted: {_listed(others)}." if others else ""
    if not counted:
        return f"No domain or control that is known has enough couples.{end}"
    (usual, n), *_ = Counter(counted.values()).most_common()
    odd = [f"{name} ({layer:.0f})" for name, layer in counted.items() if layer != usual]
    if not odd:
        return (
            f"All {n} known domains and controls with enough couples hand over at layer {usual:.0f} of {layers}: a "
            f"property of the model, at a resolution of one layer.{end}"
        )
    if n > len(odd):
        return (
            f"Of {len(counted)} known domains and controls with enough couples, all hand over at layer {usual:.0f} of "
            f"{layers} except {_listed(odd)}, at a resolution of one layer.{end}"
        )
    named = [f"{name} at {layer:.0f}" for name, layer in counted.items()]
    return f"Known domains and controls hand over at unlike layers of {layers}: {_listed(named)}.{end}"


def without_control(medical, patched, controls, known):
    """Which known medical domains have no control to be held against, in a sentence; "" if all have one."""
    lack = [name for name in medical if not _has_control(name, patched, known, controls)]
    if not lack:
        return ""
    names = _listed(lack)
    which = "no control that is known and has enough couples"
    verb, them = ("has", "it") if len(lack) == 1 else ("have", "them")
    return f"{names[0].upper()}{names[1:]} {verb} {which}, so nothing about {them} can be called medical."


def differences(rows, controls):
    """How far medical and control handover lie apart where it is interpolated: `rows` of `sites.handovers`."""
    if rows.empty:
        return "No known domain has a known control with enough couples to compare the two."
    clear = [_named(row, controls) for row in rows.itertuples() if row.low > 0 or row.high < 0]
    low, high = rows["value"].min(), rows["value"].max()
    said = (
        f"{len(clear)} of {_counts(len(rows), 'interval')} {'excludes' if len(clear) == 1 else 'exclude'} zero"
        f"{f' ({_listed(clear)})' if clear else ''}"
    )
    return (
        f"Interpolated between layers, medical minus control is {low:+.2f} to {high:+.2f} layers; {said}, where "
        f"{0.05 * len(rows):.2g} would by chance."
    )


def apart(drawn, curves, controls, known):
    """Which domains are drawn but not counted, and which could not be patched, in a sentence."""
    names = list(dict.fromkeys([*controls, *controls.values()]))
    n = {name: drawn[name].labels["couple"].nunique() for name in names}
    grey = [f"{name} ({_counts(n[name], 'couple')})" for name in names if name in curves and not known[name]]
    left = [f"{name} ({_counts(n[name], 'couple')})" for name in names if name not in curves]
    said = [f"patched but not known, and grey: {_listed(grey)}"] * bool(grey)
    said += [f"left out for too few couples: {_listed(left)}"] * bool(left)
    return f"Not counted: {'; '.join(said)}." if said else "All are counted, and so are their controls."


def _layers_of(handover, controls):
    """The handover layer of each domain and each control."""
    rows = handover[handover["what"] != "difference"].itertuples()
    return {controls[row.domain] if row.what == "control" else row.domain: row.value for row in rows}


def _steps(curves, handover):
    """By how much the last token's median P rises at a medical domain's handover."""
    found = {}
    for row in handover[handover["what"] == "domain"].itertuples():
        last = curves[row.domain]["last"].set_index("layer")["value"]
        found[row.domain] = last[row.value] - last.get(row.value - 1, 0.0)
    return found


def _counted(table, controls, known):
    """The differences between a known domain and a known control."""
    both = [known[domain] and known[controls[domain]] for domain in table["domain"]]
    return table[(table["what"] == "difference") & np.array(both, dtype=bool)]


def _has_control(name, patched, known, controls):
    return controls[name] in patched and known[controls[name]]


def _most(curves, medical, parts, form, none="nothing, for it was not measured"):
    """The largest median of some parts over domains and layers, with its interval, or `none`."""
    rows = [
        (
            row.value,
            f"{row.value:{form}} ({row.low:{form}} to {row.high:{form}}, "
            f"{f'{part}, ' * (len(parts) > 1)}{name}, layer {row.layer})",
        )
        for name in medical
        for part in parts
        if part in curves.get(name, {})
        for row in curves[name][part].itertuples()
    ]
    return max(rows, default=("none", none), key=lambda row: row[0])


def _named(row, controls):
    return f"{row.domain} / {controls[row.domain]} {row.value:+.2f} ({row.low:+.2f} to {row.high:+.2f})"


def _counts(n, word):
    return f"{n:.0f} {word}{'s' * (n != 1)}"


def _listed(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"
