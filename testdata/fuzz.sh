#!/usr/bin/env bash
# Runs every fuzz target of the module for $FUZZTIME, one after the other. Little
# of that goes into making inputs smaller, which would take all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	targets=$(go test -list '^Fuzz' "$package" | sed -n '/^Fuzz/p')
	for target in $targets; do
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 10x "$package"
	done
done
