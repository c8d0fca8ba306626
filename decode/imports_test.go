package decode

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wstrace/wstrace"

// mayImport says which packages of the module a package imports, besides those
// below its own internal directory. What is not listed imports decode.
var mayImport = map[string][]string{
	"decode":            {"decode/internal/"},
	"decode/":           {"decode", "decode/pick", "decode/internal/"}, // file formats and what they share
	"decode/trace/edit": {"decode", "decode/pick", "decode/trace", "decode/internal/"},
	"render":            {"decode", "decode/pick"},
	"proxy":             {"decode", "proxy/ca", "proxy/internal/"},
	"proxy/":            {"decode", "proxy", "proxy/ca", "proxy/internal/"},
	"proxy/change":      {"decode", "decode/filter", "decode/pick", "proxy"},
	"proxy/replay":      {"decode", "decode/pick", "decode/trace", "decode/trace/edit", "proxy", "proxy/internal/"},
}

// badImport says why package pkg must not import imp, or returns "". Packages
// of the module are named without its path: "decode/trace", "net/http".
func badImport(pkg, imp string, ours bool) string {
	top, _, _ := strings.Cut(imp, "/")
	switch kind, _, _ := strings.Cut(pkg, "/"); {
	case !ours && pkg == "decode" && slices.Contains([]string{"net", "os", "log", "syscall"}, top):
		return "decode does no I/O and does not log"
	case !ours, kind == "cmd", strings.HasPrefix(imp, pkg+"/internal/"):
		return ""
	default:
		allowed, listed := mayImport[pkg]
		if !listed {
			if allowed, listed = mayImport[kind+"/"]; !listed {
				return "no rule is about " + pkg
			}
		}
		for _, a := range allowed {
			if imp == a || strings.HasSuffix(a, "/") && strings.HasPrefix(imp, a) {
				return ""
			}
		}
		return "it imports only " + strings.Join(allowed, ", ")
	}
}

func TestBadImport(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		ours, ok bool
	}{
		{"decode", "time", false, true},
		{"decode", "net", false, false},
		{"decode", "net/http", false, false},
		{"decode", "os", false, false},
		{"decode", "log/slog", false, false},
		{"decode", "decode/trace", true, false},
		{"decode", "decode/internal/inflate", true, true},
		{"decode", "proxy", true, false},
		{"decode/trace", "os", false, true},
		{"decode/trace", "decode", true, true},
		{"decode", "decode/pick", true, false},
		{"decode/internal/inflate", "decode/trace", true, false},
		{"decode/pick", "decode/trace", true, false},
		{"decode/trace", "decode/trace/edit", true, false},
		{"decode/trace", "proxy/internal/memconn", true, false},
		{"decode/trace/edit", "decode/trace", true, true},
		{"decode/trace/edit", "decode/pick", true, true},
		{"decode/trace/edit", "proxy/replay", true, false},
		{"decode/trace", "render", true, false},
		{"decode/filter", "decode/pick", true, true},
		{"decode/filter", "decode/trace", true, false},
		{"decode/har", "decode/trace", true, false},
		{"render", "decode", true, true},
		{"render", "decode/trace", true, false},
		{"render", "proxy", true, false},
		{"proxy", "decode", true, true},
		{"proxy", "proxy/ca", true, true},
		{"proxy", "render", true, false},
		{"proxy", "decode/trace", true, false},
		{"proxy/replay", "decode/trace", true, true},
		{"proxy/replay", "proxy", true, true},
		{"proxy/replay", "decode/pick", true, true},
		{"proxy/replay", "decode/trace/edit", true, true},
		{"proxy/replay", "proxy/internal/memconn", true, true},
		{"proxy", "proxy/internal/memconn", true, true},
		{"proxy", "decode/pick", true, false},
		{"proxy", "proxy/replay", true, false},
		{"render", "proxy/internal/memconn", true, false},
		{"proxy/replay", "decode/har", true, false},
		{"proxy/ca", "decode/trace", true, false},
		{"proxy", "cmd/wstrace", true, false},
		{"cmd/wstrace", "render", true, true},
		{"cmd/wstrace/internal/file", "decode/trace", true, true},
	} {
		if got := badImport(c.pkg, c.imp, c.ours); (got == "") != c.ok {
			t.Errorf("%s imports %s: got %q, want ok %t", c.pkg, c.imp, got, c.ok)
		}
	}
}

// TestImportDirections checks the imports of every package of the module, its
// tests aside.
func TestImportDirections(t *testing.T) {
	seen := map[string]bool{}
	walkModule(t, func(pkg, name string, file *ast.File) {
		seen[pkg] = true
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imp, ours := strings.CutPrefix(imp, module+"/")
			if why := badImport(pkg, imp, ours); why != "" {
				t.Errorf("%s imports %q: %s", name, imp, why)
			}
		}
	})
	for _, pkg := range []string{"decode", "decode/filter", "decode/pcap", "decode/pick", "decode/trace", "decode/trace/edit", "render", "proxy", "proxy/replay", "cmd/wstrace"} {
		if !seen[pkg] {
			t.Errorf("no package %s was found", pkg)
		}
	}
}

// TestDecodeReadsNoClock checks that package decode gets its times from its
// callers.
func TestDecodeReadsNoClock(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}
	walkModule(t, func(pkg, name string, file *ast.File) {
		if pkg != "decode" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
					t.Errorf("%s uses time.%s", name, sel.Sel.Name)
				}
			}
			return true
		})
	})
}

// walkModule calls visit for every Go file of the module that is no test, with
// its package without the module's path.
func walkModule(t *testing.T, visit func(pkg, name string, file *ast.File)) {
	t.Helper()
	root := filepath.Join("..")
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		base := path.Base(rel)
		switch {
		case e.IsDir() && rel != "." && (base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".")):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		visit(path.Dir(rel), rel, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
