"""The knowledge map: which layers each technique points at, domain by domain, and how far the techniques agree.

>>> tables = {"lesion": results.read("lesion.parquet"), "patching": results.read("patching.parquet")}
>>> knowledge_map(tables).query("domain == 'drugs'")

It works on the results tables of the chapters and needs no model.  `curves` takes a curve over layers from each table,
`rules` finds the layers that a curve points at, `cells` puts both together for every domain and technique and says how
sure it is, `agreement` holds techniques, templates and domains against each other and against chance.
"""

from medlib.mapping.agreement import among_domains, pairs_of_techniques, stability, whole_domain
from medlib.mapping.cells import Cell, by_layer, cells, consensus, differences, domains, knowledge_map
from medlib.mapping.curves import TECHNIQUES, known

__all__ = [
    "TECHNIQUES",
    "Cell",
    "among_domains",
    "by_layer",
    "cells",
    "consensus",
    "differences",
    "domains",
    "knowledge_map",
    "known",
    "pairs_of_techniques",
    "stability",
    "whole_domain",
]
