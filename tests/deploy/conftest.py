"""For tests of the whole suite: what the services' own tests know how to start."""

from running_service import post_office

__all__ = ["post_office"]
