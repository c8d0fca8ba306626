#!/bin/sh
# Runs a program with Mono, whose store of this user takes an authority before:
#
#	mono.sh PROGRAM URL CA
cert-sync --quiet --user "$3" && exec mono "$1" "$2"
