#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The Debian packages that building, running and testing need.
#   packages.sh missing    prints those that are not installed
#   packages.sh install    installs them (root, or sudo)
set -euo pipefail
. "$(dirname "$0")/common.sh"

# NAME@RELEASE: on that release only.
list=(
    # build
    gcc clang clang-tidy libclang-rt-14-dev@12 libclang-rt-19-dev@13 cmake ninja-build make
    libc6-dev newlib-source libzycore-dev dpkg-dev acpica-tools libcmocka-dev xz-utils
    # ISO, network boot and images
    grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools busybox-static
    # emulators
    bochs bochsbios vgabios qemu-system-x86 ovmf ipxe-qemu ipxe@13
    # tests
    python3 python3-pytest python3-pytest-xdist python3-pexpect dnsmasq-base
)
packages=()
for entry in "${list[@]}"; do
    [[ $entry == *@* && $entry != *@"$debian" ]] || packages+=("${entry%@*}")
done

missing() {
    # An unknown package is an error to dpkg-query, and missing to us.
    printf '%s\n' "${packages[@]}" | sort | comm -23 - <(
        dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null \
            | sed -n 's/ installed$//p' | sort -u)
}

# unknown_system PACKAGE…: what becomes of them on a system whose packages we do not know.
unknown_system() {
    local unknown=''
    say "error: this is $(system_name); Bulkhead knows the packages of Debian" \
        "$(sed 's/ / and /' <<<"${debian_releases[*]}")"
    say "tried: those of Debian $debian, by their names; not installed: $*"
    if command -v dpkg-query >/dev/null && command -v apt-cache >/dev/null; then
        unknown=$(printf '%s\n' "$@" | sort | comm -23 - <(
            apt-cache policy "$@" 2>/dev/null | awk '/^[^ ]/ { name = $1; sub(":$", "", name) }
                /Candidate:/ && $2 != "(none)" { print name }' | sort -u) | xargs)
        say "of these, apt's lists here (apt-get update makes them new) lack: ${unknown:-none}"
        die "install them, or what they are called here, and try again; or let" \
            "'BULKHEAD_RELEASE=$debian ./bulkhead setup' install those names (not tried by us)"
    fi
    die "there are no dpkg and apt here to ask for them: use Debian, also in a container or chroot"
}

# Some packages, and all that is built with them, are there for PCs only.
need_architecture() {
    local architecture
    architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
    [[ $architecture == @(amd64|x86_64) ]] \
        || die "this is $(system_name) for $architecture; Bulkhead is built on amd64 only:" \
            "elsewhere there are no packages of GRUB for PCs and of an amd64 Linux"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

case ${1:-} in
missing)
    missing
    ;;
install)
    mapfile -t wanted < <(missing)
    [ ${#wanted[@]} -gt 0 ] || exit 0
    need_architecture
    [ "$debian_known" = yes ] || unknown_system "${wanted[@]}"
    # sudo may ask for its password, which the progress display would hide.
    [ "$(id -u)" = 0 ] || as_root true
    with_progress "$cache/log/packages.log" "installing ${#wanted[@]} packages: ${wanted[*]}" \
        apt_install "${wanted[@]}"
    ;;
*)
    die "usage: packages.sh missing|install"
    ;;
esac
