package accesslog_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/accesslog"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

func Example() {
	// The tap shows the datagrams; a real program has a destination.
	sent := make(chan *xdr.Datagram, 100)
	show := apmon.WithTap(func(datagram []byte) {
		if d, err := xdr.Parse(datagram); err == nil && d.Node == "www1_film_hls_720p" {
			sent <- d
		}
	})
	onlyOurs := apmon.Options{AdjustSource: func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }}
	client, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "192.0.2.1"}}}, show, onlyOurs)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	read, write := io.Pipe()
	log, err := accesslog.New(accesslog.Options{
		Input:  "-", // more often "/var/log/nginx/access.json"
		IDs:    []string{"film/hls/480p,720p"},
		Window: time.Second, // more often the default, 15 s
		Host:   "www1",
	}, accesslog.WithStdin(read))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go log.Run(ctx)
	if _, err := client.AddMessenger(log, apmon.ReportOptions{Cluster: "MySite_Streams", Interval: log.Window()}); err != nil {
		fmt.Println(err)
		return
	}

	if err := client.Monitor(ctx); err != nil {
		fmt.Println(err)
		return
	}

	now := time.Now().Unix()
	for _, address := range []string{"192.0.2.7", "192.0.2.8", "192.0.2.7"} {
		fmt.Fprintf(write, `{"client":%q,"ua":"vlc","url":"/live/hls/film-720p/1.ts","status":200,"time":%d,"bytes-sent":5000}`+"\n", address, now)
	}
	for d := range sent {
		if int64(d.Time) == now {
			fmt.Println(d.Cluster, d.Node)
			for i := range d.Params {
				fmt.Println(d.Params[i].Name, d.Params[i].Float())
			}
			return
		}
	}
	// Output:
	// MySite_Streams www1_film_hls_720p
	// client_count 2
	// bytes_sent 15000
	// bytes_sent_R 15000
	// requests 3
	// requests_R 3
	// window 1
	// status_2xx 3
	// status_3xx 0
	// status_4xx 0
	// status_5xx 0
}
