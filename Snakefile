"""Every chapter on every model, on one machine or on a cluster: jobs that each run `medlib run`.

    snakemake --profile profiles/local
    snakemake --profile profiles/slurm --config models="smollm2-135m gemma-3-270m"

What is current is decided by content, as everywhere here (medlib/book/current.py), and not by dates: a fresh clone has
the runs that were committed with it.  A job's output is an empty mark; a mark whose run is no longer current is removed
when the file is read, so that Snakemake finds missing what is to be made.  Keys of --config: medlib/book/jobs.py.
"""

import shlex
import sys

from snakemake.logging import logger

from medlib.book.jobs import Matrix

MATRIX = Matrix(config)
MARK = "_build/cells/{domain}/{model}/{technique}"
TO_DO = []

if workflow.is_main_process:  # a job need not look again at what is current
    TO_DO = MATRIX.to_do()
    for cell in TO_DO:
        (MATRIX.house / "_build/cells" / cell.key).unlink(missing_ok=True)
    logger.info(f"{len(MATRIX.cells)} cells, of which {len(MATRIX.cells) - len(TO_DO)} are current.")


def cell_of(wildcards):
    return MATRIX.cells[f"{wildcards.domain}/{wildcards.model}/{wildcards.technique}"]


def marks(cells):
    return [f"_build/cells/{cell.key}" for cell in cells]


def needs(what):
    """Only where jobs are handed out: one that runs has what it asked for."""
    if not workflow.is_main_process:
        return 0
    return lambda wildcards, attempt: MATRIX.needs(cell_of(wildcards), attempt)[what]


localrules:
    all,


rule all:
    input:
        marks(TO_DO),


rule chapter:
    input:
        lambda wildcards: marks(MATRIX.after(cell_of(wildcards), TO_DO)),
    output:
        touch(MARK),
    params:
        command=lambda wildcards: shlex.join([sys.executable, "-m", "medlib", *MATRIX.arguments(cell_of(wildcards))]),
    threads: MATRIX.threads
    resources:
        gpu=needs("gpu"),
        mem_mb=needs("mem_mb"),
        runtime=needs("runtime"),
    shell:
        "{params.command}"
