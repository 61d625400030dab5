package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, stderr := io.Pipe()
	var stdout testkit.Log
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-http", "127.0.0.1:0"}, &stdout, stderr)
		stderr.Close()
	}()
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, lines)
	m := regexp.MustCompile(`receiving at (\S+), serving (\S+);`).FindStringSubmatch(line)
	if m == nil {
		t.Fatal(line)
	}

	var cfg conf.Config
	if err := cfg.AddLine(m[1]); err != nil {
		t.Fatal(err)
	}
	c, err := apmon.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send("C", "N", apmon.Int("events", 1), apmon.String("status", "RUNNING")); err != nil {
		t.Fatal(err)
	}
	if err := c.Send("C", "N", apmon.Int("events", 2), apmon.Float("cpu_eff", 0.93)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the values", func() bool {
		resp, err := http.Get(m[2])
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got map[string]map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		n := got["C/N"]
		return n["events"] == 2.0 && n["cpu_eff"] == 0.93 && n["status"] == "RUNNING"
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := stdout.String(); !strings.Contains(got, "127.0.0.1: 2 datagrams received, 0 lost, 0 refused\n") {
		t.Errorf("%q", got)
	}
}

// The store keeps nothing of a datagram's memory, which the next datagram uses.
func TestStoreCopies(t *testing.T) {
	t.Parallel()
	b := (&xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.String("status", "RUNNING")}}).Append(nil)
	var d xdr.Datagram
	if err := d.Decode(b); err != nil {
		t.Fatal(err)
	}
	var s store
	s.add(&d)
	clear(b)
	if got := s.values["C/N"]["status"]; got != "RUNNING" {
		t.Errorf("%q", s.values)
	}
}

// Memory is bounded, and numbers that JSON does not have are null.
func TestStore(t *testing.T) {
	t.Parallel()
	var s store
	d := &xdr.Datagram{Cluster: "C", Params: []xdr.Param{xdr.Float("nan", math.NaN()), xdr.Int64("big", math.MaxInt64)}}
	s.add(d)
	if got := s.values["C/"]; got["nan"] != nil || got["big"] != int64(math.MaxInt64) {
		t.Errorf("%v", got)
	}
	s.n = maxValues
	d.Params[0].Name = "other"
	d.Params[1] = xdr.Int("big", 1)
	s.add(d)
	if got := s.values["C/"]; len(got) != 2 || got["big"] != int64(1) {
		t.Errorf("%v", got)
	}
}
