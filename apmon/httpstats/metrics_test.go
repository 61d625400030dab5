package httpstats

import (
	"context"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/xdr"
	"github.com/google/go-cmp/cmp"
)

var _ apmon.Source = (*Stats)(nil)

func TestNames(t *testing.T) {
	t.Parallel()
	const all = `current_request_count total_request_count request_count_peak request_count_peak_time mean_request_count current_request_rate mean_request_rate request_rate_peak request_rate_peak_time total_bytes_sent current_bitrate mean_bitrate bitrate_peak bitrate_peak_time mean_read_ratio resp_2xx resp_3xx resp_4xx resp_5xx duration_min duration_avg duration_max duration_p50 duration_p90 duration_p99 localhost_requests private_requests server_uptime`
	var names []string
	for _, m := range Metrics() {
		names = append(names, m.Name)
	}
	if d := cmp.Diff(strings.Fields(all), names); d != "" {
		t.Error(d)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for prefix, s := range map[string]*Stats{"http_": New(Options{}), "": New(Options{NoPrefix: true}), "web.": New(Options{Prefix: "web."})} {
		before := []xdr.Param{xdr.Int("before", 1)}
		params, err := s.Collect(context.Background(), before)
		if err != nil || len(params) < 2 || params[0].Name != "before" || params[1].Name != prefix+"current_request_count" {
			t.Errorf("%q: %v, %v", prefix, params, err)
		}
		for _, p := range params[1:] {
			if p.Type() != xdr.TypeReal64 || p.Check() != nil {
				t.Errorf("%s is of type %v, %v", p.Name, p.Type(), p.Check())
			}
		}
	}
}
