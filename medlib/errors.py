"""The one error a user meets.

Every mistake a user can make is raised where it is first visible, as a `MedlibError` whose message says
what was given, what is allowed and what to do next.  Anything else that escapes the library is a bug of ours.
"""


class MedlibError(Exception):
    """A mistake the user can mend; the message says how."""
