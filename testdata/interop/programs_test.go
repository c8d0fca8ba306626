package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// A program opens one WebSocket, which it finds by itself, sends a text that begins with
// "hello from " and 16 bytes, and exits with 0 when both have come back.
type program struct {
	name  string
	needs []tool
	build string // the command that makes it, if any
	run   string // the command that it is

	server string // of node/stacks.mjs, with a conversation of its own
	user   bool   // it is run by a user who isn't root
	store  bool   // it trusts the store of the system alone
	trusts string // what helps where the environment does not
	http   bool   // it speaks HTTP and nothing else
	first  bool   // it tries the first address of a name alone, and so gets only one
}

// In commands, OUT is the folder for what is made, URL where to connect to, CA the file
// with wstrace's authority, PAGE a page that talks, and JARS the class path.

const (
	goProgram   = "go build -o OUT/ ./programs/go"
	javaProgram = "javac -d OUT -cp JARS programs/java/Hello.java programs/java/HelloHttp.java programs/java/HelloJetty.java " +
		"programs/java/HelloNetty.java programs/java/HelloOkHttp.java programs/java/HelloTomcat.java"
	java = "java -XX:TieredStopAtLevel=1 -cp OUT:JARS Hello "
	deno = "node/node_modules/@deno/linux-x64-glibc/deno"
	bun  = "node/node_modules/@oven/bun-linux-x64/bin/bun"
)

var programs = []*program{
	{name: "Go: gorilla/websocket", build: goProgram, run: "OUT/go gorilla URL"},
	{name: "Go: fasthttp/websocket", build: goProgram, run: "OUT/go fasthttp URL"},
	{name: "Go: coder/websocket", build: goProgram, run: "OUT/go coder URL"},
	{name: "Go: gobwas/ws", build: goProgram, run: "OUT/go gobwas URL"},
	{name: "Go: lxzan/gws", build: goProgram, run: "OUT/go gws URL"},
	{name: "Go: x/net/websocket", build: goProgram, run: "OUT/go xnet URL"},

	{name: "Python: websockets", needs: []tool{pythonModule("websockets")}, run: python + " programs/hello.py websockets URL"},
	{name: "Python: aiohttp", needs: []tool{pythonModule("aiohttp")}, run: python + " programs/hello.py aiohttp URL"},
	{name: "Python: websocket-client", needs: []tool{pythonModule("websocket")}, run: python + " programs/hello.py websocket_client URL"},
	{name: "Python: tornado", needs: []tool{pythonModule("tornado")}, run: python + " programs/hello.py tornado URL"},
	{name: "Python: wsproto", needs: []tool{pythonModule("wsproto")}, run: python + " programs/hello.py wsproto URL"},
	{name: "Python: trio-websocket", needs: []tool{pythonModule("trio_websocket")}, run: python + " programs/hello.py trio URL"},
	{name: "Python: ws4py", needs: []tool{pythonModule("ws4py")}, run: python + " programs/hello.py ws4py URL", first: true, trusts: "taking any certificate"},
	{name: "Python: autobahn", needs: []tool{pythonModule("autobahn")}, run: python + " programs/hello.py autobahn URL"},

	{name: "Node: ws", needs: []tool{nodePackage("ws")}, run: "node node/hello.mjs ws URL"},
	{name: "Node: undici", needs: []tool{nodePackage("undici")}, run: "node node/hello.mjs undici URL"},
	{name: "Node: global WebSocket", needs: []tool{{"node", "--version"}}, run: "node --experimental-websocket node/hello.mjs global URL"},
	{name: "Node: faye-websocket", needs: []tool{nodePackage("faye-websocket")}, run: "node node/hello.mjs faye URL"},
	{name: "Node: socket.io", needs: []tool{nodePackage("socket.io-client")}, run: "node node/stacks.mjs client socket.io URL", server: "socket.io"},
	{name: "Node: graphql-ws", needs: []tool{nodePackage("graphql-ws")}, run: "node node/stacks.mjs client graphql-ws URL", server: "graphql-ws"},
	{name: "Node: MQTT.js", needs: []tool{nodePackage("mqtt"), nodePackage("aedes")}, run: "node node/stacks.mjs client mqtt URL", server: "mqtt"},
	{name: "Node: SignalR", needs: []tool{nodePackage("@microsoft/signalr")}, run: "node node/stacks.mjs client signalr URL", server: "signalr"},
	{name: "Deno", needs: []tool{{deno, "--version"}}, run: deno + " run -A node/hello.mjs global URL"},
	{name: "Bun", needs: []tool{{bun, "--version"}}, run: bun + " node/hello.mjs global URL"},

	{name: "Java: java.net.http", needs: javaNeeds, build: javaProgram, run: java + "http URL"},
	{name: "Java: OkHttp", needs: javaNeeds, build: javaProgram, run: java + "okhttp URL"},
	{name: "Java: Tomcat's client", needs: javaNeeds, build: javaProgram, run: java + "tomcat URL"},
	{name: "Java: Jetty's client", needs: javaNeeds, build: javaProgram, run: java + "jetty URL"},
	{name: "Java: Netty", needs: javaNeeds, build: javaProgram, run: java + "netty URL"},

	{name: "C: libwebsockets", needs: []tool{{"gcc", "--version"}, header("libwebsockets.h")},
		build: "gcc -o OUT/lws programs/hello.c -lwebsockets", run: "OUT/lws URL"},
	{name: "C: libsoup 3", needs: []tool{typelib("Soup", "3.0")}, run: python + " programs/hello.py libsoup URL",
		store: true, trusts: "the system's store"},
	{name: "C++: websocketpp", needs: []tool{{"g++", "--version"}, header("websocketpp/client.hpp"), header("openssl/ssl.h")},
		build: "g++ -w -o OUT/websocketpp programs/websocketpp.cc -lboost_system -lssl -lcrypto -lpthread", run: "OUT/websocketpp URL"},
	{name: "C++: Boost.Beast", needs: []tool{{"g++", "--version"}, header("boost/beast/websocket.hpp"), header("openssl/ssl.h")},
		build: "g++ -o OUT/beast programs/beast.cc -lssl -lcrypto -lpthread", run: "OUT/beast URL"},
	{name: "C++: POCO", needs: []tool{{"g++", "--version"}, header("Poco/Net/WebSocket.h")},
		build: "g++ -o OUT/poco programs/poco.cc -lPocoNetSSL -lPocoNet -lPocoFoundation", run: "OUT/poco URL"},
	{name: "C++: Qt 5", needs: []tool{pythonModule("PyQt5.QtWebSockets")}, run: python + " programs/hello.py qt URL",
		store: true, trusts: "the system's store"},

	{name: "C#: Mono's ClientWebSocket", needs: []tool{{"mcs", "--version"}, {"mono", "--version"}, {"sh", "-c", "command -v cert-sync"}},
		build: "mcs -out:OUT/Hello.exe programs/Hello.cs", run: "sh programs/mono.sh OUT/Hello.exe URL CA", trusts: "its own store: `cert-sync --user ca.pem`"},
	{name: "Perl: Mojolicious", needs: []tool{{"perl", "-MMojolicious", "-MIO::Socket::SSL", "-e1"}}, run: "perl programs/hello.pl URL"},
	{name: "Ruby: faye-websocket", needs: []tool{{"ruby", "-e", "require 'faye/websocket'"}}, run: "ruby programs/hello.rb URL", first: true},
	{name: "Tcl: websocket", needs: []tool{{"sh", "-c", "echo 'exit [catch {package require websocket; package require tls}]' | tclsh"}}, run: "tclsh programs/hello.tcl URL", first: true},

	{name: "Chromium", user: true, needs: []tool{nodePackage("playwright-core"), {"/usr/bin/chromium", "--version"}, {"sh", "-c", "command -v certutil"}},
		run: "node node/hello-chromium.mjs PAGE#URL CA", trusts: "its NSS store"},
	{name: "Firefox", user: true, needs: []tool{{"firefox-esr", "--version"}, {"sh", "-c", "command -v certutil"}},
		run: python + " programs/firefox.py URL CA", trusts: "the NSS store of its profile"},
	{name: "WebKitGTK", needs: []tool{typelib("WebKit2", "4.1"), {"sh", "-c", "command -v Xvfb"}}, run: python + " programs/hello.py webkit URL",
		store: true, trusts: "the system's store"},
	{name: "curl, a page", needs: []tool{{"curl", "--version"}}, run: "curl --silent --show-error --fail HTTP", http: true},
}

// javaNeeds are the jars of Debian's packages.
var javaNeeds = []tool{{"javac", "--version"}, {"sh", "-c", "test -e " + strings.ReplaceAll(jars(), ":", " -a -e ")}}

func jars() string {
	jars := nettyJars()
	for _, name := range []string{"netty-transport-native-unix-common", "okhttp", "okio", "websocket-api", "websocket-client-api",
		"tomcat9-websocket", "tomcat9-api", "tomcat9-juli", "tomcat9-util", "jetty9-websocket-api", "jetty9-websocket-client",
		"jetty9-websocket-common", "jetty9-client", "jetty9-http", "jetty9-io", "jetty9-util"} {
		jars += ":/usr/share/java/" + name + ".jar"
	}
	return jars
}

func header(name string) tool { return tool{"test", "-e", "/usr/include/" + name} }

func typelib(name, version string) tool {
	return tool{python, "-c", fmt.Sprintf("import gi; gi.require_version(%q, %q)", name, version)}
}

// A target is how a server on 127.0.0.1 is asked for. Its name has ::1 as well, where
// nobody listens.
type target struct {
	secure bool
	host   string
}

var targets = []target{{false, "localhost"}, {false, namedHost}, {true, "localhost"}, {true, namedHost}}

func (to target) String() string {
	scheme := "ws"
	if to.secure {
		scheme = "wss"
	}
	return scheme + " " + to.host
}

// TestPrograms runs programs under wstrace, and compares what was recorded with what
// their servers got and sent.
func TestPrograms(t *testing.T) {
	need(t, mountable())
	lab := newLab(t)
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			for _, n := range p.needs {
				need(t, n.missing())
			}
			t.Parallel()
			lab.build(t, p)
			for _, to := range targets {
				t.Run(to.String(), func(t *testing.T) { lab.test(t, p, to) })
			}
		})
	}
}

var update = flag.Bool("update", false, "write the table of programs into the README")

// TestProgramsTable compares the table that the README shows with the programs that
// TestPrograms runs.
func TestProgramsTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| program | ws:// | wss:// | trusts wstrace by |\n|---|---|---|---|\n")
	for _, p := range programs {
		trusts := p.trusts
		if trusts == "" {
			trusts = "the environment"
		}
		fmt.Fprintf(&table, "| %s | yes | yes | %s |\n", p.name, trusts)
	}
	readme := readReadme(t)
	section := regexp.MustCompile(`(?s)(<!-- programs:.*?-->\n).*?(<!-- end of programs -->)`)
	if !section.MatchString(readme) {
		t.Fatal("the README has no place for the table of programs")
	}
	want := section.ReplaceAllString(readme, "${1}"+table.String()+"${2}")
	if want == readme {
		return
	}
	if !*update {
		t.Fatal("the README's table of programs is another one: go test -run ProgramsTable -update")
	}
	if err := os.WriteFile("../../README.md", []byte(want), 0o666); err != nil {
		t.Fatal(err)
	}
}

// mountable reports why hosts can't be named for a program alone.
func mountable() error {
	out, err := exec.Command("unshare", "--mount", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unshare: %w: %s", err, out)
	}
	return nil
}
