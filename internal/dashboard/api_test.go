package dashboard

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// get returns an answer, which must have a status and contain texts.
func get(t testing.TB, d *Dashboard, path string, status int, contains ...string) string {
	t.Helper()
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body := w.Body.String()
	if w.Code != status {
		t.Errorf("%s: status %d, want %d: %.300s", path, w.Code, status, body)
	}
	for _, text := range contains {
		if !strings.Contains(body, text) {
			t.Errorf("%s: no %q in %.2000s", path, text, body)
		}
	}
	return body
}

// exactFarm has a node with each kind of value.
func exactFarm() (*farm, *Dashboard) {
	f := newFarm(epoch)
	f.members = []member{{"C", "n", 10, 0, func(int) []xdr.Param {
		return []xdr.Param{
			xdr.Int64("big", math.MaxInt64), xdr.Int64("small", math.MinInt64), xdr.Int64("odd", 1<<53+1), xdr.Int("int", -7), xdr.Real32("real32", 0.1),
			xdr.Float("third", 1./3), xdr.Float("huge", 1e300), xdr.Float("nan", math.NaN()), xdr.Float("inf", math.Inf(-1)), xdr.Float("zero", math.Copysign(0, -1)),
			xdr.String("text", "<b>&\"\x00\xff\u202e"), xdr.Float("load1", 2.5),
		}
	}}}
	d := f.dashboard()
	f.run(d, 35)
	return f, d
}

// Values in JSON are exact, and have the form that the other commands print.
func TestExactJSON(t *testing.T) {
	t.Parallel()
	_, d := exactFarm()
	want := map[string]string{
		"big": "9223372036854775807", "small": "-9223372036854775808", "odd": "9007199254740993", "int": "-7", "real32": "0.10000000149011612",
		"third": "0.3333333333333333", "huge": "1e+300", "nan": `"NaN"`, "inf": `"-Inf"`, "zero": "-0", "load1": "2.5",
		"text": `"\u003cb\u003e\u0026\"\u0000` + "\ufffd" + `\u202e"`,
	}
	var l ParamList
	body := get(t, d, "/api/v1/params?cluster=C&node=n", 200)
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Params {
		var got, expect any
		g, w := json.NewDecoder(strings.NewReader(string(p.Value))), json.NewDecoder(strings.NewReader(want[p.Name]))
		g.UseNumber()
		w.UseNumber()
		if err := g.Decode(&got); err != nil {
			t.Errorf("%s: %s: %v", p.Name, p.Value, err)
		}
		_ = w.Decode(&expect)
		if !reflect.DeepEqual(got, expect) {
			t.Errorf("%s: %v, want %v", p.Name, got, expect)
		}
		var s SeriesList
		if err := json.Unmarshal([]byte(get(t, d, "/api/v1/series?cluster=C&node=n&param="+p.Name, 200)), &s); err != nil {
			t.Fatal(err)
		}
		n := 3
		if p.Type == "string" {
			n = 1 // its changes
		}
		if len(s.Series) != 1 || len(s.Series[0].Points) != n || string(s.Series[0].Points[0].Value) != string(p.Value) {
			t.Errorf("%s: series %+v", p.Name, s)
		}
		delete(want, p.Name)
	}
	if len(want) > 0 || l.Total != 12 || len(l.Params) != 12 {
		t.Errorf("missing: %v of %d", want, l.Total)
	}
	s, err := d.Series("C", "n", "load1", epoch, time.Time{})
	if err != nil || *s.Min != 2.5 || *s.Mean != 2.5 || *s.Max != 2.5 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = d.Series("C", "n", "nan", epoch, time.Time{}); err != nil || s.Min != nil || s.Mean != nil || s.Max != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = d.Series("C", "n", "huge", epoch, time.Time{}); err != nil || *s.Mean != 1e300 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	_, d := exactFarm()
	rows, err := csv.NewReader(strings.NewReader(get(t, d, "/api/v1/series?cluster=C&node=n&param=odd&format=csv", 200))).ReadAll()
	if err != nil || len(rows) != 4 || strings.Join(rows[0], " ") != "time cluster node param value" || strings.Join(rows[1], " ") != "2027-01-15T08:00:10.000Z C n odd 9007199254740993" {
		t.Errorf("%q, %v", rows, err)
	}
	rows, err = csv.NewReader(strings.NewReader(get(t, d, "/api/v1/series?cluster=C&node=n&param=text&format=csv", 200))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][4] != "<b>&\"\x00\xff\u202e" {
		t.Errorf("%q, %v", rows, err)
	}
}

// A request that cannot be answered has the status and the parameter that is wrong.
func TestAPIErrors(t *testing.T) {
	t.Parallel()
	_, d := exactFarm()
	for _, c := range []struct {
		path, param string
		status      int
	}{
		{"overview", "", 200},
		{"overview?x=1", "x", 400},
		{"overview?%zz", "query", 400},
		{"clusters", "", 200},
		{"clusters?limit=0", "limit", 400},
		{"clusters?limit=x", "limit", 400},
		{"clusters?limit=1000000", "limit", 400},
		{"clusters?offset=-1", "offset", 400},
		{"clusters?offset=5", "", 200},
		{"nodes", "", 200},
		{"nodes?cluster=C", "", 200},
		{"nodes?cluster=C&cluster=D", "cluster", 400},
		{"nodes?cluster=D", "", 404},
		{"nodes?state=well", "state", 400},
		{"nodes?state=silent", "", 200},
		{"nodes?q=" + strings.Repeat("*", 257), "q", 400},
		{"params", "cluster", 400},
		{"params?cluster=C", "", 200},
		{"params?cluster=C&node=n", "", 200},
		{"params?cluster=D", "", 404},
		{"params?cluster=C&node=m", "", 404},
		{"params?cluster=D&node=n", "", 404},
		{"series?cluster=C&node=n", "param", 400},
		{"series?cluster=C&param=int", "", 200},
		{"series?cluster=C&param=none", "", 404},
		{"series?cluster=D&param=int", "", 404},
		{"series?cluster=C&node=n&param=int&from=2026-01-02T03:04", "", 200},
		{"series?cluster=C&node=n&param=int", "", 200},
		{"series?cluster=C&node=n&param=int&from=-60&to=1900000000", "", 200},
		{"series?cluster=C&node=n&param=int&from=2026-01-02T03:04:05Z", "", 200},
		{"series?cluster=C&node=n&param=int&from=yesterday", "from", 400},
		{"series?cluster=C&node=n&param=int&from=NaN", "from", 400},
		{"series?cluster=C&node=n&param=int&from=1e300", "from", 400},
		{"series?cluster=C&node=n&param=int&from=20&to=10", "to", 400},
		{"series?cluster=C&node=n&param=int&format=xml", "format", 400},
		{"series?cluster=C&node=n&param=none", "", 404},
		{"series?cluster=C&param=int" + strings.Repeat("&node=n", 17), "node", 400},
		{"jobs", "", 200},
		{"jobs?state=x", "state", 400},
		{"senders", "", 200},
		{"senders?limit=-1", "limit", 400},
		{"none", "", 404},
	} {
		body := get(t, d, apiPath+c.path, c.status)
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
		if c.status != 200 && (e.Error == "" || e.Parameter != c.param) {
			t.Errorf("%s: %+v, want the parameter %q", c.path, e, c.param)
		}
	}
	for _, path := range []string{"/nodes?cluster=D", "/node?cluster=C&node=m", "/param?cluster=C&node=n&param=none", "/param?cluster=D&param=x", "/jobs?cluster=D", "/none"} {
		get(t, d, path, 404, "<h1>Not Found</h1>")
	}
	for _, path := range []string{"/?x=1", "/nodes?sort=x", "/node", "/param?cluster=C", "/param?cluster=C&param=x&range=2h", "/param?cluster=C&param=x&from=5&to=4", "/senders?show=x", "/search?q=" + strings.Repeat("x", 300)} {
		get(t, d, path, 400, "<h1>Bad Request</h1>")
	}
}

// The documentation names each field of each answer, and no other.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	section := ""
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			section = strings.TrimSpace(name)
		}
		if m := regexp.MustCompile("^\\| `(\\w+)` \\|").FindStringSubmatch(line); m != nil && section != "" {
			documented[section+"."+m[1]] = true
		}
	}
	for _, v := range []any{
		Overview{}, Totals{}, Output{}, Problem{}, History{}, ClusterList{}, Cluster{}, NodeList{}, Node{}, ParamList{}, Param{}, SeriesList{}, Series{}, JobList{}, Job{}, SenderList{}, Sender{}, Error{},
	} {
		typ := reflect.TypeOf(v)
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue // Job has the fields of Node
			}
			key := typ.Name() + "." + name
			if !documented[key] {
				t.Errorf("docs/api.md: no %s", key)
			}
			delete(documented, key)
		}
	}
	for key := range documented {
		t.Errorf("docs/api.md: %s does not exist", key)
	}
	// The paths are those that are served.
	_, d := exactFarm()
	for _, m := range regexp.MustCompile("`GET (/api/v1/\\w+)").FindAllStringSubmatch(string(b), -1) {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", m[1], nil))
		if w.Code == 404 {
			t.Errorf("docs/api.md: %s is not served", m[1])
		}
	}
}

// The pages show the same numbers as the API.
func TestPages(t *testing.T) {
	t.Parallel()
	f := typicalFarm(epoch)
	d := f.dashboard()
	f.run(d, 3600)
	for path, want := range map[string][]string{
		"/":                                 {"Needs attention", "MySite_Jobs/4013", "2 of 48 silent", "46 of 48", `href="/nodes?cluster=MySite_Nodes&amp;state=silent"`, "load1", "Outputs", "connection refused"},
		"/clusters":                         {"MySite_Services", "15 of 16"},
		"/clusters?q=other*":                {"Other_Nodes"},
		"/nodes":                            {"130 in", "4 clusters", "1 to 100 of 130", `href="/nodes?offset=100"`},
		"/nodes?offset=100":                 {"101 to 130 of 130"},
		"/nodes?cluster=MySite_Nodes":       {"48 nodes", "mean of 48 nodes", "wn00.example.org", "MiB/s"},
		"/nodes?state=failing":              {"signal 9", "exit code 2", "down"},
		"/nodes?cluster=MySite_Nodes&q=WN1": {"10 nodes"},
		"/nodes?cluster=MySite_Nodes&state=silent&sort=value":                                                                   {"wn30", "wn31"},
		"/node?cluster=MySite_Nodes&node=wn00.example.org":                                                                      {"usually every 15 s", "19 parameters", "load15", "GiB", "kernel_version", "6.12.57"},
		"/node?cluster=MySite_Nodes&node=wn00.example.org&q=load?":                                                              {"2 parameters"},
		"/param?cluster=MySite_Nodes&param=load1":                                                                               {"mean of 48 nodes", "largest first", "Values as a table"},
		"/param?cluster=MySite_Nodes&param=load1&node=wn00.example.org":                                                         {"minimum", "Values as a table", "format=csv", "wn01.example.org", `aria-current="true">1 h<`},
		"/param?cluster=MySite_Nodes&param=load1&node=wn00.example.org&node=wn01.example.org&range=10+min":                      {"leave out", `aria-current="true">10 min<`},
		"/param?cluster=MySite_Nodes&param=kernel_version&node=wn00.example.org":                                                {"6.12.57"},
		"/param?cluster=MySite_Nodes&param=load1&node=wn00.example.org&from=" + fmt.Sprint(epoch.Unix()-600) + "&to=1800000000": {"07:50", "08:00"},
		"/jobs":                        {"60", "failed <small>2</small>", "running <small>54</small>", "GiB"},
		"/jobs?state=ended":            {"4003"},
		"/senders":                     {"192.0.2.10", "362246578", "2.2.20_go"},
		"/senders?show=lossy":          {"none"},
		"/senders?q=192.0.2.2*":        {"192.0.2.20"},
		"/search":                      {"Names of clusters"},
		"/search?q=load*":              {"Parameters", "load15", "MySite_Nodes"},
		"/search?q=mysite":             {"Clusters", "MySite_Jobs"},
		"/search?q=wn00*":              {"Nodes"},
		"/search?q=nothing-like-that*": {"Nothing has such a name"},
	} {
		body := get(t, d, path, 200, want...)
		checkHTML(t, path, body)
	}
	// An empty receiver.
	d = newFarm(epoch).dashboard()
	for _, path := range []string{"/", "/clusters", "/nodes", "/jobs", "/senders", "/search?q=x"} {
		checkHTML(t, path, get(t, d, path, 200))
	}
	get(t, d, "/", 200, "Nothing was received yet")
}

var hrefs = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)

// checkHTML checks that a page refers to nothing else, and has no inline styles or scripts.
func checkHTML(t *testing.T, path, body string) {
	t.Helper()
	for _, bad := range []string{" style=", "<style", " onclick", "ZgotmplZ", "%!", "<no value>"} {
		if strings.Contains(body, bad) {
			t.Errorf("%s: contains %q", path, bad)
		}
	}
	for _, m := range hrefs.FindAllStringSubmatch(body, -1) {
		u, err := url.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
		if err != nil || u.Host != "" || u.Scheme != "" {
			t.Errorf("%s: refers to %.200s", path, m[1])
		}
	}
}
