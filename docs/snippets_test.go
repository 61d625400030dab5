package docs_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/conf"
)

// The functions below hold the Go code of the pages, so that it compiles: see TestGoCode.
var _ = []any{readmeSend, readmeOpen, migrate, options, jobs, web, middleware, embed, testReport}

func readmeSend() error {
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "ml.example.org"}}})
	if err != nil {
		return err
	}
	defer c.Close()

	err = c.Send("MySite_Jobs", "123456",
		apmon.Int("events", 1200),
		apmon.Float("cpu_eff", 0.93),
		apmon.String("status", "RUNNING"))
	return err
}

func readmeOpen(ctx context.Context) error {
	c, err := apmon.Open(ctx, "/etc/apmon/destinations.conf", "https://ml.example.org/conf?app=prod")
	if err != nil {
		return err
	}
	return c.Close()
}

func migrate(ctx context.Context, c *apmon.Client, t time.Time, values map[string]any, pid int, dir string) error {
	err := c.Send("MySite_Jobs", "123456", apmon.Int("events", 1200), apmon.String("status", "RUNNING"))
	if err != nil {
		return err
	}
	err = c.SendMap("MySite_Jobs", "123456", map[string]any{"events": 1200, "status": "RUNNING"})
	if err != nil {
		return err
	}
	err = c.SendAt(t, "MySite_Jobs", "123456", apmon.Int("events", 1200))
	if err != nil {
		return err
	}
	if err := c.Monitor(ctx); err != nil {
		return err
	}
	job, err := c.AddJob(apmon.Job{PID: pid, WorkDir: dir, Cluster: "MySite_Jobs", Node: "123456"})
	if err != nil {
		return err
	}
	job.Remove()
	err = c.Report(ctx, apmon.ReportNow)
	return err
}

func options(ctx context.Context) error {
	a := conf.Config{Source: "a", Destinations: []conf.Destination{{Host: "a.example.org"}},
		Options: conf.Options{SysMonitoring: conf.Off}}
	b := conf.Config{Source: "b", Destinations: []conf.Destination{{Host: "b.example.org", Password: "secret"}},
		Options: conf.Options{JobInterval: 10 * time.Second}}
	c, err := apmon.OpenSources(ctx, []conf.Source{conf.Fixed(a), conf.Fixed(b)})
	if err != nil {
		return err
	}
	return c.Close()
}

func jobs(ctx context.Context, c *apmon.Client, pid int, dir string) error {
	job, err := c.AddJob(apmon.Job{PID: pid, WorkDir: dir, Cluster: "MySite_Jobs", Node: "123456", NumCPUs: 8})
	if err != nil {
		return err
	}
	usage, err := job.Sample() // the numbers, without sending
	if err != nil {
		return err
	}
	_ = usage
	return job.Finish(ctx, apmon.String("status", "DONE")) // the last report
}

func web(client *apmon.Client, logger *slog.Logger) error {
	reg := metrics.New()
	reg.AddRuntime()
	logins, queue, lookup := reg.Counter("logins"), reg.Gauge("queue"), reg.Measure("lookup")

	http.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		defer lookup.Start().Stop()
		queue.Add(1)
		defer queue.Add(-1)
		logins.Add(1)
	})

	_, err := metrics.Publish(client, reg, metrics.PublishOptions{Cluster: "MySite_Services", Node: "login"})
	return err
}

func middleware(client *apmon.Client, mux http.Handler) error {
	stats := httpstats.New(httpstats.Options{})
	names := apmon.ReportOptions{Cluster: "MySite_Services", Node: "login", Interval: 10 * time.Second}
	if _, err := client.AddSource(stats, names); err != nil {
		return err
	}
	return http.ListenAndServe("127.0.0.1:8000", stats.Wrap(mux))
}

func embed(ctx context.Context) error {
	r, err := receiver.Listen(":8884", receiver.Options{})
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Serve(ctx, func(p *receiver.Packet) {
		if p.Datagram != nil {
			fmt.Println(p.Datagram.Cluster, p.Datagram.Node, len(p.Datagram.Params))
		}
	})
}

func report(string) {}

func testReport() {
	_ = func(t *testing.T) {
		recv := apmontest.New(t)
		report(recv.Addr()) // your function
		recv.Wait(1)
		if got := recv.Params("MySite_Jobs", "123456")["events"]; got != 1200 {
			t.Errorf("events: %v", got)
		}
	}
}
