#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes or updates a TFTP tree for network boot by BIOS and UEFI, with the content of the ISO, and
# prints what dnsmasq needs.
#   pxe.sh CONFIG [MAC=CONFIG]… -o DIR [--server ADDRESS] [--option NAME]…
#
# In the tree, boot/bulkhead/machines/01-MAC or machines/default has a machine's config and its
# list of what to load, modules.cfg; grub.cfg says why. MANIFEST names the files that are ours, with
# their sums: only those are replaced or removed. Files are made beside the tree's and renamed into
# place, the lists after all that they name, so that a machine which boots meanwhile gets no half.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/tree.sh"

usage="./bulkhead pxe CONFIG [MAC=CONFIG]… -o DIR [--server ADDRESS]"
wrong() { misuse "$usage" "$@"; }
manifest=boot/bulkhead/MANIFEST
platforms=(i386-pc x86_64-efi)

# Machines in the order of the command line: their folder, and by it their config.
machines=() out='' server='' options=()
declare -A configs

add_machine() {
    local machine=$1 config=$2
    [ -f "$config" ] || die "no such config: $config"
    [ -r "$config" ] || die "cannot read $config"
    [ "$(basename -- "$config")" != modules.cfg ] \
        || die "$config: the tree has such a file; rename it"
    machines+=("$machine")
    configs[$machine]=$config
}

add_argument() {
    local mac=${1%%=*} pair='[0-9a-f][0-9a-f]'
    if [[ $1 != *=* || $mac == */* ]]; then
        [ -z "${configs[default]:-}" ] \
            || wrong "two default configs, ${configs[default]} and $1: say MAC=CONFIG for one"
        add_machine default "$1"
        return
    fi
    mac=${mac,,}
    mac=${mac//:/-}
    # shellcheck disable=SC2053 # a pattern on purpose
    [[ $mac == $pair-$pair-$pair-$pair-$pair-$pair ]] \
        || wrong "bad MAC '${1%%=*}' in '$1': six pairs of hex digits, such as 52:54:00:12:34:56"
    [ -z "${configs[01-$mac]:-}" ] || wrong "MAC ${1%%=*} has two configs"
    [ -n "${1#*=}" ] || wrong "a config is missing after '$1'"
    add_machine "01-$mac" "${1#*=}"
}

while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) echo "usage: $usage"; exit ;;
    -o) out=${2:-}; [ -n "$out" ] || wrong "-o needs a folder"; shift ;;
    --server)
        server=${2:-}
        [[ $server =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] \
            || wrong "--server needs the IPv4 address of the TFTP server, not '$server'"
        shift
        ;;
    --option) options+=("${2:-}"); [ -n "${2:-}" ] || wrong "--option needs a name"; shift ;;
    -*) wrong "unknown option $1" ;;
    *) add_argument "$1" ;;
    esac
    shift
done
[ ${#machines[@]} -gt 0 ] || wrong "no config"
[ -n "${configs[default]:-}" ] || wrong "no default config, for machines of any other MAC"
[ -n "$out" ] || wrong "no folder for the tree"
take_build_lock "$build" -s
need_programs
for platform in "${platforms[@]}"; do
    [ -d "/usr/lib/grub/$platform" ] || die "GRUB for $platform is missing: run ./bulkhead setup"
done
for machine in "${machines[@]}"; do
    "${checker[@]}" -- "${configs[$machine]}" >&2 \
        || die "${configs[$machine]} has mistakes; nothing was written to $out"
done

# open_tree: makes the folder if it is not there; dies if it is not ours, or somebody is at it.
open_tree() {
    if [ -e "$out" ] || [ -L "$out" ]; then
        [ -d "$out" ] || die "$out is not a folder"
        [ -f "$out/$manifest" ] || [ -z "$(ls -A -I '.bulkhead-new.*' "$out")" ] \
            || die "$out has other things in it: give a new or an empty folder, or an earlier tree"
    else
        need_folder_of "$out"
        mkdir -- "$out" || die "cannot make the folder $out"
        chmod a+rx "$out"
    fi
    [ -w "$out" ] || die "cannot write to the folder $out"
    out=$(cd "$out" && pwd)
    exec 9<"$out"
    flock -n 9 || die "another ./bulkhead pxe is at work in $out"
    rm -rf "$out"/.bulkhead-new.* # of a run that was interrupted
    new=$(mktemp -d "$out/.bulkhead-new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
}

# add_line ROLE FILE: GRUB's call of load, with the file quoted as for a shell.
add_line() {
    local quote="'\\''"
    printf "load %s '%s'\n" "$1" "${2//\'/$quote}" >>"$list"
}

# put_machine MACHINE: its config, its list, and those of its images that are not there yet. An
# image that another machine has with other content goes into the folder of this one.
put_machine() {
    local folder=/boot/bulkhead/machines/$1 config=${configs[$1]} name file
    local list=$new$folder/modules.cfg
    mkdir -p "$new$folder"
    cp -L -- "$config" "$new$folder/"
    echo "# What GRUB loads after the kernel: load ROLE FILE. See 'Network boot' in the README." \
        >"$list"
    for name in manager vmm console; do
        add_line bin "/boot/bulkhead/bin/$name"
    done
    add_line config "$folder/$(basename -- "$config")"
    for name in ${options[@]+"${options[@]}"}; do
        add_line option "/boot/bulkhead/options/$name"
    done
    find_images "$config"
    [ ${#images[@]} -gt 0 ] || return 0
    while IFS= read -r name; do
        file=/boot/bulkhead/images/$name
        if [ -e "$new$file" ] && ! cmp -s -- "${images[=$name]}" "$new$file"; then
            file=$folder/$name
            [ ! -e "$new$file" ] || die "$config: rename image $name, there is another file $name"
        fi
        [ -e "$new$file" ] || cp -L -- "${images[=$name]}" "$new$file"
        add_line image "$file"
    done < <(printf '%s\n' "${!images[@]}" | sed 's/^=//' | LC_ALL=C sort)
}

# All modules that the menu needs are in the core image: over TFTP each file more takes its time.
put_grub() {
    local platform
    for platform in "${platforms[@]}"; do
        run_grub grub-mknetdir --net-directory="$new" --subdir=/boot/grub \
            -d "/usr/lib/grub/$platform" "${grub_options[@]}" \
            --install-modules="$grub_modules" --modules="$grub_modules"
    done
    # GRUB takes the TFTP server's address from the DHCP server, which knows none if it is another.
    [ -n "$server" ] || return 0
    core_image i386-pc i386-pc-pxe core.0 pxe
    core_image x86_64-efi x86_64-efi core.efi efinet
}

# core_image PLATFORM FORMAT FILE DRIVER: makes GRUB's first file anew, with the server in it.
core_image() {
    # shellcheck disable=SC2086 # the modules are several words
    run_grub grub-mkimage -d "/usr/lib/grub/$1" -O "$2" -o "$new/boot/grub/$1/$3" \
        -p "(tftp,$server)/boot/grub" "$4" tftp $grub_modules
}

run_grub() {
    "$@" >"$new/log" 2>&1 || { cat "$new/log" >&2; die "$1 failed"; }
    rm "$new/log"
}

# file_sum FILE: its line in the manifest, but for the name.
file_sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# ours FILE: whether the tree's file is as one of our runs left it.
ours() { [ -n "${old["$(file_sum "$out/$1")  $1"]:-}" ]; }

# save_manifest: the lines on stdin become the tree's manifest.
save_manifest() {
    LC_ALL=C sort -u -k 2 >"$new/manifest"
    chmod 644 "$new/manifest"
    mkdir -p "$out/${manifest%/*}"
    mv -f "$new/manifest" "$out/$manifest"
}

# install_file FILE: from the new tree into the one that is served. Sets `changed`.
install_file() {
    if [ -e "$out/$1" ]; then
        cmp -s "$new/$1" "$out/$1" && return
        if ! ours "$1"; then
            cp -p "$out/$1" "$out/$1.old"
            say "$1 was changed by hand; what it was is kept as $1.old"
        fi
    fi
    mkdir -p "$out/$(dirname "$1")"
    mv -fT "$new/$1" "$out/$1"
    changed=$((changed + 1))
}

# remove_file FILE: that was ours and is not in the new tree.
remove_file() {
    [ -e "$out/$1" ] || return 0
    if ours "$1"; then
        rm "$out/$1"
        rmdir -p --ignore-fail-on-non-empty "$out/$(dirname "$1")"
        say "removed $1"
    else
        say "left $1, which was changed by hand"
    fi
}

# update_tree: brings `new` into the tree. The manifest names old and new files until all is done,
# so that an interrupted run can be followed by another one.
update_tree() {
    local file line
    declare -gA old=() fresh=()
    changed=0
    if [ -f "$out/$manifest" ]; then
        while IFS= read -r line; do
            [ -z "$line" ] || old[$line]=1
        done <"$out/$manifest"
    fi
    while IFS= read -r file; do
        fresh[$file]=$(file_sum "$new/$file")
    done < <(cd "$new" && find boot -type f)
    { printf '%s\n' "${!old[@]}"; list_fresh; } | sed '/^$/d' | save_manifest
    while IFS= read -r file; do
        install_file "$file"
    done < <(printf '%s\n' "${!fresh[@]}" | grep -v '/modules\.cfg$' | LC_ALL=C sort)
    for file in "${!fresh[@]}"; do
        [[ $file != */modules.cfg ]] || install_file "$file"
    done
    for line in "${!old[@]}"; do
        file=${line#*  }
        [ -n "${fresh[$file]:-}" ] || remove_file "$file"
    done
    list_fresh | save_manifest
}

list_fresh() {
    local file
    for file in "${!fresh[@]}"; do
        printf '%s  %s\n' "${fresh[$file]}" "$file"
    done
}

# The lines of one of the two ways are comments.
print_dnsmasq() {
    local dhcp='' proxy='#'
    [ -z "$server" ] || dhcp='#' proxy=''
    cat <<TEXT
# Network boot of Bulkhead. Save this as /etc/dnsmasq.d/bulkhead.conf and restart dnsmasq.
# (Add port=0 if dnsmasq shall not answer DNS queries.)
enable-tftp
tftp-root="$out"

# dnsmasq gives out the addresses: write those of your network. The firmware says what it is: 0 is a
# BIOS, 7 and 9 are a 64-bit UEFI.
${dhcp}dhcp-range=192.168.1.100,192.168.1.199,12h
${dhcp}dhcp-match=set:bulkhead-bios,option:client-arch,0
${dhcp}dhcp-match=set:bulkhead-uefi,option:client-arch,7
${dhcp}dhcp-match=set:bulkhead-uefi,option:client-arch,9
${dhcp}dhcp-boot=tag:bulkhead-bios,boot/grub/i386-pc/core.0
${dhcp}dhcp-boot=tag:bulkhead-uefi,boot/grub/x86_64-efi/core.efi

# Another server gives out the addresses (proxy DHCP): only these four, and the tree must be made
# with --server ADDRESS, the address of this machine.
${proxy}dhcp-range=${server:-192.168.1.1},proxy
${proxy}pxe-service=x86PC,Bulkhead,boot/grub/i386-pc/core.0
${proxy}pxe-service=x86-64_EFI,Bulkhead,boot/grub/x86_64-efi/core.efi
${proxy}pxe-service=BC_EFI,Bulkhead,boot/grub/x86_64-efi/core.efi
TEXT
}

open_tree
put_programs "$new" ${options[@]+"${options[@]}"}
mkdir -p "$new/boot/bulkhead/images"
put_machine default
for machine in "${machines[@]}"; do
    [ "$machine" = default ] || put_machine "$machine"
done
put_grub
# The TFTP server may be nobody's.
find "$new/boot" -type d -exec chmod 755 {} +
find "$new/boot" -type f -exec chmod 644 {} +
update_tree
say "$out is up to date; files written: $changed"
print_dnsmasq
