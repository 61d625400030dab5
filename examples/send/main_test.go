package main

import (
	"maps"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	if err := run([]string{recv.Addr()}); err != nil {
		t.Fatal(err)
	}
	recv.Wait(1)
	want := map[string]any{"events": 1200, "cpu_eff": 0.93, "status": "RUNNING"}
	if got := recv.Params("MySite_Jobs", "123456"); !maps.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	if err := run([]string{"no:port"}); err == nil {
		t.Error("a bad destination is no error")
	}
}
