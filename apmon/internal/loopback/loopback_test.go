package loopback

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

func request(peer string, headers ...string) *http.Request {
	r := &http.Request{Method: http.MethodGet, RemoteAddr: peer, Header: http.Header{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestPeers(t *testing.T) {
	t.Parallel()
	for peer, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.9.10:65535": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"10.0.0.1:80": false, "192.168.0.1:80": false, "0.0.0.0:80": false, "[::]:80": false, "8.8.8.8:80": false, "[2001:db8::1]:80": false,
		"[::ffff:10.0.0.1]:80": false, "[::ffff:8.8.8.8]:80": false, "[::127.0.0.1]:80": false, "[fe80::1%eth0]:80": false, "[::1%lo]:80": false,
		"[::1%eth0]:80": false, "127.0.0.1": false, "::1": false, "": false, "@": false, "localhost:80": false, "127.0.0.1:": false,
		"127.0.0.1:99999": false, "127.1:80": false, "0177.0.0.1:80": false, "/run/app.sock": false, "<nil>": false,
	} {
		if got := Request(request(peer)); got != want {
			t.Errorf("%q: %v", peer, got)
		}
	}
}

// hops are values of one hop in any of the headers, true for loopback.
var hops = map[string]bool{
	"127.0.0.1": true, "127.0.0.2": true, "127.0.0.1:8080": true, "::1": true, "[::1]": true, "[::1]:8080": true, "::ffff:127.0.0.1": true,
	"[::ffff:127.0.0.1]:80": true, "0:0:0:0:0:0:0:1": true,
	"8.8.8.8": false, "10.0.0.1": false, "127.0.0.1.": false, "8.8.8.8:80": false, "2001:db8::1": false, "[2001:db8::1]:80": false,
	"::ffff:8.8.8.8": false, "[::ffff:8.8.8.8]:80": false, "::ffff:0a00:0001": false, "::127.0.0.1": false, "::1%lo": false, "[::1%eth0]": false, "[::1%25lo]:80": false,
	"fe80::1%eth0": false, "": false, "unknown": false, "_hidden": false, "_SEVKISEK": false, "localhost": false, "127.0.0.1.example.org": false,
	"127.0.0.1:": false, "127.0.0.1:port": false, "127.0.0.1:_obfuscated": false, "127.0.0.1:70000": false, "[127.0.0.1]": false, "[127.0.0.1]:80": false,
	"[::1": false, "::1]": false, "[]": false, "[[::1]]": false, "127.1": false, "2130706433": false, "0x7f.0.0.1": false, "0177.0.0.1": false, "127.0.0.01": false,
	"127.0.0.1 8.8.8.8": false, "127.0.0.1;8.8.8.8": false, "127.0.0.1\x00": false, "127.0.0.1\n": false, "１２７.0.0.1": false, "0.0.0.0": false, "::": false,
	"null": false, "-": false, "*": false, "'127.0.0.1'": false, `\127.0.0.1`: false, "127.0.0.1/8": false, "for=127.0.0.1": false,
}

func TestHops(t *testing.T) {
	t.Parallel()
	const peer = "127.0.0.1:4711"
	for hop, want := range hops {
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(hop)
		for _, headers := range [][]string{
			{"X-Forwarded-For: " + hop},
			{"X-Forwarded-For: 127.0.0.1, " + hop},
			{"X-Forwarded-For: " + hop + ",\t127.0.0.1"},
			{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: " + hop},
			{"X-Forwarded-For: " + hop, "X-Forwarded-For: 127.0.0.1"},
			{"X-Forwarded-For: 127.0.0.1", "X-Real-IP: " + hop},
			{"X-Real-IP: " + hop},
			{"x-real-ip: 127.0.0.1", "X-REAL-IP:  " + hop},
			{`Forwarded: for="` + escaped + `"`},
			{`Forwarded: proto=https;FOR="` + escaped + `";by=8.8.8.8`},
			{`Forwarded: for=127.0.0.1, For="` + escaped + `"`},
			{`Forwarded: For="` + escaped + `" , for="[::1]:80"`},
			{"Forwarded: for=127.0.0.1", `Forwarded: for="` + escaped + `"`},
		} {
			if got := Request(request(peer, headers...)); got != want {
				t.Errorf("%q: %v", headers, got)
			}
			if Request(request("8.8.8.8:80", headers...)) {
				t.Errorf("%q from elsewhere", headers)
			}
		}
	}
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"for=127.0.0.1": true, `for="127.0.0.1"`: true, `for="\1\2\7.0.0.1"`: true, "For=127.0.0.1;proto=http;by=203.0.113.43": true,
		`for="[::1]:4711";host="a,b;c"`: true, "for=127.0.0.1 , for=127.0.0.2": true, "for=127.0.0.1 ; proto=http": true,
		"": false, " ": false, ",": false, ";": false, "for": false, "for=": false, `for=""`: false, "127.0.0.1": false, "proto=http": false, "by=127.0.0.1": false,
		"for=127.0.0.1,": false, ",for=127.0.0.1": false, "for=127.0.0.1;": false, "for=127.0.0.1,,for=127.0.0.1": false, "for=127.0.0.1, proto=http": false,
		"for=127.0.0.1;for=8.8.8.8": false, "for=8.8.8.8;for=127.0.0.1": false, "for=127.0.0.1;for=127.0.0.1": false,
		"for=127.0.0.1, for=8.8.8.8": false, "for=8.8.8.8, for=127.0.0.1": false,
		`for="127.0.0.1`: false, `for="127.0.0.1\`: false, `for=127.0.0.1"`: false, `for="127.0.0.1"x`: false, `for="127.0.0.1", "for=8.8.8.8"`: false,
		`host="x, for=127.0.0.1`: false, `host=";for=127.0.0.1"`: false, "for = 127.0.0.1": false, "for= 127.0.0.1": false, "for:127.0.0.1": false,
		"for=[::1]": false, "for=127.0.0.1:80": false, // have to be quoted
		"for=_hidden": false, "for=unknown": false, `for="_gazonk"`: false, `for="unknown:80"`: false, "for=127.0.0.1 8.8.8.8": false, "xfor=127.0.0.1": false,
	} {
		if got := Request(request("[::1]:4711", "Forwarded: "+line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if Request(request("127.0.0.1:4711", "Forwarded: for=127.0.0.1", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 8.8.8.8")) {
		t.Error("one bad header of three was accepted")
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	unix := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/app.sock", Net: "unix"}))
	for _, peer := range []string{"@", "", "<nil>"} {
		if !Request(request(peer).WithContext(unix)) {
			t.Errorf("peer %q of a unix socket", peer)
		}
		if Request(request(peer, "X-Forwarded-For: 8.8.8.8").WithContext(unix)) {
			t.Errorf("peer %q that is a proxy", peer)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add(`for="[::1]:4711";host="a,b;c", for=127.0.0.1`)
	f.Add(`for=8.8.8.8`)
	f.Fuzz(func(t *testing.T, line string) {
		// With any other content, a hop on another machine is refused.
		if forwarded(line+", for=8.8.8.8") || forwarded("for=8.8.8.8, "+line) {
			t.Errorf("%q", line)
		}
		if forwarded(line) && !strings.Contains(strings.ToLower(line), "for=") {
			t.Errorf("%q without for", line)
		}
	})
}
