"""Errors of the disk that say what they are about: of a disk that is full the system names no file."""

import errno
import os
import shutil
from contextlib import contextmanager


@contextmanager
def named(path):
    """While it lasts, an `OSError` that names no file names this one, which is being written.

    >>> with named(report):
    ...     report.write_text(told)
    """
    try:
        yield
    except shutil.Error as error:  # of a whole folder: a list of what could not be copied, and why in words
        _, target, why = error.args[0][0]
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in why else errno.EIO
        raise OSError(number, os.strerror(number), target) from None
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
