#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The stock Linux guest: Debian's cloud kernel, unmodified, and a busybox initramfs.
#   linux-image.sh fetch      downloads the kernel package into the cache, unpacks its bzImage and a
#                             few of its modules, which tests load
#   linux-image.sh install    puts vmlinuz and initrd.img into build/images
#   linux-image.sh path       prints where that bzImage is (or would be)
#   linux-image.sh modules    the same of the modules' folder
#   linux-image.sh stale      succeeds if install has
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/apt.sh"

kernel=$cache/linux/vmlinuz modules=$cache/linux/modules

download() {
    local dir=$1 package
    private_apt "$dir" deb
    package=$(apt-cache "${apt_options[@]}" depends --important linux-image-cloud-amd64 \
        | sed -nE 's/^ *Depends: (linux-image-[0-9].*)/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "no kernel behind linux-image-cloud-amd64"; return 1; }
    cd "$dir"
    # A cache of before it had modules keeps its kernel, as long as there is still that package.
    if [ -e "$cache/linux/package" ] \
        && apt-get "${apt_options[@]}" download "$(cat "$cache/linux/package")"; then
        package=$(cat "$cache/linux/package")
    else
        apt-get "${apt_options[@]}" download "$package"
    fi
    dpkg -x "$package"_*.deb "$dir/tree"
    cp "$dir"/tree/boot/vmlinuz-* "$dir/vmlinuz"
    mkdir "$dir/modules"
    find "$dir/tree" \( -name 'pvpanic.ko*' -o -name 'pvpanic-mmio.ko*' \) \
        -exec cp {} "$dir/modules" \;
    find "$dir/modules" -name '*.xz' -exec xz -d {} \; # as Debian 13 has them
    echo "$package" >"$dir/package"
}

fetch() {
    local dir
    [ ! -e "$kernel" ] || [ ! -e "$modules" ] || return 0
    mkdir -p "$cache/linux"
    dir=$(mktemp -d "$cache/linux.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$dir'" EXIT
    with_progress "$cache/log/linux.log" "downloading Debian's cloud kernel (25 MB, once)" \
        download "$dir"
    mv "$dir/package" "$cache/linux/package"
    rm -rf "$modules"
    mv "$dir/modules" "$modules"
    mv "$dir/vmlinuz" "$kernel"
}

vmlinuz=$root/build/images/vmlinuz initrd=$root/build/images/initrd.img

initrd_is_stale() {
    [ ! -e "$initrd" ] || [ "$root/tools/initrd.py" -nt "$initrd" ] \
        || [ "$root/tools/init" -nt "$initrd" ]
}

# Under the build tree's lock. What reads the images without it finds the old one or the new one.
install_images() {
    [ -e "$kernel" ] || die "no Linux kernel in the cache: run ./bulkhead setup"
    mkdir -p "$root/build/images"
    if ! cmp -s "$kernel" "$vmlinuz"; then
        cp "$kernel" "$vmlinuz.new"
        mv "$vmlinuz.new" "$vmlinuz"
    fi
    if initrd_is_stale; then
        /usr/bin/python3 "$root/tools/initrd.py" "$initrd"
    fi
}

case ${1:-} in
fetch) fetch ;;
install) install_images ;;
path) echo "$kernel" ;;
modules) echo "$modules" ;;
stale) ! cmp -s "$kernel" "$vmlinuz" || initrd_is_stale ;;
*) die "usage: linux-image.sh fetch|install|path|modules|stale" ;;
esac
