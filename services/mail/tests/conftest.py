"""For all tests of the mail service."""
