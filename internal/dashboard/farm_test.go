package dashboard

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/xdr"
)

// farm is a source with hosts, services and jobs that report as time goes by.
type farm struct {
	windows *history.Windows
	members []member
	outputs []Output

	mu      sync.Mutex
	now     time.Time
	senders []Sender
	totals  Totals
}

// member is a node that reports at equal intervals.
type member struct {
	cluster, name   string
	interval, shift int // s
	// report returns the parameters at so many seconds from the start, nil for no report.
	report func(second int) []xdr.Param
}

func newFarm(start time.Time) *farm {
	return &farm{now: start, windows: history.NewWindows(history.WindowOptions{})}
}

// run lets time pass and reads the dashboard every 10 s.
func (f *farm) run(d *Dashboard, seconds int) {
	for range seconds {
		f.second()
		if f.clock().Unix()%10 == 0 {
			d.c.view()
		}
	}
}

func (f *farm) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// second lets a second pass.
func (f *farm) second() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(time.Second)
	second := int(f.now.Unix())
	sent := uint64(0)
	for i := range f.members {
		m := &f.members[i]
		if (second+m.shift)%m.interval != 0 {
			continue
		}
		if params := m.report(second); params != nil {
			f.windows.Offer(m.cluster, m.name, params, f.now, 0)
			sent++
			f.totals.Parameters += uint64(len(params))
			if len(f.senders) > 0 {
				s := &f.senders[i%len(f.senders)]
				s.Received++
				s.LastHeard = f.now
			}
		}
	}
	f.totals.Datagrams += sent
}

func (f *farm) source() Source {
	units := map[string]string{
		"cpu_usage": "%", "mem_usage": "%", "total_traffic_in": "KB/s", "total_traffic_out": "KB/s", "mem_used": "MB", "mem_free": "MB", "processes": "count",
		"run_time": "s", "cpu_time": "s", "rss": "KB", "max_rss": "KB", "cpu_efficiency": "%", "cpu_usr": "%", "cpu_sys": "%", "cpu_iowait": "%", "swap_used": "MB",
		"uptime": "days", "eth0_in": "KB/s", "eth0_out": "KB/s",
	}
	return Source{
		Windows: f.windows,
		Senders: func() []Sender {
			f.mu.Lock()
			defer f.mu.Unlock()
			return append([]Sender(nil), f.senders...)
		},
		Totals: func() Totals {
			f.mu.Lock()
			defer f.mu.Unlock()
			t := f.totals
			t.Refusals = map[string]uint64{"password": t.Refused}
			return t
		},
		Outputs: func() []Output { return f.outputs }, Units: func(p string) (string, string) { return units[p], "" },
		Name: "apmon-recv", Version: "1.2.3", Host: "recv.example.org",
	}
}

// dashboard returns a dashboard with the clock of the farm.
func (f *farm) dashboard() *Dashboard {
	return newDashboard(f.source(), page.Options{Foot: []page.Link{{Path: "/metrics", Text: "/metrics"}}}, f.clock)
}

// hosts adds n hosts. Each reports until a second, 0 for ever.
func (f *farm) hosts(cluster string, n, interval int, end func(i int) int) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		node := fmt.Sprintf("wn%02d.example.org", i)
		base, phase := 6+20*r.Float64(), 7*r.Float64()
		last := 0
		if end != nil {
			last = end(i)
		}
		f.members = append(f.members, member{cluster, node, interval, r.IntN(interval), func(second int) []xdr.Param {
			if last > 0 && second > last {
				return nil
			}
			x := float64(second) / 60
			wave := math.Sin(x/9+phase) + .25*r.NormFloat64()
			load := math.Max(0, base+5*wave)
			return []xdr.Param{
				xdr.Float("load1", load), xdr.Float("load5", base+3*wave), xdr.Float("load15", base+wave),
				xdr.Float("cpu_usage", math.Min(100, load*3.3)), xdr.Float("cpu_usr", math.Min(80, load*2.6)), xdr.Float("cpu_sys", 4+wave), xdr.Float("cpu_iowait", 1+.2*wave),
				xdr.Float("mem_usage", 55+12*math.Sin(x/30+phase)), xdr.Float("mem_used", 32768+900*wave), xdr.Float("mem_free", 16384-900*wave), xdr.Float("swap_used", 0),
				xdr.Float("total_traffic_in", 4000+2000*math.Abs(wave)), xdr.Float("total_traffic_out", 700+300*math.Abs(wave)),
				xdr.Float("eth0_in", 4000+2000*math.Abs(wave)), xdr.Float("eth0_out", 700+300*math.Abs(wave)),
				xdr.Int("processes", int(200+40*wave)), xdr.Float("uptime", 12.5+float64(second%86400)/86400),
				xdr.String("kernel_version", "6.12.57"), xdr.String("hostname", node),
			}
		}})
	}
}

// jobs adds jobs of which every tenth ends at a second: one with a signal, one with an exit
// code, and the others well.
func (f *farm) jobs(cluster string, n, end int) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		begin := end - 300 - r.IntN(9000)
		efficiency := 70 + 29*r.Float64()
		ended := false
		f.members = append(f.members, member{cluster, fmt.Sprint(4000 + i), 60, r.IntN(60), func(second int) []xdr.Param {
			run := float64(second - begin)
			if ended || run < 0 {
				return nil
			}
			eff := efficiency + r.NormFloat64()
			params := []xdr.Param{
				xdr.Float("run_time", run), xdr.Float("cpu_time", run*eff/100), xdr.Float("cpu_usage", eff), xdr.Float("cpu_efficiency", eff),
				xdr.Float("rss", 1e6+1e5*r.Float64()), xdr.Float("processes", 5),
			}
			if i%10 == 3 && second >= end {
				ended = true
				code := xdr.Float("exit_code", 0)
				switch i {
				case 13:
					code = xdr.Float("exit_signal", 9)
				case 23:
					code = xdr.Float("exit_code", 2)
				}
				params = append(params[:4], code, xdr.Float("max_rss", 2e6), xdr.String("status", "ended"))
			}
			return params
		}})
	}
}

// services adds services of which the second is down from a second on.
func (f *farm) services(cluster string, n, down int) {
	for i := range n {
		f.members = append(f.members, member{cluster, fmt.Sprintf("se%02d", i), 60, i, func(second int) []xdr.Param {
			up := 1.
			if i == 1 && second >= down {
				up = 0
			}
			return []xdr.Param{xdr.Float("up", up), xdr.Float("restarts", 0), xdr.Float("run_time", 86400), xdr.Float("cpu_usage", 20+3*math.Sin(float64(second)/300))}
		}})
	}
}

// typicalFarm has some of everything. Trouble begins some minutes before the end.
func typicalFarm(end time.Time) *farm {
	f := newFarm(end.Add(-time.Hour))
	at := func(ago time.Duration) int { return int(end.Add(-ago).Unix()) }
	f.hosts("MySite_Nodes", 48, 15, func(i int) int {
		if i == 30 || i == 31 {
			return at(8 * time.Minute)
		}
		return 0
	})
	f.hosts("Other_Nodes", 6, 120, nil)
	f.services("MySite_Services", 16, at(14*time.Minute))
	f.jobs("MySite_Jobs", 60, at(5*time.Minute))
	instance := int32(362246578)
	for i := range 20 {
		f.senders = append(f.senders, Sender{Address: fmt.Sprintf("192.0.2.%d", 10+i), Instance: &instance, Version: "2.2.20_go", FirstHeard: f.now, LastHeard: f.now, Cluster: "MySite_Nodes"})
	}
	f.totals.Senders = 20
	since := end.Add(-3 * time.Minute)
	f.outputs = []Output{{Name: "influx http://db:8086", Queued: 12000, Sent: 1 << 20, Error: "connection refused", Since: &since}, {Name: "relay monalisa:8884", Sent: 77777}}
	return f
}

// TestShow serves a farm for those who look at the pages: APMON_SHOW=TIME.
func TestShow(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("APMON_SHOW"))
	if err != nil {
		t.Skip("APMON_SHOW=10m serves the pages")
	}
	end := time.Now()
	f := typicalFarm(end)
	d := f.dashboard()
	f.run(d, 3600-200)
	f.mu.Lock()
	f.senders = append(f.senders, Sender{Address: "198.51.100.4", Refused: 1, Refusal: "the password is wrong", FirstHeard: f.now, LastHeard: f.now})
	f.mu.Unlock()
	tick := func() {
		f.mu.Lock()
		f.totals.Lost++
		f.senders[7].Lost++
		f.totals.Refused++
		f.senders[20].Refused++
		f.senders[20].LastHeard = f.now
		f.mu.Unlock()
	}
	for range 20 {
		tick()
		f.run(d, 10)
	}
	srv := httptest.NewServer(d)
	defer srv.Close()
	fmt.Println("at", srv.URL)
	_ = os.WriteFile(os.Getenv("APMON_SHOW_FILE"), []byte(strings.TrimSpace(srv.URL)), 0o644)
	for time.Since(end) < span {
		time.Sleep(time.Second)
		for f.clock().Before(time.Now()) {
			f.second()
		}
	}
}
