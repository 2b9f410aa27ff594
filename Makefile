# SPDX-License-Identifier: Apache-2.0
#
# The verbs of this project. Each installs the Debian packages that it needs and that are missing
# (scripts/setup.sh), then calls CMake or a script. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench campaign sim coverage lint format arm64 package clean

AREA ?=
QUICK ?=
STAGE ?=
DURATION ?=
SEED ?=
ONLY ?=
export AREA QUICK STAGE DURATION SEED ONLY

help:           ## this list
	@awk -F ': *## ' '/^[a-z0-9]+: *## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:          ## install what building, testing and the command need (GROUPS="lint bench ..." for more)
	@scripts/setup.sh $(GROUPS)

demo:           ## the main job on real input: import, read, kill, verify, export
	@scripts/setup.sh build library tools
	@scripts/demo.sh

test:           ## build and run every test: release, address+undefined and thread sanitizers
	@scripts/setup.sh build library tools tests
	@scripts/test.sh

bench:          ## measure against peers: AREA=one of them (default all), QUICK=1
	@scripts/setup.sh build library tools tests bench
	@scripts/bench.sh

campaign:       ## long hunts: STAGE="sim kill" (default all), DURATION=seconds each, SEED=n, ONLY=row
	@scripts/setup.sh build library tools tests
	@scripts/campaign.sh

sim:            ## the first stage of the campaign: simulated power cuts
	@$(MAKE) --no-print-directory campaign STAGE=sim

coverage:       ## branches and conditions that the tests reach in codec, journals and recovery
	@scripts/setup.sh build library tools tests coverage
	@scripts/coverage.sh

lint:           ## clang-format, clang-tidy and the thread-safety analysis of clang 19
	@scripts/setup.sh build library tools tests lint
	@scripts/lint.sh

format:         ## apply clang-format to every source file
	@scripts/setup.sh lint
	@git ls-files '*.h' '*.cc' | xargs -r clang-format-19 -i

arm64:          ## compile base and index for 64-bit ARM, and run histories of threads under QEMU
	@scripts/setup.sh build library arm64
	@scripts/arm64.sh

package:        ## Debian packages in build/package
	@scripts/setup.sh build library tools package
	@scripts/package.sh

clean:          ## remove everything that the other verbs built
	rm -rf build
