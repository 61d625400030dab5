package main

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/conf"
)

// TestCheckDestinations: two names of one address must have one password.
func TestCheckDestinations(t *testing.T) {
	t.Parallel()
	load := func(source, text string) conf.Loaded {
		c, problems := conf.Parse(source, []byte(text), nil)
		return conf.Loaded{Config: c, Problems: problems}
	}
	loaded := []conf.Loaded{
		load("a", "one pw1\ntwo\n192.0.2.1:8884 pw2\ngone pw\n"),
		load("b", "[::1] pw3\none:1 pw4\nalias pw1\ntwo pw5\none pw1\n"),
		load("c", "alias pw6\nother pw7"),
	}
	hosts := map[string]string{"one": "192.0.2.1", "two": "192.0.2.2", "alias": "192.0.2.1", "other": "::1"}
	calls := map[string]int{}
	free := make(chan struct{}, 1)
	addrs := lookUp(t.Context(), loaded, func(_ context.Context, host string) ([]netip.Addr, error) {
		free <- struct{}{}
		defer func() { <-free }()
		calls[host]++
		if hosts[host] == "" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(hosts[host])}, nil
	})
	if d := cmp.Diff(map[string]int{"one": 1, "two": 1, "alias": 1, "other": 1, "gone": 1}, calls); d != "" {
		t.Error(d)
	}
	checkDestinations(loaded, addrs)
	var got []string
	for _, l := range loaded {
		for _, p := range l.Problems {
			got = append(got, p.Error())
		}
	}
	want := []string{
		`a: destination "192.0.2.1:8884" has a different password than "one:8884" of a, whose password is used`,
		`a: destination "gone:8884": no such host`,
		`c: destination "alias:8884" has a different password than "alias:8884" of b, whose password is used`,
		`c: destination "other:8884" has a different password than "[::1]:8884" of b, whose password is used`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
