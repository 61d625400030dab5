package main

import (
	"maps"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
)

func TestSend(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	if err := send(recv.Addr() + " secret"); err != nil {
		t.Fatal(err)
	}
	if d := recv.Wait(1)[0]; d.Password != "secret" {
		t.Errorf("password %q", d.Password)
	}
	want := map[string]any{"events": 1200, "cpu_eff": 0.93, "status": "RUNNING"}
	if got := recv.Params("MySite_Jobs", "123456"); !maps.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	if err := send("host:port"); err == nil {
		t.Error("a bad port is no error")
	}
}
