# python:3.11-slim-bookworm. The authorities of this machine are trusted, as packages come from its index.
FROM neo-test-base
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
