# SPDX-License-Identifier: BSD-2-Clause
# Shared by the shell tools: where the cache is, and how they talk. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Without HOME, ~ is what the user database says.
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-${HOME:-~}/.cache}/bulkhead}
[[ $cache == /* ]] || cache=$PWD/$cache
export BULKHEAD_CACHE=$cache # others look from elsewhere

. "$root/tools/debian.sh"

say() { printf '[bulkhead] %s\n' "$*" >&2; }
die() { printf '[bulkhead] error: %s\n' "$*" >&2; exit 1; }

# misuse USAGE WORD…: dies of wrong arguments, with the status that says so everywhere.
misuse() {
    printf 'usage: %s\n' "$1" >&2
    printf '[bulkhead] error: %s\n' "${*:2}" >&2
    exit 64
}

# need_plain_path PATH WHAT: dies unless the build tools can handle the path. Blanks are all right.
# Ninja reads no dependency of a file with a quote in its path, a comma ends an option for the
# linker, a semicolon is CMake's between two files, and so on.
need_plain_path() {
    local LC_ALL=C odd=${1//[a-zA-Z0-9 \/_.+~@()=%$'\x80'-$'\xff'-]/}
    [ -z "$odd" ] || die "the path of $2, $1, has a character in it that the build tools cannot" \
        "handle: ${odd:0:1} (letters, digits, blanks and _ . - + ~ @ ( ) = % are fine); $3"
}

# take_lock FILE -s|-x WHAT: takes FILE's lock, shared or exclusive, and keeps it until drop_lock or
# the end of this process and of all that it starts. Says when it must wait for WHAT.
take_lock() {
    while :; do
        mkdir -p "$(dirname "$1")"
        exec {lock}>>"$1"
        if ! flock -n "$2" "$lock"; then
            say "waiting for $3"
            flock "$2" "$lock"
        fi
        # Whoever had it may have removed the file.
        [ ! "$1" -ef "/proc/self/fd/$lock" ] || return 0
        drop_lock
    done
}
drop_lock() { exec {lock}>&-; }

# take_build_lock DIR -s|-x: a build tree's lock. It is shared by who reads the tree, and exclusive
# while it is changed.
take_build_lock() { take_lock "$1/lock" "$2" "another ./bulkhead that uses $1"; }

# as_root COMMAND…: runs it as root, through sudo where needed. sudo would forget the proxies.
as_root() {
    local name proxies=()
    for name in {http,https,ftp,no}_proxy {HTTP,HTTPS,FTP,NO}_PROXY; do
        [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
    done
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo env "${proxies[@]}" "$@"
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
    trap 'kill "$pid" 2>/dev/null; exit 130' INT
    trap 'kill "$pid" 2>/dev/null; exit 143' TERM
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
