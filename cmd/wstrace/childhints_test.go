package main

import (
	"net"
	"strings"
	"testing"
)

func TestChildHints(t *testing.T) {
	proxy := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for _, tt := range []struct{ process, untrusted, around string }{
		{"chromium", "nss, or with the flags --user-data-dir=DIR --ignore-certificate-errors-spki-list=SPKI", "--proxy-server=http://127.0.0.1:8080 "},
		{"/usr/lib/chromium/chromium", "Chromium", "Chromium"},
		{"headless_shell", "Chromium", "Chromium"},
		{"QtWebEngineProcess", "QTWEBENGINE_CHROMIUM_FLAGS=--ignore", `="--proxy-server=http://127.0.0.1:8080 `},
		{"QtWebEngineProc", "Qt WebEngine", "Qt WebEngine"},
		{"electron", "Electron", "Electron"},
		{"firefox-esr", "Firefox trusts it after wstrace ca install nss", "allow_hijacking_localhost"},
		{"WebKitNetworkProcess", "wstrace ca install system", "wstrace URL"},
		{"mono-sgen", `cert-sync --user "BUNDLE"`, "wstrace URL"},
		{"java", "keytool", "Netty"},
		{"node", "option ca", "NODE_OPTIONS"},
		{"python3.11", "wstrace ca export", "trust_env"},
		{"", "wstrace ca export", "wstrace URL"},
	} {
		if got := untrustedHint(tt.process, "SPKI", "BUNDLE"); !strings.Contains(got, tt.untrusted) {
			t.Errorf("%s does not trust us: got %s, want %s", tt.process, got, tt.untrusted)
		}
		if got := aroundHint(tt.process, proxy); !strings.Contains(got, tt.around) {
			t.Errorf("%s goes around: got %s, want %s", tt.process, got, tt.around)
		}
	}
}
