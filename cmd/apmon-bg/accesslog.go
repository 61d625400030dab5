package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/accesslog"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// logCluster is the default cluster of access-log reports.
const logCluster = "ApMon_AccessLog"

// accessLog sums up one access log: the one that the flags name, else the one that the
// configurations name.
type accessLog struct {
	given accessLogSettings // by flags
	node  string            // -n
	want  *latest[accessLogSettings]
}

var accessLogTopic = command.Topic{Name: "accesslog", Title: "Access log", Usage: "how access logs are summed up", Text: `With --accesslog, apmon-bg sums up an access log in windows of --accesslog-window,
aligned to the clock, by the times of the lines. It reads FILE from its end on, also
when it is rotated; - is standard input; a URL (http, https) is read as it is sent,
and requested again 3 s after it ends; unixgram:PATH creates a unix datagram socket,
such as for "access_log syslog:server=unix:PATH,nohostname" of nginx. If more than
net.unix.max_dgram_qlen lines arrive at once, nginx drops some.

A line is JSON with client, ua, url, status, time and bytes-sent, or has the
Combined Log Format; each line is recognized unless --accesslog-format is given. JSON
may have request_time and upstream_response_time in s, or request_time_us (%D of
Apache); a Combined line may have $request_time $upstream_response_time, or
NAME=VALUE, after the user agent. For nginx:

   log_format apmon escape=json '{"client":"$remote_addr",'
     '"ua":"$http_user_agent","url":"$request_uri","status":$status,'
     '"time":"$time_iso8601","bytes-sent":$bytes_sent,'
     '"request_time":"$request_time",'
     '"upstream_response_time":"$upstream_response_time"}';

In every window the whole site is reported on the node HOST with client_count,
bytes_sent, bytes_sent_R, requests, requests_R, window (its length in s), status_2xx
to status_5xx, and if the log has times request_time_p50, _p90 and _p99 and
upstream_response_time_p50, _p90 and _p99 in ms. The log itself is reported on the
same node with unmatched, late, bad_lines, windows_lost and truncated. HOST is set
with -n. More than 512 clients are estimated with an error of 1.15%. docs/accesslog.md
has all parameters.

--accesslog-match divides the site into streams, each with a node of its own: the
named groups of REGEXP identify them. With /(?P<site>\w+)/(?P<app>\w+) they are
HOST_SITE_APP, or {site}_{app} by --accesslog-node. Requests of other URLs are
unmatched. Only 200 and 206 count as requests then, unless --accesslog-status lists
others or is "all"; status_4xx and so on count all requests of the stream. At most
1000 streams are counted; a request with a status from 400 on adds none. With
--accesslog-ids, other streams are unmatched. 40 messages/s are enough for 600
streams: see xApMon_maxMsgRate. REGEXP must match from the beginning of the URL;
begin it with .* to find a stream anywhere. It is not applied to the query.
--accesslog-preset hls is a REGEXP for video: /NAME/hls/CONTENT-QUALITY/SEGMENT, or
dash instead of hls, with the nodes HOST_CONTENT_FORMAT_QUALITY. --accesslog-ids
implies it unless there is a REGEXP.

--accesslog-top reports the N clients and the N URLs with the most bytes of each
window as top_client_1, top_client_1_bytes, top_url_1 … on the node HOST. It is off by
default since addresses are personal data. --accesslog-tag adds a parameter to all
these messages.

Each flag has a directive for configurations, which it overrides: xApMon_accesslog
= FILE, and xApMon_accesslog_match, _preset, _ids, _window, _status, _format, _top,
_tag, _cluster and _node. --match, --ids, --window, --status and --format are older names of the
flags.`}

func (l *accessLog) flags() []cli.Flag {
	g := &l.given
	ids := func(s string) error {
		g.IDs = strings.TrimSpace(g.IDs + " " + s)
		return nil
	}
	tags := func(s string) error {
		if _, err := parseTags(s); err != nil {
			return err
		}
		g.Tags = strings.TrimPrefix(g.Tags+","+s, ",")
		return nil
	}
	flags := []cli.Flag{
		&cli.StringFlag{Name: "accesslog", Usage: "sum up the access log `FILE|-|URL|unixgram:PATH`: see 'apmon-bg help accesslog'", Destination: &g.Input},
		&command.Repeat{Forms: []string{"accesslog-ids"}, Value: "C1,C2/F1/Q1,Q2", Usage: "declare streams, all combinations of the values of each group, such as content, format and quality (repeatable; default: all streams in the log)", Add: ids},
		&command.Repeat{Forms: []string{"accesslog-tag"}, Value: "NAME=TEXT", Usage: "add a parameter to all messages of the access log (repeatable)", Add: tags},
		&cli.StringFlag{Name: "accesslog-preset", Usage: "find streams in URLs by a preset: `hls`, also for DASH", Destination: &g.Preset},
		&cli.StringFlag{Name: "accesslog-top", Usage: "report the `N` clients and URLs with the most bytes, up to 100", DefaultText: "0", Destination: &g.Top},
		&cli.StringFlag{Name: "accesslog-cluster", Usage: "`CLUSTER` of the access-log reports", DefaultText: logCluster, Destination: &g.Cluster},
		&cli.StringFlag{Name: "accesslog-node", Usage: "`TEMPLATE` of the nodes of streams", DefaultText: "{host} and the groups: {host}_{site}_{app}", Destination: &g.Node},
		// Names of earlier releases.
		&command.Repeat{Forms: []string{"ids"}, Add: ids, Hidden: true},
	}
	for _, f := range []struct {
		name, usage, preset string
		to                  *string
	}{
		{"match", "find streams in URLs with `REGEXP`, whose named groups identify them", "the whole site", &g.Match},
		{"window", "length of a window, a `TIME` in whole seconds", "15s", &g.Window},
		{"status", "count these statuses only, `LIST`, or all", "all, or 200,206 with streams", &g.Status},
		{"format", "format of the lines: `auto|json|combined`", "auto", &g.Format},
	} {
		flags = append(flags,
			&cli.StringFlag{Name: "accesslog-" + f.name, Usage: f.usage, DefaultText: f.preset, Destination: f.to},
			&cli.StringFlag{Name: f.name, Hidden: true, Destination: f.to}) // a name of earlier releases
	}
	return command.Group("Access log", flags...)
}

// check returns an error for flags that cannot be used.
func (l *accessLog) check(cc *cli.Context) error {
	l.node, l.want = cc.String("node"), newLatest[accessLogSettings]()
	if l.given.Input == "" {
		if l.given != (accessLogSettings{}) {
			return errors.New("--accesslog-match, -preset, -ids, -window, -status, -format, -top, -tag, -cluster and -node need --accesslog")
		}
		if cc.IsSet("accesslog") {
			return errors.New("--accesslog is empty")
		}
		return nil
	}
	if cc.Bool("once") {
		return errors.New("--accesslog cannot be used with --once")
	}
	if _, err := l.open(l.given, nil); err != nil {
		return err
	}
	l.want.set(l.given)
	return nil
}

// configure sets the settings of all configurations, which those of flags override.
func (l *accessLog) configure(settings []conf.Setting) {
	if l.given.Input == "" {
		l.want.set(accessLogOf(settings))
	}
}

// follow reads the configured log, until ctx ends.
func (l *accessLog) follow(ctx context.Context, client *apmon.Client, logger *slog.Logger) {
	var now accessLogSettings
	stop := func() {}
	defer func() { stop() }()
	for {
		if want := l.want.get(); want != now {
			now = want
			log, err := l.open(want, logger)
			if err != nil {
				logger.Error("access log not used: its configuration is invalid", slog.String("error", err.Error()))
			} else {
				stop() // before the new one creates the same socket
				stop = sumUp(ctx, client, log, want)
			}
		}
		select {
		case <-l.want.changed:
		case <-ctx.Done():
			return
		}
	}
}

// sumUp reads and reports a log, nil for none, until stop is called.
func sumUp(ctx context.Context, client *apmon.Client, log *accesslog.Log, o accessLogSettings) (stop func()) {
	if log == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { log.Run(ctx) })
	// The names have been checked, so there is no error.
	m, _ := client.AddMessenger(log, apmon.ReportOptions{Name: "access log", Cluster: cmp.Or(o.Cluster, logCluster), Interval: log.Window()})
	return func() {
		m.Remove()
		cancel()
		wg.Wait()
	}
}

// open returns the log of the settings, nil for none, or an error if they cannot be used.
func (l *accessLog) open(o accessLogSettings, logger *slog.Logger) (*accesslog.Log, error) {
	if o.Input == "" {
		return nil, nil
	}
	opts := accesslog.Options{
		Input:  o.Input,
		Format: accesslog.Format(o.Format),
		Preset: o.Preset,
		Match:  o.Match,
		IDs:    strings.Fields(o.IDs),
		Node:   o.Node,
		Host:   l.node,
	}
	if o.Cluster != "" {
		if err := xdr.CheckName(o.Cluster); err != nil {
			return nil, fmt.Errorf("accesslog: cluster %s: %w", safetext.Quote(o.Cluster), err)
		}
	}
	var err error
	if o.Window != "" {
		if opts.Window, err = conf.ParseDuration(o.Window); err != nil || opts.Window == 0 {
			return nil, fmt.Errorf("accesslog: window %s is not a time, such as 15s or 1m", safetext.Quote(o.Window))
		}
	}
	if o.Top != "" {
		if opts.Top, err = strconv.Atoi(o.Top); err != nil {
			return nil, fmt.Errorf("accesslog: top %s is not a number", safetext.Quote(o.Top))
		}
	}
	if opts.Tags, err = parseTags(o.Tags); err != nil {
		return nil, fmt.Errorf("accesslog: %w", err)
	}
	opts.AllStatuses = o.Status == "all"
	if o.Status != "" && !opts.AllStatuses {
		for s := range strings.SplitSeq(o.Status, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil {
				return nil, fmt.Errorf("accesslog: status %s is not a list of numbers, such as 200,206, nor all", safetext.Quote(o.Status))
			}
			opts.Statuses = append(opts.Statuses, n)
		}
	}
	if logger == nil {
		return accesslog.New(opts)
	}
	return accesslog.New(opts, accesslog.WithLogger(logger))
}

// parseTags parses a list of tags like NAME=TEXT,NAME=TEXT; the texts are sent as they are.
func parseTags(list string) ([]apmon.Param, error) {
	var tags []apmon.Param
	if list == "" {
		return nil, nil
	}
	for tag := range strings.SplitSeq(list, ",") {
		name, text, ok := strings.Cut(tag, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		if !ok || name == "" || text == "" {
			return nil, fmt.Errorf("tag %s is not of the form NAME=TEXT", safetext.Quote(tag))
		}
		tags = append(tags, apmon.String(name, text))
	}
	return tags, nil
}
