#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian 12 packages that are missing, and nothing else. Every verb of the Makefile
# runs it first, with the groups that the verb needs.
#
#   scripts/setup.sh [--list] [GROUP...]     without a group: build library tools tests
#
# It asks the network only if something is missing. FIRN_SKIP_SETUP=1 turns it off, for systems
# that provide the same packages in another way.
set -euo pipefail

# The one list of packages, with the reason of each group.
packages_of() {
  case "$1" in
    # Compile, configure, run tools/tidy.py.
    build) echo g++ cmake ninja-build pkg-config python3 ;;
    # Compression, CRC-32C, hashing.
    library) echo libzstd-dev libisal-dev libxxhash-dev ;;
    # The firn command.
    tools) echo libcli11-dev libfmt-dev nlohmann-json3-dev libsodium-dev ;;
    # Unit and property tests, and the simulation of the memory model of C++.
    tests) echo libgtest-dev libgmock-dev librapidcheck-dev relacy-dev ;;
    # Formatting, clang-tidy, thread-safety analysis (about 500 MB installed).
    lint) echo clang-19 clang-tidy-19 clang-format-19 ;;
    # libFuzzer and the sanitizer runtimes of clang.
    fuzz) echo clang-19 libclang-rt-19-dev ;;
    # Micro-benchmarks, the engines and tables to compare with, and charts.
    bench)
      echo libbenchmark-dev librocksdb-dev liblmdb-dev libsqlite3-dev libtkrzw-dev \
        libkyotocabinet-dev libtbb-dev libcuckoo-dev libabsl-dev gnuplot-nox ;;
    # Coverage of branches and conditions (make coverage).
    coverage) echo clang-19 libclang-rt-19-dev llvm-19 ;;
    # Real file systems, and a disk of our own below them (make campaign STAGE=powercut).
    campaign) echo libfuse3-dev e2fsprogs xfsprogs btrfs-progs ;;
    # A compiler for 64-bit ARM, and what runs its programs (make arm64).
    arm64) echo g++-aarch64-linux-gnu qemu-user ;;
    # dpkg-shlibdeps, for the .deb files.
    package) echo dpkg-dev file ;;
    *) return 1 ;;
  esac
}
all_groups=(build library tools tests lint fuzz bench coverage campaign arm64 package)

die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

if [[ ${1:-} == --list ]]; then
  for group in "${all_groups[@]}"; do printf '%-8s %s\n' "$group" "$(packages_of "$group")"; done
  exit 0
fi

groups=("$@")
[[ $# -gt 0 ]] || groups=(build library tools tests)
wanted=()
for group in "${groups[@]}"; do
  names=$(packages_of "$group") || die "no group '$group'; there are: ${all_groups[*]}"
  read -ra names <<<"$names"
  wanted+=("${names[@]}")
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)

[[ -z ${FIRN_SKIP_SETUP:-} ]] || exit 0

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || die \
  "this is not Debian (no apt-get), so nothing can be installed automatically." \
  "install the equivalents of: ${wanted[*]}" \
  "then run again with FIRN_SKIP_SETUP=1."

# dpkg-query says nothing about packages that it does not know, hence the two lists.
mapfile -t present < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" \
  2>/dev/null | sed -n 's/^installed //p' | sort -u)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(printf '%s\n' "${present[@]}"))
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || die "missing packages, and neither root nor sudo to install them." \
    "as root: apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Use-Pty=0 -o Acquire::Retries=2 "$@" >"$log" 2>&1 && return
  tail -n 15 "$log" >&2
  return 1
}
# The error is shown by the install below, if it matters: a stale list often still serves.
apt update -o APT::Update::Error-Mode=any ||
  echo "setup: no fresh package lists, trying without" >&2
system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release 2>/dev/null || true)
apt install -y --no-install-recommends "${missing[@]}" || die \
  "could not install: ${missing[*]}" \
  "firn is built on Debian 12 (this is ${system:-unknown});" \
  "check the network and /etc/apt/sources.list, or install them by hand and set FIRN_SKIP_SETUP=1."
