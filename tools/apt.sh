# SPDX-License-Identifier: BSD-2-Clause
# Packages without root: a private apt state made from this machine's own apt sources, with its
# keys; /etc/apt and the system's package lists stay untouched. Sourced after common.sh, never run.

# private_apt_sources DIR deb|deb-src: this machine's apt sources, as entries of one type only.
private_apt_sources() {
    local dir=$1 type=$2 file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        sed -nE "s/^deb[[:space:]]/$type /p" "$file" >"$dir/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        sed -E "s/^Types:.*/Types: $type/" "$file" >"$dir/$(basename "$file")"
    done
}

# private_apt DIR deb|deb-src: makes the state in DIR, reads the package lists, and sets the array
# apt_options for apt-get and apt-cache.
private_apt() {
    local dir=$1 type=$2
    mkdir -p "$dir/parts" "$dir/state/lists/partial" "$dir/cache/archives/partial"
    private_apt_sources "$dir/parts" "$type"
    apt_options=(
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/parts"
        -o Dir::State="$dir/state" -o Dir::State::status=/dev/null -o Dir::Cache="$dir/cache"
        -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3
    )
    # An unrelated source that cannot be reached must not matter; a missing package shows later.
    apt-get "${apt_options[@]}" update || true
}
