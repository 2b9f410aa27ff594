#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make package` runs: the Debian packages, with the shared library, in build/package.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/build.sh
build package
rm -f build/package/*.deb
(cd build/package && umask 022 && cpack -G DEB) >>build/package.log 2>&1 || {
  tail -n 30 build/package.log >&2
  exit 1
}
for deb in build/package/*.deb; do
  printf '%-56s %s\n' "$deb" "$(dpkg-deb -f "$deb" Depends)"
done
