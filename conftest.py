"""For all tests of the workspace."""

from hypothesis import settings

# No deadline per example: on a busy machine it fails tests that are right.
settings.register_profile("workspace", deadline=None, print_blob=True)
settings.load_profile("workspace")
