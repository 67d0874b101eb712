"""What the chapter about saliency says of its numbers, in words that hold whatever these are.

Each function returns `(value, text)`, as `Run.number` takes it.  Only domains that the model knows are counted, and of
ratios only those that it knows together with their controls.
"""

from medlib.chapters.saliency.saliency_reference import judged

FEW = 0.25  # share of a domain's layers below which the ratio hardly changes
ALIKE = 0.5  # nats: answers whose mean log-probabilities lie closer are equally likely
KEPT, LOST = 0.7, 0.3  # rank correlations above which an order of layers is kept, and below which it is lost


def extremes(intervals):
    """The lowest value of some domains, and a text with the lowest and the highest, each with its interval.

    >>> extremes({"drugs": Interval(0.9, 0.8, 1.0), "age": Interval(0.5, 0.4, 0.6)})[1]
    '0.50 (age, 95 % interval 0.40 to 0.60) to 0.90 (drugs, 0.80 to 1.00)'
    """
    if not intervals:
        return "none", "undecided, since no domain is known"
    names = sorted(intervals, key=lambda name: intervals[name].value)
    lowest, highest = names[0], names[-1]

    def said(name, words):
        value, low, high = (f"{getattr(intervals[name], end):.2f}" for end in ("value", "low", "high"))
        return f"{value} ({name}, {words}{low} to {high})"

    words = said(lowest, "95 % interval ")
    return float(intervals[lowest].value), words if len(names) == 1 else f"{words} to {said(highest, '')}"


def peaks(found):
    """Where the slopes are steepest: `found` is domain -> result of `saliency_contrast.peaks`.

    >>> peaks({"age": (1, 1, 1), "drugs": (1, 1, 2)})
    (1, 'layer 1 in both domains')
    """
    at = {}
    for domain, (layer, *_) in found.items():
        at.setdefault(layer, []).append(domain)
    if len(at) == 1 and len(found) > 1:
        n = len(found)
        return next(iter(at)), f"layer {next(iter(at))} in {'both' if n == 2 else f'all {n}'} domains"
    return min(at), "; ".join(f"layer {layer} in {_listed(names)}" for layer, names in sorted(at.items()))


def verdict(changed, shares, compared, controls, known):
    """The first sentence of the answer: whether the ratio of a domain to its control is about the answer.

    `changed`: the corrected tests of `moved`, blocks only; `shares`: of `saliency_reference.terms`; `compared`: of
    `saliency_reference.compare`, or None.  A domain is an exception where at least a quarter of its layers change with
    the answer, and most of that change is the medical prompts' own.
    """
    names = judged(controls, known)
    if not names or compared is None:
        return "undecided", "Not decided: too little is known together with its control"
    counts = changed.groupby("domain")["clear"].mean()
    except_in = [name for name in names if counts[name] >= FEW and shares[name] > 0.5]
    if len(except_in) > len(names) / 2:
        return "answer", f"In part about the answer: the curve of {_listed(except_in)} changes with it"
    head = "Not about the answer" if compared.others_differ == "less" else "Not medical"
    words = f"{head}: changing the answer hardly changes how a domain differs from its control"
    return head, words + (f" (exception: {_listed(except_in)})" if except_in else "")


def differs(changed, compared, with_others, controls, known):
    """On how many layers the ratio leaves its mean, and whether two sets that are not medical differ as much.

    `changed`: the corrected tests of `shape`, blocks only; `compared`, `with_others`: of `saliency_reference.compare`
    with own answers and with those of other items, or None.
    """
    clear = changed[changed["domain"].isin(judged(controls, known))]["clear"]
    if compared is None:
        return 0, "No domain is known together with its control, or no two controls are, so no ratio is counted"
    count = int(clear.sum())
    words = f"On {count} of {len(clear)} layers of domains known with their controls the ratio differs from its mean"
    numbers = (
        f"{compared.others:.2f} against {compared.medical:.2f}, root mean square over layers in log2; 95 % interval of "
        f"the difference {compared.low:.2f} to {compared.high:.2f}"
    )
    if compared.others_differ != "less":
        verb = "differ by more" if compared.others_differ == "more" else "differ as much"
        so = "so this is a difference of questions, not of medicine"
        return count, f"{words}, but two non-medical sets {verb} ({numbers}), {so}"
    kept = with_others.medical / compared.medical
    rest = (
        "most of it stays, so it is about the prompts" if kept > 0.5 else "most of it goes, so it is about the answers"
    )
    return count, (
        f"{words}, and two non-medical sets differ by less ({numbers}); with other items' answers the "
        f"{compared.medical:.2f} become {with_others.medical:.2f}: {rest}"
    )


def changes(changed, shares, controls, known):
    """On how many layers the ratio changes with the answer, by domain, and whose answers do it.

    >>> changes(corrected(tests["moved"]), {"drugs": 0.8}, {"drugs": "foods"}, known)[1]
    'on 14 of 18 layers (drugs 14, mostly in the medical term)'
    """
    names = judged(controls, known)
    counts = changed.groupby("domain")["clear"].sum()
    total = int(counts.reindex(names).sum())
    parts = [
        f"{name} {counts[name]}, mostly in the {'medical term' if shares[name] > 0.5 else 'term of its control'}"
        for name in sorted(names, key=lambda name: -counts[name])
        if counts[name]
    ]
    n_layers = int(changed["domain"].isin(names).sum())
    return total, f"on {total or 'none'} of {n_layers} layers" + (f" ({'; '.join(parts)})" if parts else "")


def level(levels, likely, controls, known):
    """Where the ratio's level is not that of likelihood alone: it differs from 1 though the answers are as likely.

    `levels`: (domain, answer) -> `level`; `likely`: the table of `saliency_tables.asked`.
    """
    apart = [name for name in controls if not levels[name, "own"].low <= 1 <= levels[name, "own"].high]
    found = [name for name in apart if abs(likely["own"][name] - likely["own"][controls[name]]) < ALIKE]
    if not found:
        return "none", (
            "Where the level differs from 1, the mean log-probabilities of the two sets lie "
            f"{ALIKE} nats apart or more, so likelihood may be all that sets it"
            if apart
            else "The level differs from 1 in no domain"
        )
    said = [
        f"{name}{'' if known[name] and known[controls[name]] else ' (not known)'}, with mean log-probabilities of "
        f"{likely['own'][name]:.1f} and {likely['own'][controls[name]]:.1f} nats and a level of "
        f"{levels[name, 'own'].value:.2f} ({levels[name, 'other'].value:.2f} with other items' answers)"
        for name in found
    ]
    return ", ".join(found), f"More than likelihood sets the level in {'; '.join(said)}"


def scrambled(spread, names):
    """Whether a curve keeps its order of layers with the weights of all blocks in random order.

    `spread`: of `sanity.spread_of_orders`; `names`: the domains to count.
    """
    last = spread[(spread["blocks"] == "all") & (spread["scrambled"] == spread["scrambled"].max())]
    last = last.set_index("domain")["value"].reindex(list(names))
    if last.empty:
        return "none", "undecided, since no domain is known"
    sides = {
        f"kept (median rank correlation with the original {KEPT} or more)": last >= KEPT,
        f"lost (under {LOST})": last < LOST,
        "kept in part": (last < KEPT) & (last >= LOST),
    }
    return float(last.min()), "; ".join(
        f"{side} in {_listed(last.index[here])}" for side, here in sides.items() if here.any()
    )


def blind(orders, names):
    """The domains, of `names`, whose order with other answers is nearer than that of their least alike templates."""
    found = [name for name in names if orders["other answers"][name].low >= orders["templates"][name]]
    return len(found), f"{len(found)} of {len(names)}" + (f" ({_listed(found)})" if found else "")


def modules(table, names):
    """How many matrices and layers of the domains `names` are clear, and which matrices lie highest and lowest."""
    table = table[table["domain"].isin(names)]
    if table.empty:
        return 0, "No domain is known together with its control"
    mean, count = table.groupby("module")["value"].mean(), int(table["clear"].sum())
    return count, (
        f"{count} of {len(table)} places of domains that are known with their controls are clear; on average the ratio "
        f"lies highest above its own mean in {mean.idxmax()} and lowest in {mean.idxmin()}"
    )


def _listed(names):
    return ", ".join(names)
