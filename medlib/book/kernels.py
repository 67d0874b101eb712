"""A notebook executed in a kernel of its own: this very interpreter, an environment fit for pages, and a time limit.

A kernel that dies, leaves or takes too long is an error like one of the notebook's own; an interrupt ends the kernel.
"""

import os
import sys
import threading
from time import perf_counter

from medlib import paths
from medlib.book import caches

LIMIT = 720  # minutes, where none are given: the longest recorded run takes 27, one of 70 billion parameters hours
TRIES = 3  # a kernel that dies before it answers has run nothing: another took its port between choice and use


def execute(notebook, values, work, house, limit=None):
    """Execute a notebook in a kernel of its own, for at most `limit` minutes; the error's last lines, or nothing.

    Without a limit it is `LIMIT`, so that a kernel that hangs does not hold up all others for ever; 0 is none.
    Papermill runs in a thread, so that an interrupt reaches us as one: nbclient takes over the signals of the main
    thread and an interrupted kernel then looks like one that died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    caches.mend_lists()
    caches.mend_compiled()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    kernel, failure = _kernel(work), []

    def attempt():
        papermill.execute_notebook(
            notebook,
            str(work / "notebook.ipynb"),
            parameters=values,
            kernel_manager_class=kernel,
            progress_bar=sys.stderr.isatty(),
            cwd=str(house),
        )

    def target():
        try:
            for left in reversed(range(TRIES)):
                try:
                    return attempt()
                except RuntimeError as error:
                    if not left or "before replying" not in str(error):
                        raise
        except PapermillExecutionError as error:
            failure.append(f"In [{error.exec_count}] {error.ename}: {error.evalue}")
        except (
            BaseException
        ) as error:  # e.g. a kernel that died: whatever it is, this run has failed and the next may not
            hint = " (the commonest cause is too little memory)" if type(error).__name__ == "DeadKernelError" else ""
            if isinstance(error, OSError) and error.filename is None:
                hint = f" ({work / 'notebook.ipynb'})"
            failure.append(f"{type(error).__name__}: {error}{hint}")

    thread = threading.Thread(target=target, daemon=True)
    limit = LIMIT if limit is None else limit
    end = perf_counter() + 60 * limit if limit else float("inf")
    thread.start()
    try:
        while thread.is_alive() and perf_counter() < end:
            thread.join(0.2)
    except BaseException:
        _end(kernel, thread)
        raise
    late = thread.is_alive()
    if late:
        _end(kernel, thread)
    caches.seal_compiled()
    if late:
        return f"It was ended after {limit:g} minutes, the limit it was given; `--limit` gives it more."
    return failure[0] if failure else ""


def _end(kernel, thread):
    """End a kernel and the thread that waits for it; one that was about to start is ended as soon as it has."""
    for _ in range(60):
        kernel.kill()
        thread.join(1)
        if not thread.is_alive():
            return


def _kernel(work):
    """A kernel manager for this very interpreter, whatever kernels the machine has, in an environment fit for pages."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    environment = {
        "MEDLIB_RUNS": str(work),
        "NUMBA_CACHE_DIR": str(paths.cache() / "numba"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning starve the ones that work
    }
    if threads := os.environ.get("OMP_NUM_THREADS"):  # or UMAP's first use sets those of torch to all cores
        environment["NUMBA_NUM_THREADS"] = threads
    spec = KernelSpec(**{**get_kernel_dict(), "env": environment})
    quiet = "--log-level=CRITICAL"  # or it reports every shutdown as an error
    spec.argv = [sys.executable, *spec.argv[1:], quiet]
    started = []

    class Kernel(AsyncKernelManager):
        kernel_spec = spec

        def __init__(self, **options):
            super().__init__(transport_encryption="auto", **options)  # others on the machine can reach the ports
            started.append(self)

        @staticmethod
        def kill():
            for manager in started:
                if getattr(manager.provisioner, "process", None) is not None:
                    manager.provisioner.process.kill()

    return Kernel
