// Package viaenv leads the connections of a command to a proxy by the command's
// environment alone, where they can't be caught: variables name the proxy, Java is
// told of it, and Node, which heeds none of them, gets a preload.
package viaenv

import (
	_ "embed"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

// variables are those that name the proxy. Programs differ in which of the spellings
// they read.
var variables = []string{
	"http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy",
	"HTTP_PROXY", "HTTPS_PROXY", "WS_PROXY", "WSS_PROXY", "ALL_PROXY",
}

// exceptions are the variables that keep programs from the proxy.
var exceptions = []string{"no_proxy", "NO_PROXY"}

// Env returns a copy of env, the environment of a command, with what leads its
// connections to the HTTP proxy at addr. If lead is not nil, a preload for Node is put
// in the folder dir, which must outlive the command, and leads there.
func Env(env []string, addr *net.TCPAddr, lead *LeadIn, dir string) ([]string, error) {
	if addr.IP.IsUnspecified() {
		addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: addr.Port}
	}
	for _, name := range variables {
		env = environ.Set(env, name, "http://"+addr.String())
	}
	for _, name := range exceptions {
		env = environ.Set(env, name, "")
	}
	env = environ.Set(env, "MOJO_PROXY", "1") // Mojolicious reads the others then
	env = environ.Append(env, "JAVA_TOOL_OPTIONS", javaOptions(addr))
	if lead == nil {
		return env, nil
	}
	return lead.nodeEnv(env, addr, dir)
}

func javaOptions(addr *net.TCPAddr) string {
	host, port := addr.IP.String(), strconv.Itoa(addr.Port)
	return strings.Join([]string{
		"-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port,
		"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port,
		"-Dhttp.nonProxyHosts=",
	}, " ")
}

//go:embed preload.cjs
var preload []byte

// preloadName is the name of the preload in its folder.
const preloadName = "preload.cjs"

// leadVariable tells the preload where the lead-in is, its token, and the port of the
// proxy. Only processes of the user can read it, unlike the preload.
const leadVariable = "WSTRACE_LEAD_IN"

// nodeEnv makes Node run the preload.
func (l *LeadIn) nodeEnv(env []string, proxy *net.TCPAddr, dir string) ([]string, error) {
	file := filepath.Join(dir, preloadName)
	if err := os.WriteFile(file, preload, 0o644); err != nil {
		return nil, err
	}
	env = environ.Set(env, leadVariable, strings.Join([]string{
		strconv.Itoa(l.Addr().Port), strconv.Itoa(proxy.Port), l.token,
	}, " "))
	return environ.Append(env, "NODE_OPTIONS", "--require "+nodeQuoted(file)), nil
}

// nodeQuoted quotes a name in NODE_OPTIONS.
func nodeQuoted(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}
