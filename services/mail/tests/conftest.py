"""For all tests of the mail service."""

from running_service import post_office
from scanner_servers import _clamd, clamd_server, rspamd_server, spamd_server

__all__ = ["_clamd", "clamd_server", "post_office", "rspamd_server", "spamd_server"]
