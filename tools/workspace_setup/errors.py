class SetupError(Exception):
    """The set-up cannot go on; the text tells the user why and what to do, and is shown as it is."""
