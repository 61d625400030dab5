package prom

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/history"
)

// Sources report the receiver's own metrics. Each may be nil. They may be called from any
// goroutine.
type Sources struct {
	Receiver func() receiver.Stats
	Inputs   func() []*nats.Consumer
	Filtered func() (datagrams, params uint64) // of [filter.Filter.Filtered]
	Outputs  func() []output.Stats
	Windows  func() history.WindowStats
	// Reload returns whether the last attempt to read the configuration succeeded, and when
	// the one that is in force was read.
	Reload  func() (ok bool, at time.Time)
	Version string       // of the program
	Log     *slog.Logger // receives errors; nil discards them
}

// newOwn returns the registry of our own metrics.
func newOwn(e *Exporter, s Sources) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	// Of the statistics of memory two have names that are one in OpenMetrics.
	reg.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled()),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&own{e, s},
	)
	return reg
}

// own collects our own metrics. It is unchecked: its metrics depend on the sources.
type own struct {
	exporter *Exporter
	sources  Sources
}

// Describe implements [prometheus.Collector].
func (o *own) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (o *own) Collect(to chan<- prometheus.Metric) {
	c := collection(to)
	c.gauge(ownBuild, 1, Label(o.sources.Version))
	if o.sources.Reload != nil {
		ok, at := o.sources.Reload()
		c.gauge(ownReload, bit(ok))
		c.gauge(ownReloadTime, float64(at.UnixMilli())/1000)
	}
	if o.sources.Receiver != nil {
		s := o.sources.Receiver()
		for i := range receiverMetrics {
			receiverMetrics[i].collect(c, &s)
		}
	}
	if o.sources.Inputs != nil {
		c.inputs(o.sources.Inputs())
	}
	if o.sources.Filtered != nil {
		datagrams, params := o.sources.Filtered()
		c.counter(ownFiltered, float64(datagrams))
		c.counter(ownFilteredParams, float64(params))
	}
	if o.sources.Outputs != nil {
		c.outputs(o.sources.Outputs())
	}
	c.store(o.exporter.store.Stats())
	if o.sources.Windows != nil {
		c.windows(o.sources.Windows())
	}
	u := o.exporter.Unexported()
	for cause, n := range map[string]int{"clash": u.Clash, "conflict": u.Conflict, "memory": u.Memory, "value": u.Value} {
		c.gauge(ownUnexported, float64(n), cause)
	}
	c.counter(ownRenderings, float64(o.exporter.renderings.Load()))
}

// collection receives metrics.
type collection chan<- prometheus.Metric

func (c collection) counter(d *prometheus.Desc, v float64, labels ...string) {
	c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (c collection) gauge(d *prometheus.Desc, v float64, labels ...string) {
	c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func bit(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// desc describes a metric with the labels given.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("apmon_recv_"+name, help, labels, nil)
}

var (
	ownBuild          = desc("build_info", "The program.", "version")
	ownReload         = desc("config_last_reload_successful", "1 if the configuration could be read the last time, else 0.")
	ownReloadTime     = desc("config_last_reload_success_timestamp_seconds", "When the configuration that is in force was read.")
	ownFiltered       = desc("filtered_datagrams_total", "Datagrams of which the filter left nothing.")
	ownFilteredParams = desc("filtered_params_total", "Parameters that the filter left out of other datagrams.")
	ownUnexported     = desc("series_unexported", "Series that the last scrape left out: clash, another parameter of the node has the same metric and labels; conflict, another rule gives the metric another type or other labels; memory, no room for labels; value, a counter below 0 or NaN, or a text.", "cause")
	ownRenderings     = desc("renderings_total", "Expositions of the last values written; scrapes at the same time share one.")
)

// receiverMetric is a metric of the receiver. A metric with causes has one line for each.
type receiverMetric struct {
	desc    *prometheus.Desc
	gauge   bool
	cause   string // "" for a metric without causes
	get     func(*receiver.Stats) uint64
	unknown func(*receiver.Stats) bool // if not nil
}

func (m *receiverMetric) collect(c collection, s *receiver.Stats) {
	if m.unknown != nil && m.unknown(s) {
		return
	}
	var labels []string
	if m.cause != "" {
		labels = []string{m.cause}
	}
	if m.gauge {
		c.gauge(m.desc, float64(m.get(s)), labels...)
	} else {
		c.counter(m.desc, float64(m.get(s)), labels...)
	}
}

var (
	ownDropped   = desc("datagrams_dropped_total", "Datagrams lost on this host: kernel, the receive buffer was full; queue_full, outputs were slower than the socket.", "cause")
	ownRefused   = desc("datagrams_refused_total", "Datagrams refused: malformed; password, a wrong one; access, by the rules; flood, over the limit of an address.", "cause")
	ownForgotten = desc("senders_forgotten_total", "Senders no longer remembered: expired, silent for long; evicted, there were too many.", "cause")
)

// receiverMetrics are the metrics of [receiver.Stats]. To add one, add a line.
var receiverMetrics = []receiverMetric{
	{desc: desc("datagrams_received_total", "Datagrams accepted, duplicates included."), get: func(s *receiver.Stats) uint64 { return s.Received }},
	{desc: desc("datagrams_truncated_total", "Accepted datagrams with fewer parameters than they declare."), get: func(s *receiver.Stats) uint64 { return s.Truncated }},
	{desc: ownRefused, cause: "malformed", get: func(s *receiver.Stats) uint64 { return s.Refusals.Malformed }},
	{desc: ownRefused, cause: "password", get: func(s *receiver.Stats) uint64 { return s.Refusals.Password }},
	{desc: ownRefused, cause: "access", get: func(s *receiver.Stats) uint64 { return s.Refusals.Access }},
	{desc: ownRefused, cause: "flood", get: func(s *receiver.Stats) uint64 { return s.Refusals.Flood }},
	{desc: desc("datagrams_lost", "Gaps in the sequence numbers of the senders now; what arrives late is lost no more."), gauge: true, get: func(s *receiver.Stats) uint64 { return s.Lost }},
	{desc: desc("datagrams_reordered_total", "Datagrams that arrived after one with a higher sequence number."), get: func(s *receiver.Stats) uint64 { return s.Reordered }},
	{desc: desc("datagrams_duplicate_total", "Datagrams whose sequence number had arrived before."), get: func(s *receiver.Stats) uint64 { return s.Duplicate }},
	{desc: desc("sender_restarts_total", "How often the sequence numbers of a sender continued at another place."), get: func(s *receiver.Stats) uint64 { return s.Restarts }},
	{desc: ownDropped, cause: "kernel", get: func(s *receiver.Stats) uint64 { return s.KernelDropped }, unknown: func(s *receiver.Stats) bool { return !s.KernelKnown }},
	{desc: ownDropped, cause: output.QueueFull, get: func(s *receiver.Stats) uint64 { return s.Dropped }},
	{desc: desc("read_errors_total", "Temporary errors of the socket."), get: func(s *receiver.Stats) uint64 { return s.ReadErrors }},
	{desc: desc("read_buffer_bytes", "Receive buffer of the socket; on Linux half of it is for bookkeeping."), gauge: true, get: func(s *receiver.Stats) uint64 { return uint64(s.ReadBuffer) }},
	{desc: desc("queued_datagrams", "Datagrams that were read and wait to be decoded."), gauge: true, get: func(s *receiver.Stats) uint64 { return uint64(s.Queued) }},
	{desc: desc("kernel_queued_bytes", "Memory of the datagrams in the receive buffers of the kernel."), gauge: true, get: func(s *receiver.Stats) uint64 { return uint64(s.KernelQueued) }, unknown: func(s *receiver.Stats) bool { return !s.KernelKnown }},
	{desc: desc("senders", "Senders with a datagram in the last 15 minutes."), gauge: true, get: func(s *receiver.Stats) uint64 { return uint64(s.ActiveSenders) }},
	{desc: ownForgotten, cause: "expired", get: func(s *receiver.Stats) uint64 { return s.Expired }},
	{desc: ownForgotten, cause: "evicted", get: func(s *receiver.Stats) uint64 { return s.Evicted }},
}

var (
	inputConsumed    = desc("input_datagrams_consumed_total", "Datagrams of streams that were handed to the outputs.", "input")
	inputRedelivered = desc("input_datagrams_redelivered_total", "Datagrams of streams that came again and were left out.", "input")
	inputMissed      = desc("input_datagrams_missed_total", "Datagrams that streams dropped, for age or size, before they were consumed.", "input")
	inputActive      = desc("input_active_partitions", "Partitions of which this process is the active member.", "input")
	inputPending     = desc("input_pending_datagrams", "Datagrams that the streams of these partitions hold and that were not delivered yet.", "input")
)

// inputs collects the counts of consumers of streams: the sum of those with the same name.
func (c collection) inputs(all []*nats.Consumer) {
	sums := map[string]nats.ConsumeStats{}
	for _, in := range all {
		sum, s := sums[in.Name()], in.Stats()
		sum.Consumed += s.Consumed
		sum.Redelivered += s.Redelivered
		sum.Missed += s.Missed
		sum.Active += s.Active
		sum.Pending += s.Pending
		sums[in.Name()] = sum
	}
	for name, s := range sums {
		of := Label(name)
		c.counter(inputConsumed, float64(s.Consumed), of)
		c.counter(inputRedelivered, float64(s.Redelivered), of)
		c.counter(inputMissed, float64(s.Missed), of)
		c.gauge(inputActive, float64(s.Active), of)
		c.gauge(inputPending, float64(s.Pending), of)
	}
}

var (
	outputTaken     = desc("output_datagrams_taken_total", "Datagrams put into the queue of an output.", "output")
	outputSent      = desc("output_datagrams_sent_total", "Datagrams that an output has delivered.", "output")
	outputDuplicate = desc("output_datagrams_duplicate_total", "Datagrams sent that a stream of NATS had stored before, for another receiver or an earlier attempt.", "output")
	outputDropped   = desc("output_datagrams_dropped_total", "Datagrams that an output lost, by cause.", "output", "cause")
	outputQueued    = desc("output_queued_datagrams", "Datagrams that wait for an output.", "output")
	outputBytes     = desc("output_queued_bytes", "Memory of the datagrams that wait for an output.", "output")
	outputHold      = desc("output_hold_seconds", "How long an output that merges datagrams held those that it sent last.", "output")
	outputLate      = desc("output_datagrams_late_total", "Datagrams that an output held longer than it was told to.", "output")
	outputUp        = desc("output_up", "1 if the output works, 0 if it fails now.", "output")
)

// outputs collects the counts of outputs: the sum of those with the same name.
func (c collection) outputs(all []output.Stats) {
	var names []string
	sums := map[string]*output.Stats{}
	for _, s := range all {
		sum := sums[s.Output]
		if sum == nil {
			sum = &output.Stats{Dropped: map[string]uint64{}}
			sums[s.Output] = sum
			names = append(names, s.Output)
		}
		sum.Queued += s.Queued
		sum.QueuedBytes += s.QueuedBytes
		sum.Taken += s.Taken
		sum.Sent += s.Sent
		sum.Duplicate += s.Duplicate
		for cause, n := range s.Dropped {
			sum.Dropped[cause] += n
		}
		sum.Hold = max(sum.Hold, s.Hold)
		sum.Late += s.Late
		if s.Error != "" {
			sum.Error = s.Error
		}
	}
	for _, name := range names {
		s, of := sums[name], Label(name)
		c.counter(outputTaken, float64(s.Taken), of)
		c.counter(outputSent, float64(s.Sent), of)
		c.counter(outputDuplicate, float64(s.Duplicate), of)
		for cause, n := range s.Dropped {
			c.counter(outputDropped, float64(n), of, cause)
		}
		c.gauge(outputQueued, float64(s.Queued), of)
		c.gauge(outputBytes, float64(s.QueuedBytes), of)
		if s.Hold > 0 {
			c.gauge(outputHold, s.Hold.Seconds(), of)
			c.counter(outputLate, float64(s.Late), of)
		}
		c.gauge(outputUp, bit(s.Error == ""), of)
	}
}

var (
	storeSeries   = desc("series", "Series stored: parameters of nodes, texts included.")
	storeMax      = desc("series_limit", "The most series that are stored.")
	storeBytes    = desc("series_memory_bytes", "Memory counted for the series stored.")
	storeMaxBytes = desc("series_memory_limit_bytes", "The most memory for series.")
	storeNodes    = desc("nodes", "Nodes of the series stored.")
	storeExpired  = desc("series_expired_total", "Series that ended, as no value came for long.")
	storeRefused  = desc("values_refused_total", "Values not stored, as their series, or text, was over a limit: that of series, or that of memory.", "cause")
	storeCluster  = desc("cluster_values_refused", "Of the values not stored, those of a cluster, at most; the clusters with the most.", "cluster")
)

func (c collection) store(s history.Stats) {
	c.gauge(storeSeries, float64(s.Series))
	c.gauge(storeMax, float64(s.MaxSeries))
	c.gauge(storeBytes, float64(s.Bytes))
	c.gauge(storeMaxBytes, float64(s.MaxBytes))
	c.gauge(storeNodes, float64(s.Nodes))
	c.counter(storeExpired, float64(s.Expired))
	c.counter(storeRefused, float64(s.OverCount), "series")
	c.counter(storeRefused, float64(s.OverBytes), "memory")
	for _, k := range s.Clusters {
		c.gauge(storeCluster, float64(k.Refused), Label(k.Name))
	}
}

var (
	windowSpan          = desc("history_span_seconds", "The time for which values are kept.")
	windowSeries        = desc("history_series", "Series with values kept.")
	windowPoints        = desc("history_points", "Values kept.")
	windowBytes         = desc("history_memory_bytes", "Memory counted for the values kept.")
	windowMaxBytes      = desc("history_memory_limit_bytes", "The most memory for values kept.")
	windowDroppedPoints = desc("history_dropped_points_total", "Values dropped before their time, as the memory did not suffice.")
	windowDroppedSeries = desc("history_dropped_series_total", "Series dropped before their time, as the memory did not suffice.")
)

func (c collection) windows(s history.WindowStats) {
	c.gauge(windowSpan, s.Span.Seconds())
	c.gauge(windowSeries, float64(s.Series))
	c.gauge(windowPoints, float64(s.Points))
	c.gauge(windowBytes, float64(s.Bytes))
	c.gauge(windowMaxBytes, float64(s.MaxBytes))
	c.counter(windowDroppedPoints, float64(s.DroppedPoints))
	c.counter(windowDroppedSeries, float64(s.DroppedSeries))
}
