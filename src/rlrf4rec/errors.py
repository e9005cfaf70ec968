"""The one error a user can mend: what is wrong, where, and what to do."""


class RLRFError(Exception):
    """Bad params, data, assets or model answers. The command line prints it without a traceback."""
