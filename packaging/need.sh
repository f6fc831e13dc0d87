#!/usr/bin/env bash
# Installs the Debian packages of these commands where they are missing, or says how.
#
#   need.sh COMMAND...
set -euo pipefail

for command in "$@"; do
    if command -v "$command" >/dev/null; then
        continue
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$command is needed: install it, on Debian as root with: apt-get install $command" >&2
        exit 1
    fi
    # The one whose package has another name.
    package=${command/chromedriver/chromium-driver}
    echo "installing $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >/dev/null
done
