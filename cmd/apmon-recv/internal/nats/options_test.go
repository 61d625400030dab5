package nats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	const url = "nats://alice:hunter2@h"
	for _, test := range []struct {
		o    Options
		want string // in the error; empty for none
	}{
		{Options{Server: Server{URL: "h"}}, ""},
		{Options{Server: Server{URL: "nats://alice:hunter2@h:4222, tls://token@[::1]:4222"}}, ""},
		{Options{Server: Server{URL: " "}}, "url"},
		{Options{Server: Server{URL: "h," + url + ":port"}}, "url: number 2"},
		{Options{Server: Server{URL: "http://alice:hunter2@h"}}, "url: number 1: the scheme"},
		{Options{Server: Server{URL: "nats://alice:hunter2@"}}, "no host"},
		{Options{Server: Server{URL: url, Stream: "a.b"}}, "stream: \"a.b\""},
		{Options{Server: Server{URL: url, Partitions: -1}}, "partitions: -1"},
		{Options{Server: Server{URL: url, Credentials: text + "?"}}, "credentials: open " + text + "?"},
		{Options{Server: Server{URL: url, CA: text}}, "ca: " + text},
		{Options{Server: Server{URL: url, Cert: text}}, "cert, key"},
		{Options{Server: Server{URL: url, Cert: text, Key: text}}, "cert, key"},
		{Options{Server: Server{URL: url}, Window: time.Second}, "window: 1s"},
		{Options{Server: Server{URL: url}, MaxAge: time.Second}, "max-age: 1s"},
		{Options{Server: Server{URL: url}, MaxBytes: 1}, "max-bytes: 1"},
		{Options{Server: Server{URL: url}, Replicas: 7}, "replicas: 7"},
	} {
		err := test.o.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.o, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the password: %v", err)
		}
	}
	for _, test := range []struct {
		o    ConsumeOptions
		want string
	}{
		{ConsumeOptions{Server: Server{URL: "h"}}, ""},
		{ConsumeOptions{Server: Server{URL: ""}}, "url"},
		{ConsumeOptions{Server: Server{URL: "h"}, Consumer: "a b"}, "consumer: \"a b\""},
		{ConsumeOptions{Server: Server{URL: "h"}, Failover: time.Second}, "failover: 1s"},
	} {
		err := test.o.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.o, err, test.want)
		}
	}
}

// TestNameHasNoSecret: neither passwords, tokens, paths nor queries are in names.
func TestNameHasNoSecret(t *testing.T) {
	t.Parallel()
	s := Server{URL: "nats://alice:hunter2@h1:4222, token@h2,wss://h3/secret?token=secret"}
	o, err := New(Options{Server: s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConsumer(ConsumeOptions{Server: s}, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "nats nats://h1:4222,nats://h2,wss://h3 APMON"
	if o.Name() != want || c.Name() != "from-"+want {
		t.Errorf("names %q and %q", o.Name(), c.Name())
	}
}
