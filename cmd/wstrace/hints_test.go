package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/proxy"
)

func TestPage(t *testing.T) {
	got := page(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
	for _, want := range []string{"http_proxy=http://127.0.0.1:8080 program", "wstrace ws://HOST:PORT", "ws://127.0.0.1:8080 instead"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
}

// TestRemedies has a hint for each reason of the proxy.
func TestRemedies(t *testing.T) {
	walkLibrary(t, func(name string, n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return
		}
		typ, ok := spec.Type.(*ast.Ident)
		lit, isLit := spec.Values[0].(*ast.BasicLit)
		if !ok || !isLit || typ.Name != "Reason" {
			return
		}
		reason, _ := strconv.Unquote(lit.Value)
		if remedies[proxy.Reason(reason)] == "" {
			t.Errorf("%s: no hint for %s", name, spec.Names[0])
		}
	})
}

// TestLibraryNamesNoCommand checks that the words of the command line are those
// of the command alone: a library is used by other programs too.
func TestLibraryNamesNoCommand(t *testing.T) {
	words := regexp.MustCompile(`(^|[^-\w])--[a-z]|\bwstrace [a-z]|\bwstrace [A-Z]{2}`)
	walkLibrary(t, func(name string, n ast.Node) {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if words.MatchString(text) && !namesCommand[text] {
			t.Errorf("%s names a flag or a command: %s", name, lit.Value)
		}
	})
}

// namesCommand are texts that may.
var namesCommand = map[string]bool{
	"wstrace CA ": true, // in the name of a certificate
}

// walkLibrary calls visit for every node of the packages that are not the
// command's, their tests aside.
func walkLibrary(t *testing.T, visit func(name string, n ast.Node)) {
	for _, dir := range []string{"decode", "proxy", "render"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if n != nil {
					visit(name, n)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
