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
	typelib() {
		need "$1" /usr/bin/python3 -c 'import gi, sys; gi.require_version(*sys.argv[1:])' "$2" "$3"
	}
	need gcc command -v gcc
	need libc6-dev test -e /usr/include/stdlib.h
	need nodejs command -v node
	need npm command -v npm
	need curl command -v curl
	need tshark command -v tshark
	need tcpdump command -v tcpdump
	need wireshark-common command -v editcap
	need tmux command -v tmux
	need jq command -v jq
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
	python python3-tornado tornado
	python python3-trio-websocket trio_websocket
	python python3-ws4py ws4py
	python python3-autobahn autobahn
	python python3-pyqt5.qtwebsockets PyQt5.QtWebSockets
	need g++ command -v g++
	need make command -v make
	need libokhttp-java test -e /usr/share/java/okhttp.jar
	need libtomcat9-java test -e /usr/share/java/tomcat9-websocket.jar
	need libjetty9-java test -e /usr/share/java/jetty9-client.jar
	need libjetty9-extra-java test -e /usr/share/java/jetty9-websocket-client.jar
	need libssl-dev test -e /usr/include/openssl/ssl.h
	need libwebsockets-dev test -e /usr/include/libwebsockets.h
	need libwebsocketpp-dev test -e /usr/include/websocketpp/client.hpp
	need libboost-system-dev sh -c 'test -e /usr/lib/*/libboost_system.so'
	need libpoco-dev test -e /usr/include/Poco/Net/WebSocket.h
	python python3-gi gi
	typelib gir1.2-soup-3.0 Soup 3.0
	typelib gir1.2-webkit2-4.1 WebKit2 4.1
	need glib-networking sh -c 'test -e /usr/lib/*/gio/modules/libgiognutls.so'
	need xvfb command -v Xvfb
	need libmojolicious-perl perl -MMojolicious -e1
	need libio-socket-ssl-perl perl -MIO::Socket::SSL -e1
	need ruby-faye-websocket ruby -e "require 'faye/websocket'"
	need tcllib sh -c 'echo "exit [catch {package require websocket}]" | tclsh'
	need tcl-tls sh -c 'echo "exit [catch {package require tls}]" | tclsh'
	need mono-mcs command -v mcs
	need mono-runtime command -v mono
	need ca-certificates-mono command -v cert-sync
	need firefox-esr command -v firefox-esr
	need mitmproxy command -v mitmdump
}

# apt_get runs apt-get. While another package manager is at work it waits, in the
# first 5 minutes of this script. DPkg::Lock::Timeout would do if it were not for
# the locks on lists and archives.
apt_get() {
	local output left
	output=$(mktemp)
	while left=$((SECONDS < 300 ? 300 - SECONDS : 0)); ! LC_ALL=C apt-get -o DPkg::Lock::Timeout=$left "$@" 2>&1 | tee "$output"; do
		if ! grep -q 'Could not get lock' "$output" || [ $left = 0 ]; then
			rm "$output"
			return 1
		fi
		echo "setup: waiting for another package manager" >&2
		sleep 5
	done
	rm "$output"
}

# npm_ci installs the Node packages. A download that fails is tried again.
npm_ci() {
	local try
	for try in 1 2 3; do
		[ $try = 1 ] || sleep 5
		npm ci --ignore-scripts --no-audit --no-fund && return
	done
	return 1
}

packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	# Installing a server must not start it.
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	apt_get update || true
	# shellcheck disable=SC2086
	apt_get install -y --no-install-recommends $packages ||
		for package in $packages; do apt_get install -y --no-install-recommends "$package" || true; done
	packages=$(missing)
fi

modules=
if ! [ interop/node/node_modules/.package-lock.json -nt interop/node/package-lock.json ]; then
	(cd interop/node && npm_ci) || modules="Node packages of testdata/interop/node"
fi

if [ -n "$packages$modules" ]; then
	echo "setup: could not set up:" $packages "$modules" >&2
	[ "${CI:-}" != true ] || exit 1
fi
