"""Which states of a cloud can be held against others: those whose tokens are nearly all distinct.

Every measure of a cloud depends on its number of tokens, so both kinds have as many.  At the embedding equal words are
equal rows, and a cloud of text may be a few dozen words there: a point of another size, which is drawn and tabled with
its number of tokens but has no part in ranges, in peaks, and in counts of states.
"""

LEAST = (
    0.5  # of the distinct tokens that the kind has elsewhere: with half of them an estimate is as much as 1.4 as wide
)


def comparable(table):
    """The rows of states with enough distinct tokens.

    >>> comparable(pd.concat([steps, shapes]))

    `table`: `n`, distinct tokens, and `kind` (or `component`, of a results table).  Rows without a number stay.
    """
    key = "kind" if "kind" in table else "component"
    most = table.groupby(key)["n"].transform("max")
    return table[~(table["n"] < LEAST * most)]


def left_out(table):
    """The states that `comparable` leaves out: `(how many, text)`.

    >>> left_out(shapes)
    (1, 'text tokens at state 0 (77 distinct of 2880)')
    """
    most = table.groupby("kind")["n"].max()
    out = table.drop(comparable(table).index).drop_duplicates(["kind", "layer"])
    said = [
        f"{row.kind} tokens at state {row.layer} ({row.n} distinct of {most[row.kind]})" for row in out.itertuples()
    ]
    return len(out), ", ".join(said) or "none"


def of_both(table):
    """The layers with enough distinct tokens of both kinds: a set."""
    layers = [set(own["layer"]) for _, own in comparable(table).groupby("kind")]
    return set.intersection(*layers)
