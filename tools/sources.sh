#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Fetches the sources of Zydis and lwIP into the cache, without root.
#   sources.sh path zydis|lwip    prints where the unpacked source is (or would be)
#   sources.sh fetch              fetches, verifies and unpacks what is missing
#
# Of a Debian source package we take the upstream tarball, which must have the checksum that
# debian.sh says, wherever it came from; and Debian's patches to it, of whichever revision apt's
# signed lists name. A mirror may lack some of a package's files: the tarball is then looked for at
# its place in every mirror's pool, and patches that cannot be had are done without, which is said.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/apt.sh"

path_of() {
    case $1 in
    zydis) echo "$cache/src/zydis-$zydis_version" ;;
    lwip) echo "$cache/src/lwip-$lwip_version" ;;
    *) die "usage: sources.sh path zydis|lwip" ;;
    esac
}

# get URI FILE SUM: by apt's own ways to fetch, proxies and all; FILE is there only if the sum is
# right.
get() {
    echo "trying $1"
    /usr/lib/apt/apt-helper -o APT::Sandbox::User= download-file "$1" "$2.part" "SHA256:$3" \
        && echo "$3  $2.part" | sha256sum --check --quiet && mv "$2.part" "$2"
}

# get_tarball NAME TARBALL SUM: into the current folder.
get_tarball() {
    local name=$1 tarball=$2 sum=$3 uri places=()
    mapfile -t places < <(sed -nE "s|^'([^']+)' ${tarball//+/\\+} .*|\1|p" "$name.uris"
        apt-get "${apt_options[@]}" indextargets --format '$(REPO_URI)' 'Created-By: Sources' \
            | sort -u | sed "s|/*$|/pool/main/${name:0:1}/$name/$tarball|")
    for uri in ${places[@]+"${places[@]}"}; do
        ! get "$uri" "$tarball" "$sum" || return 0
    done
    echo "$tarball with the SHA-256 sum $sum is at none of these places:" \
        "${places[*]:-no apt source has source packages}"
    return 1
}

# get_patches NAME TARBALL: Debian's, for that tarball; into patches/ of the current folder.
get_patches() {
    local name=$1 version=${2%.orig.*} uri file sum line
    line="'([^']+)' (${version//+/\\+}-[^ /]+\.debian\.tar\.[a-z0-9]+) [0-9]+ SHA256:(.*)"
    read -r uri file sum < <(sed -nE "s|^$line|\1 \2 \3|p" "$name.uris") || return 1
    get "$uri" "$file" "$sum" && mkdir patches && tar -xf "$file" -C patches --strip-components=2 \
        debian/patches
}

# apply_patches TREE: in the order of their list.
apply_patches() {
    local patch
    while read -r patch; do
        [[ -z $patch || $patch == \#* ]] || patch -d "$1" -p1 -s -f <"patches/$patch" || return 1
    done <patches/series
}

# get_source NAME TARBALL SUM DIR: the tree DIR/NAME/tree, and DIR/NAME/unpatched if it is without
# Debian's patches.
get_source() {
    local name=$1 tarball=$2 sum=$3
    mkdir "$4/$name"
    cd "$4/$name"
    apt-get "${apt_options[@]}" source --print-uris "$name" >"$name.uris" || true
    get_tarball "$name" "$tarball" "$sum"
    mkdir tree
    tar -xf "$tarball" -C tree --strip-components=1
    if ! get_patches "$name" "$tarball" || ! apply_patches tree; then
        rm -rf tree
        mkdir tree unpatched
        tar -xf "$tarball" -C tree --strip-components=1
    fi
}

get_sources() {
    local dir=$1 name
    shift
    private_apt "$dir" deb-src
    for name in "$@"; do
        tarball=${name}_tarball sum=${name}_sum
        (get_source "$name" "${!tarball}" "${!sum}" "$dir")
    done
}

fetch() {
    local dir name missing=()
    for name in zydis lwip; do
        [ -d "$(path_of "$name")" ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    mkdir -p "$cache/src"
    dir=$(mktemp -d "$cache/sources.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$dir'" EXIT
    with_progress "$cache/log/sources.log" "fetching the sources of ${missing[*]}" \
        get_sources "$dir" "${missing[@]}"
    for name in "${missing[@]}"; do
        [ ! -d "$dir/$name/unpatched" ] \
            || say "$name without Debian's patches: the mirror has not got them (or has others)"
        mv -T "$dir/$name/tree" "$(path_of "$name")"
    done
}

case ${1:-} in
path) path_of "${2:-}" ;;
fetch) fetch ;;
*) die "usage: sources.sh path zydis|lwip, or sources.sh fetch" ;;
esac
