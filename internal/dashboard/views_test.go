package dashboard

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/xdr"
)

// mixedFarm has a cluster whose nodes report different parameters.
func mixedFarm() *Dashboard {
	f := newFarm(epoch)
	long := strings.Repeat("p", maxInURL+1)
	for i, params := range [][]xdr.Param{{xdr.Int("x", 1)}, {xdr.Int("x", 2), xdr.String("only", "text")}, {xdr.Int("x", 3), xdr.Int(long, 7)}} {
		f.members = append(f.members, member{"C", fmt.Sprint("wn", 8+i), 10, 0, func(int) []xdr.Param { return params }})
	}
	d := f.dashboard()
	f.run(d, 35)
	return d
}

// A parameter of a cluster may be one of some of its nodes: a text, or one with a long name.
func TestParamOfSomeNodes(t *testing.T) {
	t.Parallel()
	d := mixedFarm()
	get(t, d, "/param?cluster=C&param=only", 200, "wn9")
	long := strings.Repeat("p", maxInURL+1)
	body := get(t, d, "/param?cluster=C&param="+url.QueryEscape(Ref(long)), 200, `title="`+long+`"`, `<b title="7">7</b>`)
	if strings.Contains(body, "<bdi>"+digest) {
		t.Error("the digest is shown")
	}
	get(t, d, "/param?cluster=C&param=none", 404)
}

// Names are in the order that people expect, on all pages.
func TestOrderOfNodes(t *testing.T) {
	t.Parallel()
	d := mixedFarm()
	for _, path := range []string{"/", "/nodes?cluster=C", "/api/v1/nodes?cluster=C"} {
		body := get(t, d, path, 200)
		if a, b := strings.Index(body, "wn9"), strings.Index(body, "wn10"); a < 0 || b < a {
			t.Errorf("%s: wn9 at %d, wn10 at %d", path, a, b)
		}
	}
	get(t, d, "/node?cluster=C&node=wn10", 200)
}

// The page of a cluster's parameter has its values as JSON and CSV.
func TestValuesOfAllNodes(t *testing.T) {
	t.Parallel()
	d := mixedFarm()
	links := map[string]string{}
	for _, m := range hrefs.FindAllStringSubmatch(get(t, d, "/param?cluster=C&param=x&range=all", 200), -1) {
		if link := html.UnescapeString(m[1]); strings.HasPrefix(link, apiPath+"series") {
			links[map[bool]string{true: "csv", false: "json"}[strings.Contains(link, "format=csv")]] = link
		}
	}
	var l SeriesList
	if err := json.Unmarshal([]byte(get(t, d, links["json"], 200)), &l); err != nil || len(l.Series) != 3 || len(l.Series[2].Points) != 3 || string(l.Series[2].Points[0].Value) != "3" {
		t.Errorf("%+v, %v", l, err)
	}
	rows, err := csv.NewReader(strings.NewReader(get(t, d, links["csv"], 200))).ReadAll()
	if err != nil || len(rows) != 1+3*3 || rows[9][2] != "wn10" {
		t.Errorf("%q, %v", rows, err)
	}
	// Other lists have theirs.
	for _, path := range []string{"/nodes?cluster=C", "/clusters", "/jobs", "/senders", "/node?cluster=C&node=wn8"} {
		get(t, d, path, 200, `href="/api/v1/`, ">JSON<")
	}
}

// A range may be given in a form, in the time of this host.
func TestRangeForm(t *testing.T) {
	t.Parallel()
	d := mixedFarm()
	from, to := epoch.Add(10*time.Second).Local().Format(localTime), epoch.Add(20*time.Second).Local().Format(localTime)
	path := "/param?cluster=C&param=x&node=wn8"
	body := get(t, d, path, 200, `name="from"`, `name="to"`, `<input type="hidden" name="node" value="wn8">`)
	if strings.Contains(body, `value="20`) {
		t.Error("the form of a range that goes on has ends")
	}
	get(t, d, path+"&from="+url.QueryEscape(from)+"&to="+url.QueryEscape(to), 200, `value="`+from+`"`, `value="`+to+`"`, `<td class="n">2</td>`)
	get(t, d, path+"&from=&to=", 200, `aria-current="true">1 h<`)
	get(t, d, path+"&to="+url.QueryEscape(from[:len(from)-3]), 200)
}

// A history without room is a problem that says what to do.
func TestHistoryFull(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	f.windows = history.NewWindows(history.WindowOptions{MaxBytes: 16 << 10})
	for i := range 200 {
		f.members = append(f.members, member{"C", fmt.Sprint("n", i), 10, 0, func(int) []xdr.Param { return []xdr.Param{xdr.Int("x", 1)} }})
	}
	d := f.dashboard()
	f.run(d, 60)
	for _, p := range d.Overview().Problems {
		if p.Kind == HistoryFull && p.Count > 0 && strings.Contains(p.Text, "has no room for") && strings.Contains(p.Detail, "raise --history-memory") {
			get(t, d, "/", 200, "The history", "raise --history-memory")
			return
		}
	}
	t.Errorf("%+v", d.Overview().Problems)
}

// A program that receives nothing does not send its readers to a list of senders.
func TestWithoutSenders(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	s := f.source()
	s.Senders = nil
	d := newDashboard(s, page.Options{}, f.clock)
	if body := get(t, d, "/", 200, "datagrams"); strings.Contains(body, sendersPath) {
		t.Errorf("%s", body)
	}
}
