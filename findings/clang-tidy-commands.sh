#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# clang-tidy 14 (of Debian 12) looks at a file once for each of its entries in the compilation
# database, and says each finding once: a source that five programs compile takes five times as
# long, and nothing in the result shows why. CMake writes such a database: an entry for each target.
# Nor does it take the first entry and leave the others: a finding that only the last one's flags
# bring is said, too. Whoever wants a file looked at as one program compiles it has to hand over a
# database with that entry only.
# Needs apt-get with Debian 12 among its sources, and what clang-tidy-14's libraries need.
set -euo pipefail
version=1:14.0.6-12
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "clang-tidy-14=$version" "libclang-cpp14=$version" "libllvm14=$version" \
    "libclang-common-14-dev=$version" >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
tidy=root/usr/lib/llvm-14/bin/clang-tidy
libs=$dir/root/usr/lib/llvm-14/lib:$dir/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$libs
missing=$(ldd "$tidy" | grep 'not found' || true)
[ -z "$missing" ] || { echo "libraries are missing: $missing" >&2; exit 2; }
"$tidy" --version | grep version

cat > a.c <<'END2'
int twice(int n);
int twice(int n)
{
#ifdef LAST
    if (n == n)
        return 4;
#endif
    return n + n;
}
END2
# database N: N entries for the one file, and LAST is defined in the last of them.
database() {
    local i comma=''
    echo '['
    for ((i = 1; i <= $1; i++)); do
        echo "$comma{\"directory\": \"$dir\", \"file\": \"a.c\", \"output\": \"$i.o\","
        echo "\"command\": \"cc -DN=$i $([ "$i" = "$1" ] && echo -DLAST) -o $i.o -c a.c\"}"
        comma=,
    done
    echo ']'
}
for n in 1 5; do
    database $n > compile_commands.json
    "$tidy" --checks='-*,misc-redundant-expression' --enable-check-profile -p . a.c \
        > out 2>&1 || true
    looked=$(grep -c 'clang-tidy checks profiling' out || true)
    found=$(grep -c 'a.c:5:.*misc-redundant-expression' out || true)
    echo "$n entries: looked at $looked times, $found finding"
    [ "$looked" = "$n" ] && [ "$found" = 1 ] || { echo "this has changed"; cat out; exit 1; }
done
