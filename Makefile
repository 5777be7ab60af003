# SPDX-License-Identifier: GPL-2.0
#
# Everything is built and run in a Debian 13 root in the cache folder
# ($MINT_CACHE, ~/.cache/mint by default), which the first call makes.

all: module

# The module for the kernel that scripts/kernel-version names.
module:
	@scripts/build-module

# Three systems side by side in QEMU, one of them a Debian in a file.
demo: module
	@scripts/demo

# A Debian with a disk and a network card of its own, which the first OS reaches by ssh.
demo-net: module
	@scripts/demo-net

# Host tests of the pure code, and kselftests in QEMU.
test: module
	@setpriv --pdeathsig TERM scripts/test

# The same, with all repeats: every kernel through everything, cards handed over 20 times.
test-long: module
	@setpriv --pdeathsig TERM scripts/test --long

# The kselftests in a first OS whose kernel looks for faults: KASAN, lockdep, ...
test-debug:
	@setpriv --pdeathsig TERM scripts/test-debug

# 1,000 starts and stops in QEMU.
soak: module
	@setpriv --pdeathsig TERM scripts/soak

# The evaluation of the Mint papers: tables, results/bench.json, results/bench.svg.
bench: module
	@scripts/bench

# Stock kernels as successors, what each can and needs: Documentation/kernels.rst.
matrix: module
	@scripts/matrix

# The pure code with inputs that a fuzzer makes up, 1,000,000 for each target.
fuzz:
	@scripts/fuzz

# The first OS in QEMU, with the module at hand.
shell: module
	@scripts/shell

# Formatting and lints of Rust, shell and Python, and a few seconds of each fuzz target.
check:
	@scripts/check

clean:
	@find . \( -path ./.git -o -path ./tools -o -path ./results \) -prune -o -type f \( \
		-name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name '.*.d' -o -name modules.order -o -name Module.symvers \) -exec rm -f {} +
	@rm -rf scripts/__pycache__ tools/testing/*/target rmeta??????

# As clean, and the cache: downloads, compilers and kernels.
distclean: clean
	@scripts/clean-cache

help:
	@echo 'make          build mint.ko'
	@echo 'make demo     two stock kernels side by side in QEMU'
	@echo 'make demo-net a successor with a disk and a network card, reached by ssh'
	@echo 'make test     all tests'
	@echo 'make test-long the same, with all repeats'
	@echo 'make test-debug   kselftests on a debug kernel'
	@echo 'make soak     1,000 starts and stops in QEMU'
	@echo 'make bench    measure starts, alone and in parallel, and their cost'
	@echo 'make matrix   try stock kernels as successors, for the documentation'
	@echo 'make fuzz     the pure code with made-up inputs'
	@echo 'make shell    a shell in the first OS'
	@echo 'make check    formatting and lints, and a little fuzzing'
	@echo 'make clean, make distclean'

.PHONY: all module demo demo-net test test-long test-debug soak bench matrix fuzz shell check clean distclean help
