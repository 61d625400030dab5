package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// epoch is when the tests begin.
var epoch = time.Unix(1_800_000_000, 0)

// node returns a node of a cluster named C from the list, nil if it is not listed.
func listed(t *testing.T, d *Dashboard, name string) *Node {
	t.Helper()
	l, err := d.Nodes("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Nodes {
		if l.Nodes[i].Name == name {
			return &l.Nodes[i]
		}
	}
	return nil
}

// stateCase is a node that reports at an interval in seconds, and what it is then.
type stateCase struct {
	name     string
	interval int
	report   func(second int) []xdr.Param
	want     string // state, kind and reason at some seconds
}

func stateCases() []stateCase {
	value := func(name string, v float64) []xdr.Param { return []xdr.Param{xdr.Float(name, v)} }
	start := int(epoch.Unix())
	// until returns a report that ends at a second, with other parameters from then on.
	until := func(end int, before []xdr.Param, last ...xdr.Param) func(int) []xdr.Param {
		done := false
		return func(second int) []xdr.Param {
			switch {
			case second-start < end:
				return before
			case !done && last != nil:
				done = true
				return last
			}
			return nil
		}
	}
	const never = 1 << 30
	return []stateCase{

		{"each second", 1, until(600, value("x", 1)), "599:live 655:live 665:silent 1490:silent 1510:"},
		{"each 15 s", 15, until(600, value("x", 1)), "599:live 640:live 660:silent 1510:"},
		{"each 2 min", 120, until(1200, value("x", 1)), "700:live 1430:live 1450:silent 1970:silent 1990:"},
		{"each 10 min", 600, until(1300, value("x", 1)), "650:live 1700:live 2000:live 2200:"},
		{"once", 1, until(0, nil, xdr.Int("x", 1)), "10:live 800:live 1000:"},
		{"recovers", 15, func(second int) []xdr.Param {
			if s := second - start; s > 300 && s < 500 {
				return nil
			}
			return value("x", 1)
		}, "290:live 400:silent 520:live"},
		{"job that runs", 60, until(never, value("run_time", 100)), "600:live job"},
		{"job that ends well", 60, until(300, value("run_time", 100), xdr.Int("run_time", 200), xdr.Int("exit_code", 0)), "290:live job 330:ended job 1100:ended job 1300:"},
		{"job that fails", 60, until(300, value("run_time", 100), xdr.Int("run_time", 200), xdr.Int("exit_code", 3)), "290:live job 330:failing job exit code 3 2000:failing job exit code 3 3800:failing job exit code 3 4000:"},
		{"job that is killed", 60, until(300, value("run_time", 100), xdr.Int("run_time", 200), xdr.Int("exit_signal", 9)), "330:failing job signal 9"},
		{"job that falls silent", 60, until(300, value("run_time", 100)), "290:live job 600:silent job 1300:"},
		{"short job", 60, until(0, nil, xdr.Int("run_time", 200), xdr.Int("exit_code", 1)), "60:failing job exit code 1"},
		{"job that begins again", 60, func(second int) []xdr.Param {
			if s := second - start; s >= 300 && s < 360 {
				return append(value("run_time", 9), xdr.Int("exit_code", 3))
			}
			return value("run_time", 100)
		}, "290:live job 330:failing job exit code 3 450:live job"},
		{"exit as text", 60, until(never, []xdr.Param{xdr.String("exit_code", "bad"), xdr.Int("run_time", 1)}), "100:ended job"},
		{"service", 60, func(second int) []xdr.Param {
			if s := second - start; s >= 300 && s < 600 {
				return append(value("up", 0), xdr.Int("run_time", 5))
			}
			return append(value("up", 1), xdr.Int("run_time", 5))
		}, "290:live service 400:failing service down 700:live service"},
		{"service that falls silent", 60, until(300, value("up", 0)), "290:failing service down 600:silent service"},
	}
}

// The state of a node follows from when it reports, and from what it reports of itself.
func TestStates(t *testing.T) {
	t.Parallel()
	for _, c := range stateCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFarm(epoch)
			f.members = []member{{cluster: "C", name: "n", interval: c.interval, report: c.report}}
			d := f.dashboard()
			rest := c.want
			for rest != "" {
				var at int
				var want string
				head, _, _ := strings.Cut(rest, ":")
				fmt.Sscan(head, &at)
				rest = rest[len(head)+1:]
				want = rest
				if i := strings.IndexByte(rest, ':'); i >= 0 { // the next time is before it
					want = rest[:strings.LastIndexByte(rest[:i], ' ')]
				}
				rest = strings.TrimPrefix(rest[len(want):], " ")
				f.run(d, at-int(f.clock().Sub(epoch).Seconds()))
				got := ""
				if n := listed(t, d, "n"); n != nil {
					got = strings.TrimSpace(n.State + " " + n.Kind)
					if n.Reason != "" {
						got += " " + n.Reason
					}
				}
				if got != want {
					t.Errorf("after %d s: %q, want %q", at, got, want)
				}
			}
		})
	}
}

// A node that is not listed any more is there by its name while it has values.
func TestGoneNodeHasHistory(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	f.members = []member{{"C", "n", 15, 0, func(second int) []xdr.Param {
		if second > int(epoch.Unix())+60 {
			return nil
		}
		return []xdr.Param{xdr.Int("x", second)}
	}}, {"C", "other", 15, 0, func(int) []xdr.Param { return []xdr.Param{xdr.Int("x", 1)} }}}
	d := f.dashboard()
	f.run(d, 1500)
	if n := listed(t, d, "n"); n != nil {
		t.Errorf("%+v is listed", n)
	}
	if s, err := d.Series("C", "n", "x", time.Time{}, time.Time{}); err != nil || len(s.Points) != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	if p, err := d.Params("C", "n", "", 0); err != nil || len(p.Params) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	get(t, d, "/node?cluster=C&node=n", 200, "not listed any more", "<bdi>x</bdi>")
	f.run(d, 2600)
	get(t, d, "/node?node=n&cluster=C", 404, "Not Found") // the address above may be answered once more from memory
}

// The problems of a farm with some of everything, with their ages.
func TestProblems(t *testing.T) {
	t.Parallel()
	f := typicalFarm(epoch)
	d := f.dashboard()
	f.run(d, 3600-200)
	instance := int32(5)
	f.mu.Lock()
	f.senders = append(f.senders, Sender{Address: "198.51.100.4", Instance: &instance, Refusal: "the password is wrong", FirstHeard: f.now, LastHeard: f.now})
	f.mu.Unlock()
	for i := range 200 {
		f.mu.Lock()
		if i%20 == 0 {
			f.totals.Lost++
			f.senders[7].Lost++
			f.totals.Refused++
			f.senders[20].Refused++
		}
		if i == 100 {
			f.totals.Dropped += 2
			f.outputs[1].Dropped = map[string]uint64{"queue_full": 7}
		}
		f.mu.Unlock()
		f.run(d, 1)
	}
	o := d.Overview()
	var got []string
	for _, p := range o.Problems {
		got = append(got, fmt.Sprintf("%s %s %s; %s; %d min", p.Level, p.Kind, p.Text, p.Detail, int(o.Time.Sub(p.Since).Minutes())))
		if !strings.HasPrefix(p.Text, p.Subject) || p.Subject == "" {
			t.Errorf("%q does not begin with %q", p.Text, p.Subject)
		}
	}
	for i := range got { // depends on how many reports there were
		if j := strings.Index(got[i], " % of its"); j >= 0 {
			got[i] = got[i][:strings.LastIndexByte(got[i][:j], ' ')] + " N" + got[i][j:]
		}
	}
	want := []string{
		"bad output_down influx http://db:8086 does not work; connection refused; 3 min",
		"bad job_failed MySite_Jobs/4013 ended with signal 9 after 45 min; ; 4 min",
		"bad job_failed MySite_Jobs/4023 ended with exit code 2 after 1 h 3 min; ; 4 min",
		"bad service_down MySite_Services/se01 is down; ; 13 min",
		"warn dropped 2 datagrams dropped in the last 5 min; they arrive faster than they are handled; 1 min",
		"warn dropped relay monalisa:8884 dropped 7 datagrams in the last 5 min; 7 by queue full; 1 min",
		"warn nodes_silent MySite_Nodes: 2 of 48 silent; wn30.example.org, wn31.example.org; 8 min",
		"warn refused 10 datagrams refused in the last 5 min; 10 by password; most from 198.51.100.4: the password is wrong; 3 min",
		"warn sender_lossy 192.0.2.17 lost N % of its datagrams; instance 362246578; 2 min",
	}
	slices.Sort(got)
	slices.Sort(want)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if !slices.IsSortedFunc(o.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Level, b.Level), b.Since.Compare(a.Since)) }) {
		t.Error("the problems are not sorted")
	}
	// Clusters in trouble come first.
	var names []string
	for _, c := range o.Clusters {
		names = append(names, c.Name)
	}
	if strings.Join(names, " ") != "MySite_Jobs MySite_Services MySite_Nodes Other_Nodes" {
		t.Errorf("clusters %q", names)
	}
	if c := o.Clusters[2]; c.Nodes != 48 || c.Live != 46 || c.Silent != 2 || c.Lossy != 1 {
		t.Errorf("%+v", c)
	}
	if c := o.Clusters[0]; c.Jobs != 60 || c.Failing != 2 || c.Ended != 4 || c.Live != 54 {
		t.Errorf("%+v", c)
	}
	// An hour later only what is still so remains.
	f.members = nil
	f.run(d, 4000)
	for _, p := range d.Overview().Problems {
		if p.Kind != OutputDown {
			t.Errorf("later: %+v", p)
		}
	}
}

// Many problems of a kind are counted, not listed.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	for i := range 500 {
		f.members = append(f.members, member{fmt.Sprint("C", i%3), fmt.Sprint(i), 60, i % 60, func(int) []xdr.Param { return []xdr.Param{xdr.Int("exit_code", 1)} }})
	}
	for i := range 500 {
		n := int32(i)
		f.senders = append(f.senders, Sender{Address: "192.0.2.1", Instance: &n, Lost: 0, FirstHeard: epoch, LastHeard: epoch})
	}
	d := f.dashboard()
	f.run(d, 130)
	f.mu.Lock()
	for i := range f.senders {
		f.senders[i].Lost += 10
	}
	f.mu.Unlock()
	f.run(d, 100)
	counts := map[string]int{}
	for _, p := range d.Overview().Problems {
		counts[p.Kind] += p.Count
	}
	if counts[JobFailed] != 500 || counts[SenderLossy] != 500 || len(d.Overview().Problems) > 3*(maxOfKind+1)+maxOfKind+1 {
		t.Errorf("%v in %d problems", counts, len(d.Overview().Problems))
	}
}

// Rates are those of the last seconds, and the graphs reach back an hour.
func TestRates(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	f.members = []member{{"C", "n", 1, 0, func(int) []xdr.Param { return []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 2)} }}}
	n := int32(1)
	f.senders = []Sender{{Address: "192.0.2.1", Instance: &n, FirstHeard: epoch, LastHeard: epoch}}
	d := f.dashboard()
	f.run(d, 5000)
	o := d.Overview()
	if o.DatagramsPerSecond != 1 || o.ParametersPerSecond != 2 || o.LostRatio != 0 || o.RefusedPerMinute != 0 {
		t.Errorf("%+v", o)
	}
	if s := d.Senders().Senders[0]; s.Rate < .9 || s.Rate > 1.1 || s.Lossy {
		t.Errorf("%+v", s)
	}
	if n := len(d.c.samples.hour); n < 355 || n > 365 {
		t.Errorf("%d samples", n)
	}
	f.mu.Lock()
	f.totals.Lost, f.totals.Refused = 60, 30
	f.mu.Unlock()
	f.members = nil
	f.run(d, 20)
	if o = d.Overview(); o.DatagramsPerSecond != 0 || o.LostRatio < .4 || o.LostRatio > .8 || o.RefusedPerMinute < 20 || o.RefusedPerMinute > 31 {
		t.Errorf("%+v", o)
	}
	// A count that sinks is no rate.
	f.mu.Lock()
	f.totals = Totals{}
	f.mu.Unlock()
	f.run(d, 1)
	if o = d.Overview(); o.DatagramsPerSecond != 0 || o.LostRatio != 0 || o.RefusedPerMinute != 0 {
		t.Errorf("%+v", o)
	}
}

// A text shows its last changes, and a parameter that is not sent any more is marked until it
// is gone.
func TestTextsAndStaleParameters(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	f.members = []member{{"C", "n", 10, 0, func(second int) []xdr.Param {
		s := second - int(epoch.Unix())
		params := []xdr.Param{xdr.String("status", fmt.Sprint("step ", s/200)), xdr.Int("x", s)}
		if s < 300 {
			params = append(params, xdr.Int("old", 1))
		}
		return params
	}}}
	d := f.dashboard()
	f.run(d, 500)
	get(t, d, "/node?cluster=C&node=n", 200, "3 last values", "step 0", "step 2", `<tr class="stale"><th scope="row"><a href="/param?cluster=C&amp;param=old&amp;node=n"`, "3 parameters")
	get(t, d, "/param?cluster=C&node=n&param=status", 200, "step 0", "step 1", "step 2")
	f.run(d, 1000)
	if body := get(t, d, "/node?node=n&cluster=C", 200, "2 parameters", "5 last values"); strings.Contains(body, ">old<") {
		t.Error("a parameter that is gone is listed")
	}
}
