// Package guard protects a web server from pages of other sites in the browsers of its
// readers. They can neither read its answers nor change anything:
//
//   - It answers GET and HEAD alone.
//   - It answers requests for known names alone. Otherwise a page whose name resolves to the
//     address of this host (DNS rebinding) is the same site to a browser.
//   - A page of another site may link to it, but not load from it: the browser says so in
//     Sec-Fetch-Site or Origin. Of browsers that send neither, Cross-Origin-Resource-Policy
//     asks the same.
//   - No answer permits another site to read it, to put it into a frame, or to keep a handle
//     on its window, and what an answer may load comes from here.
package guard

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// contentPolicy permits the style sheet, the script, images and data of the server itself.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxRefused is how many refused names are logged. A hostile client sends many.
const maxRefused = 16

// Options are the settings of a [Guard].
type Options struct {
	// Names are answered besides addresses, localhost and the names of this host. A port is
	// not part of a name.
	Names []string
	// Flag is the flag of the command that adds a name, as "--http-host". The log names it.
	Flag string
	// Log gets a line for each of the first names that are refused; nil for none.
	Log *slog.Logger
}

// Guard decides which requests are answered. Use [New]. Its methods are safe for concurrent
// use.
type Guard struct {
	flag string
	log  *slog.Logger
	host string // the name of this host

	mu      sync.Mutex
	names   map[string]bool
	refused map[string]bool // those that were logged

	lookup   sync.Mutex // held while the full name is looked up
	lookedUp time.Time
}

// lookupInterval and lookupTimeout limit look-ups of the full name.
const (
	lookupInterval = time.Minute
	lookupTimeout  = 5 * time.Second
)

// New returns a guard that knows the names of this host: the host name, and the full name,
// which is looked up when it may be the one of a request.
func New(o Options) *Guard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{flag: o.Flag, log: o.Log, names: map[string]bool{"localhost": true}, refused: map[string]bool{}}
	for _, name := range o.Names {
		g.names[normal(Hostname(name))] = true
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		g.host = normal(host)
		g.names[g.host] = true
	}
	return g
}

// normal returns a name in lower case, without the dot at the end.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Allowed reports whether a request is answered that has this Host header, with or without a
// port. An empty one is no browser's.
func (g *Guard) Allowed(host string) bool {
	name := Hostname(host)
	if _, err := netip.ParseAddr(name); err == nil || name == "" {
		return true
	}
	name = normal(name)
	return g.known(name) || strings.HasPrefix(name, g.host+".") && g.fullName() == name
}

func (g *Guard) known(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.names[name]
}

// fullName looks up the full name of this host, adds it to the names, and returns it. It is
// empty if the name was looked up lately.
func (g *Guard) fullName() string {
	g.lookup.Lock()
	defer g.lookup.Unlock()
	if now := time.Now(); now.Sub(g.lookedUp) < lookupInterval {
		return ""
	} else {
		g.lookedUp = now
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	full, err := net.DefaultResolver.LookupCNAME(ctx, g.host)
	if err != nil {
		return ""
	}
	full = normal(full)
	g.mu.Lock()
	g.names[full] = true
	g.mu.Unlock()
	return full
}

// Hostname returns a Host header without the port and the brackets of an IPv6 address.
func Hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// Own reports whether a request cannot come from a page of another site: neither
// Sec-Fetch-Site nor Origin shows one.
func Own(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// followed reports whether a request is a reader's who follows a link to a page.
func followed(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// OnUnixSocket reports whether a request came by a unix socket, which no browser uses: its
// Host header means nothing.
func OnUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

// Protect sets the headers that protect the answer to a request, which is not stored.
func Protect(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Header.Get("Sec-Fetch-Site") != "" { // Chromium logs an error where it ignores this, as by plain HTTP
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
}

// Handler returns a handler that passes on the requests that are answered. Other names get
// 421, requests of other sites 403, and other methods than GET and HEAD 405. All answers have
// the headers that protect them, and are not stored unless next replaces Cache-Control.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Protect(w.Header(), r)
		switch {
		case !OnUnixSocket(r) && !g.Allowed(r.Host):
			http.Error(w, g.refuse(r.Host), http.StatusMisdirectedRequest)
		case !Own(r) && !followed(r):
			http.Error(w, "not for pages of other sites", http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "GET and HEAD only", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse logs a name that is refused, once, and returns the text of the answer.
func (g *Guard) refuse(host string) string {
	name := Hostname(host)
	if len(name) > 253 { // the longest in DNS
		name = name[:253]
	}
	advice := ""
	if g.flag != "" {
		advice = g.flag + " " + name
	}
	g.mu.Lock()
	first := !g.refused[normal(name)] && len(g.refused) < maxRefused
	if first {
		g.refused[normal(name)] = true
	}
	g.mu.Unlock()
	if first && advice != "" {
		g.log.Warn("http: refused a request for a name that is not known to be of this host", "name", name, "allow", advice)
	} else if first {
		g.log.Warn("http: refused a request for a name that is not known to be of this host", "name", name)
	}
	text := "this server is not known by the name " + name + ": use its address"
	if advice != "" {
		text += ", or start it with " + advice
	}
	return text
}
