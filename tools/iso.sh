#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes a hybrid BIOS and UEFI ISO: the kernel, the ring-3 programs, one config, and the images that
# the config names.   iso.sh CONFIG -o FILE [--kernel-args WORDS]
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/tree.sh"

usage='./bulkhead iso CONFIG [-o FILE] [--kernel-args WORDS]'
wrong() { misuse "$usage" "$@"; }

config='' out='' options=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) echo "usage: $usage"; exit ;;
    -o) out=${2:-}; [ -n "$out" ] || wrong "-o needs a file name"; shift ;;
    --kernel-args)
        [ $# -gt 1 ] || wrong "--kernel-args needs words"
        read -ra words <<<"$2"
        options+=(${words[@]+"${words[@]}"})
        shift ;;
    -*) wrong "unknown option $1" ;;
    *) [ -z "$config" ] || wrong "one config only, not $1 too"; config=$1 ;;
    esac
    shift
done
[ -n "$config" ] || wrong "no config"
for word in ${options[@]+"${options[@]}"}; do
    [[ $word != */* ]] || wrong "--kernel-args: '$word' cannot be a file's name, as each word is"
done
[ -f "$config" ] || die "no such config: $config"
[ -n "$out" ] || out=$(basename -- "$config" .conf).iso
[ ! -d "$out" ] || die "$out is a folder: -o needs a file name"
[[ $out != */ ]] || die "$out is a folder's name: -o needs a file name"
# It is made elsewhere and renamed: a device would be replaced, not written.
[ ! -e "$out" ] || [ -f "$out" ] || die "$out is not a file"
need_folder_of "$out"
take_build_lock "$build" -s
need_programs

work=$(mktemp -d "${TMPDIR:-/tmp}/bulkhead-iso.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
base=$tree/boot/bulkhead
put_programs "$tree" ${options[@]+"${options[@]}"}
mkdir -p "$base/config" "$base/images"
cp -- "$config" "$base/config/"

# Mistakes are shown and do not stop us: at boot, the VMs without one start all the same.
"${checker[@]}" -- "$config" >&2 || say "the config has mistakes; at boot, VMs with one are skipped"
find_images "$config"
for name in "${!images[@]}"; do
    cp -L -- "${images[$name]}" "$base/images/${name#=}"
done
drop_lock

modules="$grub_modules iso9660 search search_fs_file search_fs_uuid part_msdos part_gpt"
# On UEFI, grub-mkrescue's start-up script asks for these, and complains about each that is not
# there.
modules+=" part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_plan part_sun"
modules+=" part_sunpc"
if ! grub-mkrescue -o "$work/out.iso" "${grub_options[@]}" --install-modules="$modules" "$tree" \
    >"$work/log" 2>&1; then
    cat "$work/log" >&2
    die "grub-mkrescue failed"
fi
mv -- "$work/out.iso" "$out"
