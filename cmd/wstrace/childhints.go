package main

import (
	"fmt"
	"net"
	"path"
	"strings"
)

// A programKind is a kind of program, as hints tell them apart.
type programKind int

const (
	otherProgram programKind = iota
	chromiumProgram
	electronProgram
	qtWebEngineProgram
	firefoxProgram
	webKitProgram
	nodeProgram
	javaProgram
	monoProgram
	pythonProgram
)

// programKinds has the names of processes, as the kernel gives them: without a path,
// and no more than 15 bytes.
var programKinds = map[string]programKind{
	"chrome": chromiumProgram, "chromium": chromiumProgram, "chromium-browse": chromiumProgram,
	"headless_shell": chromiumProgram, "chrome-headless": chromiumProgram, "google-chrome": chromiumProgram,
	"brave": chromiumProgram, "msedge": chromiumProgram, "opera": chromiumProgram, "vivaldi-bin": chromiumProgram,
	"electron":        electronProgram,
	"QtWebEngineProc": qtWebEngineProgram,
	"firefox":         firefoxProgram, "firefox-bin": firefoxProgram, "firefox-esr": firefoxProgram, "librewolf": firefoxProgram,
	"thunderbird": firefoxProgram, "thunderbird-bin": firefoxProgram,
	"WebKitNetworkPr": webKitProgram, "epiphany": webKitProgram, "MiniBrowser": webKitProgram,
	"node": nodeProgram, "nodejs": nodeProgram, "node-MainThread": nodeProgram, "MainThread": nodeProgram,
	"java": javaProgram,
	"mono": monoProgram, "mono-sgen": monoProgram,
}

// kindOf returns the kind of the process called name.
func kindOf(name string) programKind {
	name = path.Base(name)
	if strings.HasPrefix(name, "python") || name == "pypy3" {
		return pythonProgram
	}
	if len(name) > 15 {
		name = name[:15]
	}
	return programKinds[name]
}

// untrustedHint says what makes a command's process trust our authority where the
// environment does not. spki is the hash of the authority's key, and bundle the file
// with all the roots.
func untrustedHint(process, spki, bundle string) string {
	const nss = "wstrace ca install nss"
	const spkiList = "--ignore-certificate-errors-spki-list="
	switch kindOf(process) {
	case chromiumProgram:
		return fmt.Sprintf("Chromium trusts it after %s, or with the flags --user-data-dir=DIR %s%s", nss, spkiList, spki)
	case electronProgram:
		return fmt.Sprintf("Electron trusts it after %s, or with the flag %s%s", nss, spkiList, spki)
	case qtWebEngineProgram:
		return fmt.Sprintf("Qt WebEngine trusts it after %s, or with QTWEBENGINE_CHROMIUM_FLAGS=%s%s", nss, spkiList, spki)
	case firefoxProgram:
		return "Firefox trusts it after " + nss + ", in each profile that there is then"
	case webKitProgram:
		return "WebKitGTK and libsoup trust what the system trusts: wstrace ca install system"
	case monoProgram:
		return fmt.Sprintf("Mono has a list of its own: while this runs, cert-sync --user %q fills it", bundle)
	case javaProgram:
		return "a Java program may have a trust store of its own, as those with Jetty or Netty do: " +
			`keytool -importcert -file "$(wstrace ca path)" -keystore STORE adds to it; ` +
			"--pass HOST relays TLS to HOST without reading it"
	case nodeProgram:
		return "a Node program that sets the option ca trusts nothing else; wstrace ca export prints what to add; " +
			"--pass HOST relays TLS to HOST without reading it"
	}
	return "it may have a list of authorities of its own, in which what wstrace ca export prints has to be, " +
		"or the system's, into which wstrace ca install puts it; --pass HOST relays TLS to HOST without reading it"
}

// aroundHint says what makes a command's process come to the proxy at addr, where the
// environment does not.
func aroundHint(process string, addr net.Addr) string {
	const reverse = "for one server, run wstrace URL and point the program at wstrace"
	switch kindOf(process) {
	case chromiumProgram, electronProgram:
		return fmt.Sprintf("Chromium and Electron come with the flags --proxy-server=http://%s --proxy-bypass-list='<-loopback>'", addr)
	case qtWebEngineProgram:
		return fmt.Sprintf(`Qt WebEngine comes with QTWEBENGINE_CHROMIUM_FLAGS="--proxy-server=http://%s --proxy-bypass-list=<-loopback>"`, addr)
	case firefoxProgram:
		return fmt.Sprintf("Firefox has settings of its own: set its HTTP and HTTPS proxy to %s, and network.proxy.allow_hijacking_localhost to true", addr)
	case nodeProgram:
		return "Node comes if NODE_OPTIONS and WSTRACE_LEAD_IN are still in its environment; " + reverse
	case javaProgram:
		return "Jetty's and Netty's clients take a proxy from the program alone; " + reverse
	case pythonProgram:
		return "Python's websockets uses a proxy from version 15 on, aiohttp with trust_env=True, " +
			"and websocket-client never for loopback; " + reverse
	}
	return "the program takes no proxy from its environment, or not for this address; " + reverse
}
