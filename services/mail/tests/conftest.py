"""For all tests of the mail service."""

from scanner_servers import _clamd, clamd_server, rspamd_server, rspamd_starting, spamd_server

__all__ = ["_clamd", "clamd_server", "rspamd_server", "rspamd_starting", "spamd_server"]
