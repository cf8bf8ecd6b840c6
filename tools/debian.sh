# SPDX-License-Identifier: BSD-2-Clause
# Which Debian release this machine has, and what differs by release. Sourced by common.sh.

debian_releases=(12 13)

# The release's number; BULKHEAD_RELEASE overrules the machine's own. On anything else that of the
# newest one that we know, with debian_known=no: its names are the best guess there is.
debian_known=yes
debian=${BULKHEAD_RELEASE:-$(cat /etc/debian_version 2>/dev/null || true)}
debian=${debian%%.*}
if [[ " ${debian_releases[*]} " != *" $debian "* ]]; then
    debian_known=no
    debian=${debian_releases[-1]}
fi

# What this machine calls itself.
system_name() {
    local name
    name=$(. /etc/os-release 2>/dev/null && printf %s "${PRETTY_NAME:-}") || true
    printf %s "${name:-an unknown system ($(uname -s))}"
}

# The upstream versions that the release has, as their tarballs' names and checksums. A change here
# rebuilds what depends on it.
case $debian in
12)
    zydis_version=4.0.0
    zydis_tarball=zydis_4.0.0.orig.tar.gz
    zydis_sum=e990107f80c62afc1deb51de230023a1098db801b8ea6bf483e296d45459e234
    lwip_version=2.1.3
    lwip_tarball=lwip_2.1.3+dfsg1.orig.tar.xz
    lwip_sum=0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24
    ;;
13)
    zydis_version=4.1.1
    zydis_tarball=zydis_4.1.1.orig.tar.gz
    zydis_sum=dcc31180a31e7f568d79d55f8181bd961981559a5666bf6fac43a69ad8b406bf
    lwip_version=2.2.1
    lwip_tarball=lwip_2.2.1+dfsg1.orig.tar.xz
    lwip_sum=83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1
    ;;
esac
