# SPDX-License-Identifier: BSD-2-Clause
# Shared by the shell tools: where the cache is, and how they talk. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}

# Versions that the project is built against; a change here rebuilds what depends on it.
zydis_version=4.0.0
lwip_version=2.1.3

say() { printf '[bulkhead] %s\n' "$*" >&2; }
die() { printf '[bulkhead] error: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND…: runs it as root, through sudo where needed.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed for: $* (run ./bulkhead setup as root, or install sudo)"
    fi
}

# with_progress LOGFILE LABEL COMMAND…: runs a long command with its output in LOGFILE, and says
# every few seconds that it is still at it. Shows the log's end when it fails.
with_progress() {
    local log=$1 label=$2 start=$SECONDS pid shown=0
    shift 2
    mkdir -p "$(dirname "$log")"
    say "$label"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - start)) -ge $((shown + 10)) ]; then
            shown=$((SECONDS - start))
            say "  … $label: ${shown} s"
        fi
    done
    trap - INT TERM
    if ! wait "$pid"; then
        tail -n 25 "$log" >&2
        die "$label failed; the whole log is $log"
    fi
}
