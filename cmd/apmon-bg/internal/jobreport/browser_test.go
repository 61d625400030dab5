package jobreport

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit/browser"
)

// The page is legible in a window and on a phone, light and dark, and asks for no other
// file.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	record, table, _, _ := files(t, "4711", start)
	other, otherTable, _, _ := files(t, "4712", start.Add(time.Hour))
	b := browser.Start(t)
	for _, paths := range [][]string{{record, table}, {record, table, other, otherTable}} {
		page, err := HTML(read(t, paths...))
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(page)
		}))
		defer server.Close()
		for name, view := range browser.Views {
			tab := b.Open(t, server.URL, view)
			if tab.Check(); t.Failed() {
				t.Fatalf("%d files, %s", len(paths), name)
			}
			tab.Close()
		}
	}
}
