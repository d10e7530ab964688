#!/bin/sh
# Finds a Python that can run setup_environment.py, which then finds everything else.
set -eu

here=$(dirname "$0")
for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
        exec "$name" "$here/setup_environment.py" "$@"
    fi
done

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3 with apt-get"
    apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends python3 python3-venv >/dev/null &&
        exec python3 "$here/setup_environment.py" "$@"
fi
echo "Python 3.11 or later is missing: install it (python3), then run this again." >&2
exit 1
