#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds newlib from Debian's newlib-source package into the cache, once per tarball, compiler and
# flags.   newlib.sh path: prints where it is (or would be).   newlib.sh build: builds it if needed.
set -euo pipefail
. "$(dirname "$0")/common.sh"

tarball=$(ls /usr/src/newlib/newlib-*.tar.* 2>/dev/null | head -n 1)
[ -n "$tarball" ] || die "no newlib source in /usr/src/newlib: run ./bulkhead setup"
cc=${BULKHEAD_NEWLIB_CC:-gcc}
cc_include=$("$cc" -print-file-name=include)
# No red zone: the same library serves ring-3 processes and guests, whose interrupts use the stack.
cflags="-O2 -g0 -ffreestanding -fno-pic -fno-pie -mno-red-zone -fno-stack-protector"
cflags+=" -fcf-protection=none -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections"
cflags+=" -nostdinc -isystem $cc_include"
configuration=(
    --target=x86_64-elf --disable-multilib --disable-libgloss --disable-newlib-supplied-syscalls
    --enable-newlib-io-c99-formats --enable-newlib-io-long-long
    --enable-newlib-retargetable-locking --disable-dependency-tracking
)
key=$({
    sha256sum <"$tarball"
    "$cc" --version | head -n 1
    echo "$cflags ${configuration[*]}"
} | sha256sum | cut -c1-16)
prefix=$cache/newlib-$key

build() {
    local work=$1
    tar -xf "$tarball" -C "$work" --strip-components=1
    mkdir "$work/obj"
    cd "$work/obj"
    "$work/configure" --prefix="$work/out" "${configuration[@]}" MAKEINFO=true \
        CC_FOR_TARGET="$cc" AR_FOR_TARGET=ar RANLIB_FOR_TARGET=ranlib AS_FOR_TARGET=as \
        LD_FOR_TARGET=ld NM_FOR_TARGET=nm STRIP_FOR_TARGET=strip OBJDUMP_FOR_TARGET=objdump \
        READELF_FOR_TARGET=readelf CFLAGS_FOR_TARGET="$cflags"
    make -j"$(nproc)" all-target-newlib
    make install-target-newlib
}

case ${1:-} in
path)
    echo "$prefix/x86_64-elf"
    ;;
build)
    [ -e "$prefix/x86_64-elf/lib/libc.a" ] && exit 0
    mkdir -p "$cache"
    # Not in the cache, whose path may have a blank: newlib's configure refuses that.
    work=$(mktemp -d /tmp/bulkhead-newlib.XXXXXX)
    trap 'rm -rf "$work" "$prefix.new"' EXIT
    with_progress "$cache/log/newlib.log" "building newlib (about a minute, once)" build "$work"
    # A rename makes the finished library appear whole, or not at all.
    rm -rf "$prefix.new"
    cp -R "$work/out" "$prefix.new"
    mv -T "$prefix.new" "$prefix"
    ;;
*)
    die "usage: newlib.sh path|build"
    ;;
esac
