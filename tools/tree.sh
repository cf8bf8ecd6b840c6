# SPDX-License-Identifier: BSD-2-Clause
# What iso.sh and pxe.sh share: the files that every way to boot needs, and the images that a config
# names. Sourced after common.sh, never run.

build=$root/build
checker=("$build/host/bulkhead-check" --path "$build/images")

# Only the GRUB modules in use: small, and quick to boot.
grub_modules="normal multiboot2 serial terminal boot echo test regexp configfile sleep relocator"
grub_modules+=" all_video cpuid mmap"
# And no fonts, languages or themes.
grub_options=(--fonts= --locales= --themes=)

# need_folder_of PATH: dies unless the folder is there that PATH is to be made in. It is not made: a
# mistyped name would leave it behind.
need_folder_of() {
    local folder
    folder=$(dirname -- "$1")
    [ -d "$folder" ] || die "cannot make $1: there is no folder $folder"
    [ -w "$folder" ] || die "cannot make $1: cannot write to the folder $folder"
}

# Dies unless ./bulkhead build has made the programs.
need_programs() {
    local program
    for program in kernel manager vmm console; do
        [ -f "$build/boot/$program" ] || die "$program is not built: run ./bulkhead build"
    done
}

# put_programs TREE [OPTION]…: GRUB's menu, the kernel, the ring-3 programs, and boot options.
put_programs() {
    local tree=$1 base=$1/boot/bulkhead name
    shift
    mkdir -p "$tree/boot/grub" "$base/bin" "$base/options"
    # A test's own lines stand in front.
    { [ -z "${BULKHEAD_GRUB_LINES-}" ] || echo "$BULKHEAD_GRUB_LINES"; cat "$root/grub.cfg"; } \
        >"$tree/boot/grub/grub.cfg"
    cp "$root"/LICENSE* "$base/"
    cp "$build/boot/kernel" "$base/kernel"
    for name in manager vmm console; do
        cp "$build/boot/$name" "$base/bin/"
    done
    # A test's own program in the place of all VMMs.
    [ -z "${BULKHEAD_VMM-}" ] || cp "$BULKHEAD_VMM" "$base/bin/vmm"
    for name in "$@"; do
        echo "$name" >"$base/options/$name"
    done
}

# find_images CONFIG: sets `images`, from the name at boot of each image that exists, with a = in
# front (for `@` alone would mean all), to its path.
declare -A images
find_images() {
    local name path
    images=()
    while IFS=$'\t' read -r name path; do
        if [ -n "${images[=$name]:-}" ] && ! cmp -s -- "$path" "${images[=$name]}"; then
            die "$1: two different images are called $name; rename one"
        fi
        images[=$name]=$path
    done < <("${checker[@]}" --images -- "$1")
}
