#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Fetches the Debian source packages of Zydis and lwIP into the cache, without root.
#   sources.sh path zydis|lwip    prints where the unpacked source is (or would be)
#   sources.sh fetch              fetches, verifies and unpacks what is missing
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/apt.sh"

# name, Debian version, then one "checksum file" line per file that is unpacked.
zydis_package="zydis=$zydis_version-1"
zydis_sums="
e7bedc77843e2fce82e3a5e278a95e110a03063257a5bba09f0999f1aeac472a zydis_4.0.0-1.debian.tar.xz
e990107f80c62afc1deb51de230023a1098db801b8ea6bf483e296d45459e234 zydis_4.0.0.orig.tar.gz
"
lwip_package="lwip=$lwip_version+dfsg1-2"
lwip_sums="
0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24 lwip_2.1.3+dfsg1.orig.tar.xz
c5a48413d362cc757032cdd58f528f75eb64ee781ca46ca24f010b49b0e62a90 lwip_2.1.3+dfsg1-2.debian.tar.xz
"

path_of() {
    case $1 in
    zydis) echo "$cache/src/zydis-$zydis_version" ;;
    lwip) echo "$cache/src/lwip-$lwip_version" ;;
    *) die "usage: sources.sh path zydis|lwip" ;;
    esac
}

fetch_packages() {
    local dir=$1
    shift
    private_apt "$dir" deb-src
    cd "$dir"
    apt-get "${apt_options[@]}" source --download-only "$@"
}

unpack() {
    local name=$1 sums=$2 dir=$3 target
    target=$(path_of "$name")
    (cd "$dir" && printf '%s\n' "$sums" | sed '/^$/d; s/ /  /' | sha256sum --check --quiet) \
        || die "the source of $name does not have the expected checksum"
    (cd "$dir" && dpkg-source --no-check -x "$name"_*.dsc "$dir/$name.tree" >/dev/null)
    mkdir -p "$(dirname "$target")"
    mv -T "$dir/$name.tree" "$target"
}

fetch() {
    local dir missing=()
    [ -d "$(path_of zydis)" ] || missing+=("$zydis_package")
    [ -d "$(path_of lwip)" ] || missing+=("$lwip_package")
    [ ${#missing[@]} -gt 0 ] || return 0
    mkdir -p "$cache"
    dir=$(mktemp -d "$cache/sources.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$dir'" EXIT
    with_progress "$cache/log/sources.log" "fetching source packages: ${missing[*]}" \
        fetch_packages "$dir" "${missing[@]}"
    for package in "${missing[@]}"; do
        case $package in
        zydis=*) unpack zydis "$zydis_sums" "$dir" ;;
        lwip=*) unpack lwip "$lwip_sums" "$dir" ;;
        esac
    done
}

case ${1:-} in
path) path_of "${2:-}" ;;
fetch) fetch ;;
*) die "usage: sources.sh path zydis|lwip, or sources.sh fetch" ;;
esac
