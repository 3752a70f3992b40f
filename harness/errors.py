"""Errors that are the user's to mend, told in one line: what came, what was expected, what to do next."""


class FrbenchError(Exception):
    """Bad input or set-up. The command line prints it as one line and ends with exit code 2."""


class Refused(Exception):
    """A cell that cannot exist, such as a gradient attack on a black box: recorded with its reason."""
