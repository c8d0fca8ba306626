#!/usr/bin/env bash
# Sets up what the tests use besides Go: Node packages, and Debian packages
# where it may install them. Says what it could not set up; the tests that need
# that are skipped, or fail where CI=true, as this does.
set -euo pipefail
cd "$(dirname "$0")"

# missing lists the Debian packages of which something is not there.
missing() {
	need() { # PACKAGE, and a command that succeeds if it is there
		local package=$1
		shift
		"$@" >/dev/null 2>&1 || echo "$package"
	}
	python() {
		need "$1" /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec(sys.argv[1]))' "$2"
	}
	need gcc command -v gcc
	need libc6-dev test -e /usr/include/stdlib.h
	need nodejs command -v node
	need npm command -v npm
	need curl command -v curl
	need tshark command -v tshark
	need nginx test -x /usr/sbin/nginx
	need haproxy test -x /usr/sbin/haproxy
	need chromium test -x /usr/bin/chromium
	need libnss3-tools command -v certutil
	need websocketd command -v websocketd
	need default-jdk-headless command -v javac
	need libnetty-java test -e /usr/share/java/netty-codec-http.jar
	need python3 test -x /usr/bin/python3
	python python3-websockets websockets
	python python3-aiohttp aiohttp
	python python3-websocket websocket
	python python3-wsproto wsproto
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	# Installing a server must not start it.
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	apt-get update || true
	# shellcheck disable=SC2086
	apt-get install -y --no-install-recommends $packages ||
		for package in $packages; do apt-get install -y --no-install-recommends "$package" || true; done
	packages=$(missing)
fi

modules=
if ! [ interop/node/node_modules/.package-lock.json -nt interop/node/package-lock.json ]; then
	(cd interop/node && npm ci --ignore-scripts --no-audit --no-fund) || modules="Node packages of testdata/interop/node"
fi

if [ -n "$packages$modules" ]; then
	echo "setup: could not set up:" $packages "$modules" >&2
	[ "${CI:-}" != true ] || exit 1
fi
