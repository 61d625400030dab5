package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
)

// summary holds the counts of a receiver at one time.
type summary struct {
	stats   receiver.Stats
	senders []receiver.Sender
}

func summarize(r *receiver.Receiver) *summary {
	return &summary{r.Stats(), r.Senders()}
}

// write writes a table with a line for each address, or, with instances, for each
// sender, and then other losses and errors.
func (s *summary) write(w io.Writer, instances bool) {
	t := &s.stats
	if t.Received+t.Refused == 0 {
		fmt.Fprintln(w, "nothing received")
	} else {
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		line := func(sender, instance any, c receiver.Counts, sequenced bool) {
			fmt.Fprintf(tab, "%v\t%v\t%d\t%d\t%d\t", sender, instance, c.Received, c.Truncated, c.Refused)
			if sequenced {
				fmt.Fprintf(tab, "%d\t%d\t%d\n", c.Lost, c.Reordered, c.Duplicate)
			} else {
				fmt.Fprintln(tab, "-\t-\t-")
			}
		}
		const counts = "\tRECEIVED\tTRUNCATED\tREFUSED\tLOST\tREORDERED\tDUPLICATE"
		if instances {
			fmt.Fprintln(tab, "SENDER\tINSTANCE"+counts)
			for _, e := range s.senders {
				instance := "-"
				if e.Sequenced {
					instance = strconv.Itoa(int(e.Instance))
				}
				line(e.Addr, instance, e.Counts, e.Sequenced)
			}
		} else {
			fmt.Fprintln(tab, "SENDER\tINSTANCES"+counts)
			for rest := s.senders; len(rest) > 0; { // sorted by address
				addr, sequenced, c := rest[0].Addr, 0, receiver.Counts{}
				for len(rest) > 0 && rest[0].Addr == addr {
					c.Add(rest[0].Counts)
					if rest[0].Sequenced {
						sequenced++
					}
					rest = rest[1:]
				}
				line(addr, sequenced, c, sequenced > 0)
			}
		}
		line("total", "", t.Counts, true)
		_ = tab.Flush()
	}
	for _, e := range s.senders {
		if e.Restarts > 0 {
			fmt.Fprintf(w, "%v instance %d restarted its sequence numbers %d times; losses in between are not counted\n", e.Addr, e.Instance, e.Restarts)
		}
	}
	if n := t.Expired + t.Evicted; n > 0 {
		fmt.Fprintf(w, "the total includes %d senders no longer listed: %d silent for %v, %d too many\n", n, t.Expired, receiver.SenderLifetime, t.Evicted)
	}
	if t.KernelDropped > 0 {
		fmt.Fprintf(w, "%d datagrams dropped by the kernel: the receive buffer has %d bytes (see net.core.rmem_max)\n", t.KernelDropped, t.ReadBuffer)
	}
	if t.Dropped > 0 {
		fmt.Fprintf(w, "%d datagrams dropped: the output is too slow\n", t.Dropped)
	}
	if t.ReadErrors > 0 {
		fmt.Fprintf(w, "%d socket errors\n", t.ReadErrors)
	}
}

// writeOutputs writes a line for each output. Standard output has one only if it was too
// slow.
func writeOutputs(w io.Writer, all []output.Stats) {
	for _, o := range all {
		switch {
		case o.Output != streamName:
			fmt.Fprintln(w, o)
		case o.Dropped[output.QueueFull] > 0:
			fmt.Fprintf(w, "%d datagrams not printed: the output is too slow\n", o.Dropped[output.QueueFull])
		}
	}
}

// writeConsumers writes a line for each consumer of streams.
func (b *bridge) writeConsumers(w io.Writer) {
	for _, c := range b.inputs() {
		s := c.Stats()
		fmt.Fprintf(w, "%s: %d consumed, %d redelivered, %d missed\n", c.Name(), s.Consumed, s.Redelivered, s.Missed)
	}
}
