package main

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/paramunits"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/procinfo"
)

// heard counts what was received, and remembers of each sender what the receiver does not: its
// version, and the names that it sent last.
type heard struct {
	mu                    sync.Mutex
	datagrams, parameters uint64
	senders               map[senderKey]senderAbout
}

type senderKey struct {
	addr      netip.Addr
	instance  int32
	sequenced bool
}

type senderAbout struct{ version, cluster, node string }

const (
	// maxAbout bounds the senders that are remembered, and maxAboutName the length in bytes of
	// each of their names.
	maxAbout     = receiver.DefaultMaxSenders
	maxAboutName = 128
)

// note counts an accepted datagram.
func (h *heard) note(p *receiver.Packet) {
	d := p.Datagram
	key := senderKey{p.From.Addr(), d.Instance, p.Sequenced()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.datagrams++
	h.parameters += uint64(len(d.Params))
	about, known := h.senders[key]
	if known && about.cluster == d.Cluster && about.version == d.Version {
		return
	}
	if !known && len(h.senders) >= maxAbout || len(d.Cluster) > maxAboutName || len(d.Node) > maxAboutName || len(d.Version) > maxAboutName {
		return
	}
	if h.senders == nil {
		h.senders = make(map[senderKey]senderAbout)
	}
	// The strings of a datagram are valid until the next one.
	h.senders[key] = senderAbout{strings.Clone(d.Version), strings.Clone(d.Cluster), strings.Clone(d.Node)}
}

// list returns the senders that the receiver remembers, and forgets the others.
func (h *heard) list(r *receiver.Receiver) []dashboard.Sender {
	senders := r.Senders()
	all := make([]dashboard.Sender, len(senders))
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := make(map[senderKey]senderAbout, len(h.senders))
	for i := range senders {
		s := &senders[i]
		d := &all[i]
		*d = dashboard.Sender{
			Address: s.Addr.String(), Received: s.Received, Lost: s.Lost, Reordered: s.Reordered, Duplicate: s.Duplicate,
			Refused: s.Refused, Restarts: s.Restarts, FirstHeard: s.First, LastHeard: s.Last,
		}
		if s.Sequenced {
			d.Instance = &s.Instance
		}
		if s.Refusal != nil {
			d.Refusal = s.Refusal.Error()
		}
		key := senderKey{s.Addr, s.Instance, s.Sequenced}
		if about, ok := h.senders[key]; ok {
			d.Version, d.Cluster, d.Node = about.version, about.cluster, about.node
			kept[key] = about
		}
	}
	h.senders = kept
	return all
}

// totals returns the counts since the start. The receiver may be nil.
func (h *heard) totals(r *receiver.Receiver) dashboard.Totals {
	h.mu.Lock()
	t := dashboard.Totals{Datagrams: h.datagrams, Parameters: h.parameters}
	h.mu.Unlock()
	if r == nil {
		return t
	}
	s := r.Stats()
	t.Datagrams, t.Lost, t.Refused, t.Senders = s.Received, s.Lost, s.Refused, s.ActiveSenders
	t.Dropped = s.Dropped + s.KernelDropped
	t.Refusals = map[string]uint64{"password": s.Refusals.Password, "access": s.Refusals.Access, "flood": s.Refusals.Flood, "malformed": s.Refusals.Malformed}
	for cause, n := range t.Refusals {
		if n == 0 {
			delete(t.Refusals, cause)
		}
	}
	return t
}

// source returns what the page shows. The receiver may be nil.
func (w *web) source(r *receiver.Receiver, outputs func() []output.Stats) dashboard.Source {
	s := dashboard.Source{
		Windows: w.windows,
		Totals:  func() dashboard.Totals { return w.heard.totals(r) },
		Outputs: func() []dashboard.Output { return dashboardOutputs(outputs()) },
		Units:   paramunits.Unit,
		Name:    "apmon-recv", Version: command.Version(), Host: procinfo.Hostname(),
	}
	if r != nil {
		s.Senders = func() []dashboard.Sender { return w.heard.list(r) }
	}
	return s
}

func dashboardOutputs(stats []output.Stats) []dashboard.Output {
	all := make([]dashboard.Output, len(stats))
	for i, s := range stats {
		all[i] = dashboard.Output{Name: s.Output, Queued: s.Queued, Sent: s.Sent, Dropped: s.Dropped, Error: s.Error}
		if s.Error != "" {
			since := s.Since
			all[i].Since = &since
		}
	}
	return all
}
