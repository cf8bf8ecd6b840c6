#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes a hybrid BIOS and UEFI ISO: the kernel, the ring-3 programs, one config, and the images that
# the config names.   iso.sh CONFIG -o FILE [--option NAME]…
set -euo pipefail
. "$(dirname "$0")/common.sh"

config='' out='' options=()
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=${2:?-o needs a file name}; shift ;;
    --option) options+=("${2:?--option needs a name}"); shift ;;
    -*) die "iso: unknown option $1" ;;
    *) [ -z "$config" ] || die "iso: one config only"; config=$1 ;;
    esac
    shift
done
[ -n "$config" ] || die "usage: ./bulkhead iso CONFIG [-o FILE]"
[ -f "$config" ] || die "no such config: $config"
[ -n "$out" ] || out=$(basename "$config" .conf).iso
build=$root/build
for program in kernel manager vmm console; do
    [ -f "$build/boot/$program" ] || die "$program is not built: run ./bulkhead build"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-iso.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
base=$tree/boot/bulkhead
mkdir -p "$tree/boot/grub" "$base/bin" "$base/config" "$base/images" "$base/options"
cp "$root/grub.cfg" "$tree/boot/grub/grub.cfg"
cp "$root"/LICENSE* "$base/"
cp "$build/boot/kernel" "$base/kernel"
for program in manager vmm console; do
    cp "$build/boot/$program" "$base/bin/"
done
cp "$config" "$base/config/"
for option in ${options[@]+"${options[@]}"}; do
    echo "$option" >"$base/options/$option"
done

# Mistakes are shown and do not stop us: at boot, the VMs without one start all the same.
check=("$build/host/bulkhead-check" --path "$build/images")
"${check[@]}" "$config" >&2 || say "the config has mistakes; at boot, VMs with one are skipped"
while IFS=$'\t' read -r name path; do
    name=$(basename "$name")
    if [ -z "$path" ] || [ ! -f "$path" ]; then
        say "image $name is not on the ISO: it was not found"
    elif [ -e "$base/images/$name" ] && ! cmp -s "$path" "$base/images/$name"; then
        die "two different images are called $name; rename one"
    else
        cp -L "$path" "$base/images/$name"
    fi
done < <("${check[@]}" --images "$config")

# Only the GRUB modules in use, no fonts, themes or languages: small, and quick to boot.
modules="normal multiboot2 iso9660 serial terminal boot echo test regexp search search_fs_file"
modules+=" search_fs_uuid part_msdos part_gpt configfile relocator all_video"
# On UEFI, grub-mkrescue's start-up script asks for these, and complains about each that is not
# there.
modules+=" part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_plan part_sun"
modules+=" part_sunpc"
mkdir -p "$(dirname "$out")"
if ! grub-mkrescue -o "$work/out.iso" --fonts= --locales= --themes= \
    --install-modules="$modules" "$tree" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    die "grub-mkrescue failed"
fi
mv "$work/out.iso" "$out"
