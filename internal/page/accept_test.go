package page

import (
	"fmt"
	"net/http"
	"testing"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{nil, ""}, {[]string{"gzip"}, "gzip 1, "},
		{[]string{"br, GZIP ; q=0.5", "identity;Q = 0"}, "br 1, gzip 0.5, identity 0, "},
		{[]string{"Text/HTML; level=1; q=0.1,*/*;q"}, "text/html 0.1, */* 1, "},
		{[]string{"a;q=x,b;q=,c;level=0"}, "a 0, b 0, c 1, "},
	} {
		got := ""
		for name, q := range Accepted(tt.lines) {
			got += fmt.Sprintf("%s %v, ", name, q)
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP ;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0, br": false, "zstd,br": false, "gzip;q=x": false, "gzip; q = 0": false, "gzip;q=0, gzip": false,
	} {
		if got := AcceptsGzip(http.Header{"Accept-Encoding": {"br", accept}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
