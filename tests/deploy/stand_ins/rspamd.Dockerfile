# rspamd/rspamd:3.11. It knows GTUBE, the test string of spam, and asks no name server.
FROM neo-test-scanners
COPY rspamd.conf /etc/rspamd/rspamd.conf
ENTRYPOINT ["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", "/etc/rspamd/rspamd.conf"]
