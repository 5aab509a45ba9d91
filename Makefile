# The two commands of the README, and the checks that they stand on.
.PHONY: demo test check help

help:
	@echo "make demo   build a release, start a network on this machine, upload a sample, say what to try"
	@echo "make test   all tests"
	@echo "make check  formatting, lints and documentation, as CI runs them"

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

check:
	@scripts/check.sh
