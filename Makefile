# The two commands of the README, and the checks that they stand on.
.PHONY: demo test check bench help

help:
	@echo "make demo   build a release, start a network on this machine, upload a sample, say what to try"
	@echo "make test   all tests"
	@echo "make check  formatting, lints and documentation, as CI runs them"
	@echo "make bench  build a release, measure it, print a table (about ten minutes, 20 GB of disk)"

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

check:
	@scripts/check.sh

bench:
	@scripts/bench.sh
