# SPDX-License-Identifier: BSD-2-Clause
"""What setup makes of a system that it does not know, and of mirrors that lack files or have others
in their place. Stand-ins play dpkg and apt; nothing is booted, and nothing is fetched."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from test_tools import program

RELEASES = ("12", "13")
NAMES = ("zydis", "lwip")
PATCH = b"--- a/file\n+++ b/file\n@@ -1 +1 @@\n-upstream\n+debian\n"


@pytest.fixture(name="tools")
def fixture_tools(config_dir):
    return os.path.join(os.path.dirname(config_dir), "tools")


def test_unknown_system(tools, tmp_path):
    """It says what this is, what was tried and what is missing, and installs nothing."""
    program(tmp_path / "bin", "dpkg-query", "#!/bin/sh\n[ $1 = -W ] && echo gcc installed\n")
    program(tmp_path / "bin", "apt-get", f"#!/bin/sh\n>'{tmp_path}/done'\n")
    environment = program(
        tmp_path / "bin", "apt-cache", "#!/bin/sh\nshift\nfor name; do case $name in bochs) ;; *)\n"
        "printf '%s:\\n  Installed: (none)\\n  Candidate: 1.0\\n' $name; esac; done\n")
    environment["BULKHEAD_RELEASE"] = "99"
    result = subprocess.run([os.path.join(tools, "packages.sh"), "install"], check=False,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    with open("/etc/os-release", encoding="utf-8") as file:
        name = re.search(r'^PRETTY_NAME="?([^"\n]+)', file.read(), re.MULTILINE).group(1)
    assert f"error: this is {name}; Bulkhead knows the packages of Debian 12 and 13" \
        in result.stderr, result.stderr
    tried = re.search(r"tried: those of Debian 13, by .* not installed: (.*)", result.stderr)
    assert tried and "libclang-rt-19-dev" in tried.group(1).split(), result.stderr
    assert "gcc" not in tried.group(1).split(), result.stderr
    assert "apt's lists here (apt-get update makes them new) lack: bochs\n" in result.stderr, \
        result.stderr
    assert "BULKHEAD_RELEASE=13 ./bulkhead setup" in result.stderr, result.stderr
    assert not (tmp_path / "done").exists()


def only(folder):
    """An environment whose commands are this machine's, but for those of dpkg and apt."""
    folder.mkdir()
    for name in os.listdir("/usr/bin"):
        if not name.startswith(("apt", "dpkg")):
            (folder / name).symlink_to(f"/usr/bin/{name}")
    return dict(os.environ, PATH=str(folder), BULKHEAD_RELEASE="99")


@pytest.mark.parametrize("there", ("neither", "dpkg-query"))
def test_without_apt(tools, tmp_path, there):
    """Such as another distribution, on which somebody has installed dpkg."""
    environment = only(tmp_path / "bin")
    if there == "dpkg-query":
        program(tmp_path / "bin", "dpkg-query", "#!/bin/sh\n[ $1 = -W ] && echo gcc installed\n")
    result = subprocess.run([os.path.join(tools, "packages.sh"), "install"], check=False,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    said = result.stderr.split("\n")
    assert "Bulkhead knows the packages of Debian 12 and 13" in said[0], said
    assert " bochs " in said[1] and (" gcc " in said[1]) == (there == "neither"), said
    assert said[2:] == ["[bulkhead] error: there are no dpkg and apt here to ask for them: use "
                        "Debian, also in a container or chroot", ""], said


@pytest.mark.parametrize("release", RELEASES)
def test_other_architecture(tools, tmp_path, release):
    """Nothing is installed, for some packages are not there."""
    program(tmp_path / "bin", "dpkg-query", "#!/bin/sh\n")
    program(tmp_path / "bin", "apt-get", f"#!/bin/sh\n>'{tmp_path}/done'\n")
    environment = program(tmp_path / "bin", "dpkg", "#!/bin/sh\necho arm64\n")
    environment["BULKHEAD_RELEASE"] = release
    result = subprocess.run([os.path.join(tools, "packages.sh"), "install"], check=False,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert re.search("error: this is .* for arm64; Bulkhead is built on amd64 only: ",
                     result.stderr), result.stderr
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("release", RELEASES)
def test_packages(tools, tmp_path, release):
    """Each release has names of its own."""
    environment = program(tmp_path / "bin", "dpkg-query", "#!/bin/sh\n")
    environment["BULKHEAD_RELEASE"] = f"{release}.7"
    names = subprocess.run([os.path.join(tools, "packages.sh"), "missing"], check=True,
                           env=environment, capture_output=True, text=True).stdout.split()
    runtime = {"12": "libclang-rt-14-dev", "13": "libclang-rt-19-dev"}
    assert [name for name in names if name.startswith("libclang-rt")] == [runtime[release]]
    assert "clang" in names and not [name for name in names if "@" in name], names


def tarball(path, names):
    """Writes a tarball of those files; returns its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Mirror:
    """A copy of the tools that wants tarballs of ours, and an apt that names files of a folder."""

    def __init__(self, tools, folder):
        self.folder = folder
        self.cache = folder / "cache"
        shutil.copytree(tools, folder / "tools")
        script = folder / "tools" / "debian.sh"
        text, uris = script.read_text(), ""
        for name in NAMES:
            wanted = tarball(self.named(name), {f"{name}-1+a/file": b"upstream\n"})
            text = re.sub(rf"{name}_tarball=.*", f"{name}_tarball={self.named(name).name}", text)
            text = re.sub(rf"{name}_sum=.*", f"{name}_sum={wanted}", text)
            of_patches = tarball(self.patches(name), {"debian/patches/series": b"# one\nfix\n",
                                                      "debian/patches/fix": PATCH})
            for path, value in ((self.named(name), wanted), (self.patches(name), of_patches)):
                uris += f"{name} 'copy:{path}' {path.name} 100 SHA256:{value}\n"
        script.write_text(text)
        (folder / "uris").write_text(uris)
        self.environment = program(folder / "bin", "apt-get", f"""#!/bin/sh
case "$*" in
*--print-uris*) for name; do :; done; sed -n "s/^$name //p" '{folder}/uris' ;;
*indextargets*) echo copy:{folder}/mirror/ ;;
esac
""") | {"BULKHEAD_CACHE": str(self.cache)}

    def named(self, name):
        """Where apt says that the tarball is."""
        return self.folder / "named" / f"{name}_1+a.orig.tar.gz"

    def patches(self, name):
        return self.folder / "named" / f"{name}_1+a-2.debian.tar.gz"

    def pool(self, name):
        return self.folder / "mirror" / "pool" / "main" / name[0] / name / self.named(name).name

    def fetch(self):
        """Runs `sources.sh fetch`; returns it and the content of what was unpacked."""
        result = subprocess.run([self.folder / "tools" / "sources.sh", "fetch"], check=False,
                                env=self.environment, capture_output=True, text=True, timeout=60)
        return result, [path.read_text() for path in sorted(self.cache.glob("src/*/file"))]


@pytest.fixture(name="mirror")
def fixture_mirror(tools, tmp_path):
    return Mirror(tools, tmp_path)


def test_sources(mirror):
    result, files = mirror.fetch()
    assert result.returncode == 0, result.stderr
    assert files == ["debian\n", "debian\n"]


def test_sources_from_the_pool(mirror):
    """What apt names is not there, or is something else: the pool has it, and without patches."""
    for name in NAMES:
        mirror.pool(name).parent.mkdir(parents=True)
        shutil.move(mirror.named(name), mirror.pool(name))
        mirror.patches(name).unlink()
    tarball(mirror.named("lwip"), {"lwip-1+a/file": b"hostile\n"})
    result, files = mirror.fetch()
    assert result.returncode == 0, result.stderr
    assert files == ["upstream\n", "upstream\n"]
    for name in NAMES:
        assert f"{name} without Debian's patches" in result.stderr, result.stderr


def test_sources_of_other_content(mirror):
    """Nothing is taken that has not the checksum, wherever it is; and it says where it looked."""
    for path in (mirror.named("lwip"), mirror.pool("lwip")):
        tarball(path, {"lwip-1+a/file": b"hostile\n"})
    result, files = mirror.fetch()
    assert result.returncode == 1 and files == [], result.stderr
    said = re.search(r"lwip_1\+a\.orig\.tar\.gz with the SHA-256 sum \w{64} is at none of these "
                     r"places: (.*)", result.stderr)
    assert said, result.stderr
    assert said.group(1) == f"copy:{mirror.named('lwip')} copy:{mirror.pool('lwip')}"
    assert not list(mirror.cache.glob("sources.*"))


def test_sources_with_hostile_patches(mirror):
    """Patches count only with the checksum of apt's signed lists."""
    tarball(mirror.patches("lwip"), {"debian/patches/series": b"fix\n",
                                     "debian/patches/fix": PATCH.replace(b"+debian", b"+hostile")})
    result, files = mirror.fetch()
    assert result.returncode == 0, result.stderr
    assert files == ["upstream\n", "debian\n"] # lwip, zydis
