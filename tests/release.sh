#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs the suite on a Debian release that this machine has not: in a root made by debootstrap, with
# a clone of this checkout's last commit in it.
#   tests/release.sh 12|13 [--long] [--root DIR] [WORD…]
# --long: ./bulkhead test, in place of ./bulkhead test --quick; WORD…: its arguments, in place of
# both. --root: where the root is, or is made (default: in the cache); it stays, for the next time.
#
# Needs root for chroot, and debootstrap. What runs in there sees that folder, its own processes and
# its own mounts only; all of it ends with this script. The mirrors are those of this machine's apt.
set -euo pipefail
. "$(dirname "$0")/../tools/common.sh"

usage="usage: tests/release.sh ${debian_releases[*]/#/| } [--long] [--root DIR] [WORD…]"
usage=${usage/| /}
release='' target='' words=(--quick)
while [ $# -gt 0 ]; do
    case $1 in
    --long) words=() ;;
    --root) target=${2:?--root needs a folder}; shift ;;
    *)
        [ -z "$release" ] || { words=("$@"); break; }
        release=$1
        ;;
    esac
    shift
done
case $release in
12) codename=bookworm ;;
13) codename=trixie ;;
*) die "$usage" ;;
esac
target=${target:-$cache/roots/debian-$release}
[ "$(id -u)" = 0 ] || die "tests/release.sh needs root, for chroot"
command -v debootstrap >/dev/null || die "debootstrap is not installed: apt-get install debootstrap"

# mirrors LABEL: where this machine's apt gets Debian's packages from.
mirrors() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' \
        | awk -v label="$1" '$2 == label { print $1; exit }'
}

# write_sources MIRROR SECURITY: apt's sources for that release, from this machine's mirrors.
write_sources() {
    local security=$2
    cat <<END
Types: deb
URIs: $1
Suites: $codename $codename-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    [ -z "$security" ] || cat <<END

Types: deb
URIs: $security
Suites: $codename-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
}

make_root() {
    local mirror=$1
    rm -rf "$target.new"
    mkdir -p "$target.new"
    debootstrap --variant=minbase "$codename" "$target.new" "$mirror"
    mv -T "$target.new" "$target"
}

# inside COMMAND…: as root of that folder, with processes, mounts and a name of its own, in place of
# this shell. No process of it outlives the one that it becomes.
inside() {
    local proxies=() name
    for name in {http,https,ftp,no}_proxy {HTTP,HTTPS,FTP,NO}_PROXY; do
        [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
    done
    exec unshare --mount --pid --ipc --uts --fork --kill-child --propagation private \
        bash -euc '
            mount -t proc proc "$0/proc"
            mount -t tmpfs -o mode=755 dev "$0/dev"
            for name in null zero full random urandom tty; do
                touch "$0/dev/$name"
                mount --bind "/dev/$name" "$0/dev/$name"
            done
            mkdir "$0/dev/pts" "$0/dev/shm"
            mount -t devpts -o newinstance,ptmxmode=666 devpts "$0/dev/pts"
            mount -t tmpfs -o mode=1777 shm "$0/dev/shm"
            ln -s pts/ptmx "$0/dev/ptmx"
            ln -s /proc/self/fd "$0/dev/fd"
            exec chroot "$0" env -i "$@"' \
        "$target" HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 ${proxies[@]+"${proxies[@]}"} "$@"
}

mirror=$(mirrors Debian)
[ -n "$mirror" ] || die "no mirror of Debian is among this machine's apt sources"
[ -x "$target/bin/bash" ] \
    || with_progress "$cache/log/debootstrap-$release.log" "making a Debian $release in $target" \
        make_root "$mirror"
rm -f "$target/etc/apt/sources.list"
write_sources "$mirror" "$(mirrors Debian-Security)" \
    >"$target/etc/apt/sources.list.d/debian.sources"
cp -L /etc/resolv.conf "$target/etc/resolv.conf"
[ -z "$(git -C "$root" status --porcelain)" ] \
    || say "there are uncommitted changes; the last commit is what is tested"
if [ -d "$target/bulkhead/.git" ]; then
    git -C "$target/bulkhead" fetch -q "$root" HEAD
    git -C "$target/bulkhead" checkout -q -f --detach FETCH_HEAD
else
    git clone -q "$root" "$target/bulkhead"
fi
say "Debian $release, $(git -C "$root" log -1 --format='%h %s'): ./bulkhead test ${words[*]:-}"
inside /bulkhead/bulkhead test ${words[@]+"${words[@]}"} &
trap 'kill -KILL "$!" 2>/dev/null || true' EXIT # unshare holds other signals back
trap 'exit 1' HUP INT TERM
status=0
wait "$!" || status=$?
exit "$status"
