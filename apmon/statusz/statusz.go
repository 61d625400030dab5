package statusz

import (
	"encoding/json"
	"net/http"
	"path"
	"reflect"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/internal/loopback"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/internal/page/guard"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// Options are the settings of a page.
type Options struct {
	// Client is the client whose statistics are shown; nil for none.
	Client *apmon.Client
	// HTTP are the statistics of a server that are shown; nil for none.
	HTTP *httpstats.Stats
	// Filter reports whether a request is answered; nil for
	// [Loopback] without requests of other sites.
	Filter func(*http.Request) bool
}

// Loopback reports whether a request comes from this machine, as far as its peer and
// its headers show: the peer is a loopback address, and so is every hop of every
// line of X-Forwarded-For, Forwarded (RFC 7239) and X-Real-IP. An address may have a
// port and, in IPv6, brackets; ::ffff:127.0.0.1 counts as 127.0.0.1. Everything else
// makes it false: empty values, names ("localhost", "unknown", "_hidden"), addresses
// with a zone, and values that cannot be parsed.
//
// The peer of a unix socket is on this machine; its headers must name loopback
// addresses too. Another address of this machine is not loopback. A proxy on this
// machine that adds no header cannot be distinguished from a local client.
//
// A browser on this machine is a local client too, for any page that it shows. The default
// of [Options].Filter therefore also refuses requests of pages of other sites, and those
// whose Host is neither a loopback address nor localhost (DNS rebinding).
func Loopback(r *http.Request) bool { return loopback.Request(r) }

// Page is an [http.Handler]. Make one with [New].
type Page struct {
	reg  *metrics.Registry
	opt  Options
	json *metrics.Reader
	http *httpstats.Reader // of the JSON, nil without a server
	html html
}

// New returns the status page of a registry.
func New(reg *metrics.Registry, o Options) *Page {
	if o.Filter == nil {
		o.Filter = local
	}
	p := &Page{reg: reg, opt: o, json: reg.NewReader()}
	if o.HTTP != nil {
		p.http = o.HTTP.NewReader()
	}
	p.newHTML()
	return p
}

// local is [Loopback], without requests that a page of another site in a browser may make.
func local(r *http.Request) bool {
	return Loopback(r) && (loopback.SameSite(r) || guard.OnUnixSocket(r) && guard.Own(r))
}

// ServeHTTP answers GET and HEAD: in Prometheus's text format if the last element of the
// path is "metrics", in HTML if Accept asks for text/html, as browsers do, else in JSON.
// Other methods get 405; requests that the filter refuses get 403.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard.Protect(w.Header(), r)
	if !p.opt.Filter(r) {
		http.Error(w, "not from here", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET and HEAD only", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Vary", "Accept")
	write, contentType := p.writeJSON, "application/json"
	switch {
	case path.Base(r.URL.Path) == "metrics":
		write, contentType = p.writePrometheus, "text/plain; version=0.0.4; charset=utf-8"
	case wantsHTML(r) || r.URL.Query().Has("file"):
		p.serveHTML(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType)
	if r.Method == http.MethodHead {
		return // without a read, so that no period ends
	}
	_, _ = w.Write(write()) // the client may have disconnected
}

// status is the JSON form of a page.
type status struct {
	Process   process            `json:"process"`
	Counters  map[string]float64 `json:"counters"`
	Gauges    map[string]float64 `json:"gauges"`
	MaxGauges map[string]float64 `json:"max_gauges"`
	MinGauges map[string]float64 `json:"min_gauges"`
	Texts     map[string]string  `json:"texts,omitempty"`
	Registry  registry           `json:"registry"`
	HTTP      map[string]any     `json:"http,omitempty"`
	Sender    any                `json:"sender,omitempty"`
}

type process struct {
	Uptime  *float64 `json:"uptime,omitempty"`
	NumFDs  *float64 `json:"num_fds,omitempty"`
	MemInfo struct {
		RSS *float64 `json:"rss_bytes,omitempty"`
		VSZ *float64 `json:"vsz_bytes,omitempty"`
	} `json:"meminfo"`
	CPU struct {
		User    *float64 `json:"user_time,omitempty"`
		System  *float64 `json:"system_time,omitempty"`
		Threads *float64 `json:"num_threads,omitempty"`
	} `json:"cpu"`
}

type registry struct {
	Ignored uint64 `json:"ignored"`
	Panics  uint64 `json:"panics"`
	Error   string `json:"error,omitempty"`
}

// known returns a pointer to a value, nil if it is unknown.
func known(v procinfo.Value) *float64 {
	if !v.OK {
		return nil
	}
	return &v.V
}

func (p *Page) writeJSON() []byte {
	s := status{Counters: map[string]float64{}, Gauges: map[string]float64{}, MaxGauges: map[string]float64{}, MinGauges: map[string]float64{}}
	proc := metrics.ReadProcess()
	s.Process.Uptime, s.Process.NumFDs = known(proc.Uptime), known(proc.OpenFiles)
	s.Process.MemInfo.RSS, s.Process.MemInfo.VSZ = known(proc.RSS), known(proc.VSZ)
	s.Process.CPU.User, s.Process.CPU.System, s.Process.CPU.Threads = known(proc.UserTime), known(proc.SystemTime), known(proc.Threads)
	values, err := p.json.Read()
	for i := range values {
		v := &values[i]
		switch {
		case v.Type() == xdr.TypeString:
			if s.Texts == nil {
				s.Texts = map[string]string{}
			}
			s.Texts[v.Name] = v.Text()
		case v.Total || v.Kind == metrics.KindSum && v.Suffix == "":
			s.Counters[v.Name] = v.Float()
		case v.Kind == metrics.KindGauge && v.Suffix == "_max":
			s.MaxGauges[v.Metric] = v.Float()
		case v.Kind == metrics.KindGauge && v.Suffix == "_min":
			s.MinGauges[v.Metric] = v.Float()
		default:
			s.Gauges[v.Name] = v.Float()
		}
	}
	st := p.reg.Stats()
	s.Registry = registry{Ignored: st.Ignored, Panics: st.Panics}
	if err != nil {
		s.Registry.Error = err.Error()
	}
	if p.opt.Client != nil {
		s.Sender = plain(reflect.ValueOf(p.opt.Client.Stats()))
	}
	if p.opt.HTTP != nil {
		s.HTTP = p.httpJSON()
	}
	b, err := json.MarshalIndent(&s, "", "  ")
	if err != nil {
		panic(err) // impossible: all values are finite numbers and texts
	}
	return append(b, '\n')
}
