package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"

	"github.com/apmon-go/apmon/internal/graph"
)

// StaticPath is the path below which style sheet, script and icon are.
const StaticPath = "/static/"

var (
	//go:embed style.css
	styleText string
	//go:embed lists.css
	listsText string
	//go:embed script.js
	scriptText string
	//go:embed icon.svg
	iconText string
)

// staticFiles are all static files.
type staticFiles struct {
	style, script, icon *static
	byPath              map[string]*static
}

var statics = sync.OnceValue(func() *staticFiles {
	f := &staticFiles{
		style:  newStatic("style.css", "text/css; charset=utf-8", Style()),
		script: newStatic("script.js", "text/javascript; charset=utf-8", scriptText),
		icon:   newStatic("icon.svg", "image/svg+xml", iconText),
	}
	f.byPath = map[string]*static{f.style.path: f.style, f.script.path: f.script, f.icon.path: f.icon}
	return f
})

// Style returns the style sheet, for documents without a server such as reports of jobs.
func Style() string { return styleText + graph.CSS + listsText }

// static is a file. Its path has a hash of the contents, so that a browser keeps it for good.
type static struct {
	path string
	body *body
}

func newStatic(name, contentType, text string) *static {
	sum := sha256.Sum256([]byte(text))
	base, ext, _ := strings.Cut(name, ".")
	return &static{StaticPath + base + "." + hex.EncodeToString(sum[:6]) + "." + ext, newBody(contentType, []byte(text))}
}

func serveStatic(w http.ResponseWriter, r *http.Request, path string) {
	f := statics().byPath[path]
	if f == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	write(w, r, f.body, 0)
}
