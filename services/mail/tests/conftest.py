"""For all tests of the mail service."""

from mail_store import _store_address, store
from running_service import post_office
from scanner_servers import _clamd, clamd_server, rspamd_server, spamd_server
from turned_clock import clock

__all__ = [
    "_clamd",
    "_store_address",
    "clamd_server",
    "clock",
    "post_office",
    "rspamd_server",
    "spamd_server",
    "store",
]
