# clamav/clamav:1.4. It knows one virus: EICAR's test file, by its first bytes.
FROM neo-test-scanners
COPY clamd.conf /etc/clamav/clamd.conf
RUN echo "Test.Eicar:0:*:58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d5354414e44415244" \
    > /usr/share/eicar.ndb && mkdir -p /var/lib/clamav
ENTRYPOINT ["sh", "-c", "cp /usr/share/eicar.ndb /var/lib/clamav/ && exec clamd -c /etc/clamav/clamd.conf"]
