#!/usr/bin/env bash
# Runs one fuzz target for so many seconds from its seeds and what was found to cover more before. FUZZ_SEED=n begins with
# the same inputs each time. Usage: run.sh BINARY SECONDS
set -euo pipefail
cd "$(dirname "$0")"
binary=${1#fuzz/} name=$(basename "$1")
log=found/$name.log
if "$binary" "corpus/$name" "seeds/$name" -max_total_time="$2" -seed="${FUZZ_SEED:-0}" -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="found/$name-" >"$log" 2>&1; then
    echo "fuzz $name: $(tail -n 1 "$log")"
else
    grep -v '^ *[0-9]*: \|^ *at ' "$log" | tail -n 20 >&2
    echo "fuzz $name: failed; the input is in fuzz/found, and $1 INPUT repeats it" >&2
    exit 1
fi
