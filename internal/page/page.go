// Package page has the frame of every web page of ours: the layout, the style sheet, the
// script, static files, and answers in HTML and JSON. It needs the standard library alone.
//
// A command guards its whole server with package guard, and calls
//
//	site := page.New(page.Options{Program: "apmon-recv", Nav: …})
//	defer site.Close()
//	mux.Handle(page.StaticPath, site)
//	mux.Handle(page.LivePath, site)
//	mux.Handle("/nodes", site.Live(func(r *http.Request) page.Page { … }))
//
// # How it works
//
// A page is rendered on the server and readable without the script. The script keeps a page
// of [Site.Live] up to date: a stream of server-sent events, which all tabs of a browser share
// in a SharedWorker and which is closed while none of them is visible, says when to ask again;
// the tab then fetches its own address and takes over what differs. Focus, scroll position,
// open details, selected text and a drag on a graph stay. Without SharedWorker, or if the
// stream fails, the tab asks at the same interval by itself.
//
// The server renders a page once for all requests of the same address within the interval.
// Pages that take long are rendered less often: all of them together take about a twentieth
// of a core, however many browsers show them.
package page

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"sync"
	"time"
)

// DefaultEvery is the default of [Options].Every.
const DefaultEvery = time.Second

// Options are the settings of a [Site].
type Options struct {
	Program string // its name, as "apmon-recv"
	Version string
	Host    string // the name of this host
	Nav     []Link // the pages that each page links to
	Foot    []Link // links at the end of each page
	// Search is the path that gets the text of the search field in the parameter "q"; empty for
	// no search. SearchHint says what is searched.
	Search, SearchHint string
	// Single is for one page in the server of another program, whose other paths are not ours.
	// The page is its own home, and static files are answered at its address too: the handler
	// calls [Site.Static] for requests with the parameter "file". The page asks for updates by
	// itself: a stream would keep the server from ending.
	Single bool
	// Every is the time between two updates of an open page, DefaultEvery if not positive.
	Every time.Duration
}

// Link is a link to a page.
type Link struct{ Path, Text string }

// Page is one page.
type Page struct {
	Title string        // of the window; the page has its own h1, which may be class="hidden"
	Main  template.HTML // the contents of <main>
	Path  string        // the entry of Nav that the page belongs to; empty for that of the request
	Query string        // the text of the search field
	// Status is that of the answer, 200 if 0.
	Status int
}

// Site renders pages. Use [New], and [Site.Close] before the server ends.
type Site struct {
	options Options
	ended   chan struct{}
	end     func()

	mu       sync.Mutex
	streams  int
	rendered map[string]*rendering // by address
}

// New returns a site.
func New(o Options) *Site {
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	s := &Site{options: o, ended: make(chan struct{}), rendered: map[string]*rendering{}}
	s.end = sync.OnceFunc(func() { close(s.ended) })
	return s
}

// Close ends the streams of live pages. It may be called more than once.
func (s *Site) Close() { s.end() }

// ServeHTTP answers requests below [StaticPath], and the one of [LivePath].
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == LivePath {
		s.serveStream(w, r)
		return
	}
	serveStatic(w, r, r.URL.Path)
}

// Static answers with a static file of a path below [StaticPath].
func (s *Site) Static(w http.ResponseWriter, r *http.Request, path string) { serveStatic(w, r, path) }

//go:embed layout.html
var layoutText string

var layout = sync.OnceValue(func() *template.Template { return template.Must(template.New("layout").Parse(layoutText)) })

// view is what the layout shows.
type view struct {
	Options
	Page
	Style, Script, Icon string // addresses
	Home                string
	Live                string // address of the stream; empty for none
	EveryMS             int64  // 0 for a page that stays as it is
	Time                time.Time
}

// html returns a page as HTML.
func (s *Site) html(r *http.Request, p Page, live bool) []byte {
	f := statics()
	v := view{Options: s.options, Page: p, Home: "/", Style: f.style.path, Script: f.script.path, Icon: f.icon.path, Time: time.Now()}
	if live {
		v.EveryMS = s.options.Every.Milliseconds()
		v.Live = LivePath
	}
	if s.options.Single {
		const file = "?file="
		v.Home, v.Live, v.Style, v.Script, v.Icon = "?", "", file+v.Style, file+v.Script, file+v.Icon
	}
	if v.Page.Path == "" {
		v.Page.Path = r.URL.Path
	}
	var b bytes.Buffer
	if err := layout().Execute(&b, v); err != nil {
		panic(err) // impossible: the layout calls no methods, and a buffer takes everything
	}
	return b.Bytes()
}

// Render answers with a page that stays as it is, such as an error.
func (s *Site) Render(w http.ResponseWriter, r *http.Request, p Page) {
	write(w, r, newBody("text/html; charset=utf-8", s.html(r, p, false)), p.Status)
}

// Live returns a handler of a page that open browsers keep up to date. It calls render once
// for all requests of the same address, path and query, within an interval: the page must
// depend on nothing else. The context of the request that render gets does not end.
func (s *Site) Live(render func(*http.Request) Page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := s.share(r, render)
		w.Header().Set("ETag", page.etag)
		if r.Header.Get("If-None-Match") == page.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		write(w, r, page.body, page.status)
	})
}
