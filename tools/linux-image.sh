#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The stock Linux guest: Debian's cloud kernel, unmodified, and a busybox initramfs.
#   linux-image.sh fetch      downloads the kernel package into the cache, unpacks its bzImage
#   linux-image.sh install    puts vmlinuz and initrd.img into build/images
#   linux-image.sh missing    succeeds if fetch has something to do
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/apt.sh"

kernel=$cache/linux/vmlinuz

download() {
    local dir=$1 package
    private_apt "$dir" deb
    package=$(apt-cache "${apt_options[@]}" depends --important linux-image-cloud-amd64 \
        | sed -nE 's/^ *Depends: (linux-image-[0-9].*)/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "no kernel behind linux-image-cloud-amd64"; return 1; }
    cd "$dir"
    apt-get "${apt_options[@]}" download "$package"
    dpkg -x "$package"_*.deb "$dir/tree"
    cp "$dir"/tree/boot/vmlinuz-* "$dir/vmlinuz"
    echo "$package" >"$dir/package"
}

fetch() {
    local dir
    [ ! -e "$kernel" ] || return 0
    mkdir -p "$cache/linux"
    dir=$(mktemp -d "$cache/linux.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$dir'" EXIT
    with_progress "$cache/log/linux.log" "downloading Debian's cloud kernel (25 MB, once)" \
        download "$dir"
    mv "$dir/package" "$cache/linux/package"
    mv "$dir/vmlinuz" "$kernel"
}

install_images() {
    local images=$root/build/images
    [ -e "$kernel" ] || die "no Linux kernel in the cache: run ./bulkhead setup"
    mkdir -p "$images"
    cmp -s "$kernel" "$images/vmlinuz" || cp "$kernel" "$images/vmlinuz"
    if [ ! -e "$images/initrd.img" ] || [ "$root/tools/initrd.py" -nt "$images/initrd.img" ] \
        || [ "$root/tools/init" -nt "$images/initrd.img" ]; then
        /usr/bin/python3 "$root/tools/initrd.py" "$images/initrd.img"
    fi
}

case ${1:-} in
fetch) fetch ;;
install) install_images ;;
missing) [ ! -e "$kernel" ] ;;
*) die "usage: linux-image.sh fetch|install|missing" ;;
esac
