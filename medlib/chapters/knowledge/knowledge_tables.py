"""The tables of the knowledge chapter: what is asked, what is answered, which pairs are left, and its results table."""

import numpy as np
import pandas as pd

from medlib import activations, concepts, knowledge
from medlib.chapters import atlas


def by_domain(of):
    """Tables by domain, one below the other, with the column `domain`.

    >>> by_domain({name: knowledge.by_item(found) for name, found in asked.items()})
    """
    return pd.concat(of, names=["domain"]).reset_index("domain").reset_index(drop=True)


def questions(asked):
    """One row a domain: what is asked, the first question with its answer, and counts.  `asked`: domain -> `Asked`."""
    rows = {}
    for name, found in asked.items():
        first = found.questions.iloc[0]
        rows[name] = {
            "asks": found.questions.attrs["asks"],
            "first question": f"{first['prompt']} ... {first['answer'].strip()}",
            "items": found.questions["item"].nunique(),
            "clusters": found.questions["cluster"].nunique(),
            "answers": found.questions["answer"].nunique(),
            "begin": found.logits.shape[1],
            "compared": f"{knowledge.compared(found):.0%}",
            "alone": int((knowledge.by_item(found)["met"] == 0).sum()),
        }
    return pd.DataFrame(rows).T


def accuracies(scores, known):
    """One row a domain: whether it is known, and its accuracies with their intervals; n-way beside its chance."""
    overall = scores[scores["variant"] == ""].copy()
    overall["text"] = [f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})" for row in overall.itertuples()]
    table = overall.pivot(index="domain", columns="metric", values="text").loc[overall["domain"].unique()]
    n_way = overall[overall["metric"] == "n-way"].set_index("domain")
    return pd.DataFrame(
        {
            "known": table.index.map(known),
            "pairwise": table["pairwise"],
            "contrast": table["contrast"],
            "n-way": table["n-way"],
            "n-way, one order": n_way["chance"].map("{:.2f}".format),
            "clusters": n_way["n"],
        }
    )


def wordings(scores, by_item):
    """Lowest and highest pairwise accuracy of a domain's templates, and of what its items are variations of."""
    single = scores[(scores["variant"] != "") & (scores["metric"] == "pairwise")]
    table = single.groupby("domain", sort=False)["value"].agg(["min", "max"])
    grouped = by_item[by_item["item"] != by_item["cluster"]].dropna()
    of_cluster = grouped.groupby(["domain", "cluster"])["value"].mean()
    for end, at in (("lowest", "idxmin"), ("highest", "idxmax")):
        places = of_cluster.groupby("domain").agg(at)
        table[end] = places.map(lambda key: f"{key[1]} {of_cluster[key]:.2f}")
    return table


def filters(asked, model, threshold):
    """`knowledge.filter_pairs` of every domain, one below the other; `model` as in `concepts.pairs`."""
    return by_domain(
        {
            name: knowledge.filter_pairs(found, concepts.pairs(name, model)[1], threshold)
            for name, found in asked.items()
        }
    )


def counts(filters):
    """Pairs kept and pairs dropped by reason: a row a domain, a column a reason, the first `kept`."""
    reasons = filters.assign(reason=filters["reason"].replace("", "kept"))
    table = reasons.groupby(["domain", "reason"], sort=False).size().unstack(fill_value=0)
    others = sorted(table.columns.drop("kept", errors="ignore"))
    return table.reindex(columns=["kept", *others], fill_value=0)


def sensitivity(model, domains, n_draws, seed=0):
    """`atlas.label_sensitivity` of every domain whose items can have several labels: with `domain` and `component`.

    >>> sensitivity(model, ["drugs", "foods"], n_draws=3)

    `component` is the label; every third state is taken, at the last token of the item.
    """
    parts = []
    for domain in domains:
        label = next((name for name, others in concepts.labels(domain).items() if others), None)
        if label is not None:
            frame = concepts.prompts(domain)
            states = activations(model, list(frame["prompt"]), at="entity")[::3]
            draws = [concepts.other_labels(domain, label, seed + draw) for draw in range(n_draws)]
            found = atlas.label_sensitivity(states, frame, label, draws, seed)
            parts.append(found.assign(domain=domain, component=label))
    return pd.concat(parts, ignore_index=True)


def labellings(sensitivity):
    """The scores of `sensitivity` with primary, other and random labels, as a table to show."""
    table = sensitivity.assign(
        score=[f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in sensitivity.itertuples()]
    )
    scores = table.pivot(index="domain", columns="labelling", values="score")
    scores.insert(0, "items with others", table.groupby("domain")["changed"].max())
    return scores[["items with others", "primary", "others", "random"]]


def lengths(asked, tokenizer):
    """How many tokens each question has: domain -> a list.  `asked`: domain -> `Asked`.

    What a chat template puts in front is not counted: it is as long for all of them.
    """
    return {
        name: [len(tokenizer(prompt)["input_ids"]) for prompt in found.questions["prompt"]]
        for name, found in asked.items()
    }


def length_rows(tokens):
    """The shares of questions of each length, as rows of the results table: `position` is the number of tokens.

    `tokens`: of `lengths`; `n` is the number of questions of the domain.
    """
    shares = {name: pd.Series(counts).value_counts(normalize=True, sort=False) for name, counts in tokens.items()}
    table = pd.concat(shares, names=["domain", "position"]).rename("value").reset_index()
    n = table["domain"].map({name: len(counts) for name, counts in tokens.items()})
    return table.assign(metric="questions of so many tokens", n=n).sort_values(["domain", "position"])


def rows(scores, known, filters, by_item, sensitivity):
    """The results table: accuracies, pairs with their differences, each item's accuracy and labels in other places."""
    scores = scores.assign(variant=scores["variant"].replace("", None))
    tested = filters.dropna(subset="clean_diff")
    pairs = tested.assign(
        component="against " + tested["other"],
        variant=tested["template"],
        metric=np.where(tested["kept"], "pair kept", "pair dropped: " + tested["reason"]),
        value=tested["clean_diff"] - tested["corrupt_diff"],
    )
    of_reason = counts(filters).stack().rename("value").reset_index()
    one_order = scores[scores["metric"] == "n-way"].drop(columns=["value", "low", "high"])
    tables = [
        scores,
        of_reason.assign(metric="pairs " + of_reason["reason"]),
        pairs,
        pairs.assign(metric="pair clean_diff", value=pairs["clean_diff"]),
        pd.DataFrame({"domain": list(known), "metric": "known", "value": [float(one) for one in known.values()]}),
        by_item.dropna().assign(metric="pairwise of item"),
        one_order.assign(metric="n-way, one order of answers", value=one_order["chance"]),
        sensitivity.assign(
            metric="silhouette above shuffled, " + sensitivity["labelling"] + " labels",
            space="raw",
        ),
    ]
    columns = ["domain", "item", "variant", "layer", "component", "space", "metric", "value", "low", "high", "n"]
    return pd.concat(tables).reindex(columns=columns)
