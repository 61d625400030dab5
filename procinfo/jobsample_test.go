package procinfo

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Unknown values are null, names have units, and a sample can be read back.
func TestJobSampleJSON(t *testing.T) {
	t.Parallel()
	s := JobSample{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), CPUTime: Known(1.25), RSS: Known(1e9), LowerBound: true, ExitCode: Known(0)}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"time":"2026-03-01T12:00:00Z"`, `"cpu_s":1.25`, `"rss_kb":1000000000`, `"pss_kb":null`, `"cpu_lower_bound":true`, `"exit_code":0`, `"exit_signal":null`, `"benchmarks":{"ksi2k":null`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	var back JobSample
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("read back %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"rss_kb":"x"}`), &back); err == nil {
		t.Error("a text was read as a number")
	}
	// Every field has a name of its own.
	typ := reflect.TypeFor[JobSample]()
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Tag.Get("json") == "" {
			t.Errorf("%s has no name", f.Name)
		}
	}
}
