package conf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFixed: a configuration that the program built is a source that never changes
// and does not show its passwords.
func TestFixed(t *testing.T) {
	t.Parallel()
	c := Config{Source: "-d", Destinations: []Destination{{Host: "h", Port: 1, Password: `a "b'`}}}
	s := Fixed(c)
	if !s.Static() || s.Name != "-d" || strings.Contains(s.GoString(), c.Destinations[0].Password) {
		t.Errorf("got %#v", s)
	}
	r := Reader{Source: s}
	for _, first := range []bool{true, false} {
		got, problems, changed, err := r.Read(t.Context())
		if err != nil || len(problems) > 0 || changed != first || !got.Equal(c) || got.Source != c.Source {
			t.Errorf("got %v, %v, %v, %v", got, problems, changed, err)
		}
	}
	r = Reader{Source: Fixed(Config{})}
	if _, _, _, err := r.Read(t.Context()); err != ErrNoDestination {
		t.Errorf("without a destination: %v", err)
	}
}

func TestParseSources(t *testing.T) {
	dir := t.TempDir()
	all := ParseSources(dir+"/a.conf", "http://h/x", "h1, h2", "{'h' => $x}")
	if len(all) != 4 || all[0].kind != file || all[1].kind != remote || all[2].kind != list || all[3].kind != broken {
		t.Errorf("got %v", all)
	}
	t.Setenv("APMON_CONFIG", "h1, h2")
	if all := ParseSources(); len(all) != 1 || all[0].Name != "APMON_CONFIG" {
		t.Errorf("of the environment: %v", all)
	}
	t.Setenv("APMON_CONFIG", "['h'")
	if all := ParseSources(); len(all) != 1 || all[0].kind != broken || !strings.Contains(all[0].at, "APMON_CONFIG") {
		t.Errorf("of a bad variable: %v", all)
	}
}

// TestFollower: changes are applied; a source that fails keeps its last good
// configuration; a configuration that could not be applied is applied later.
func TestFollower(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour) // so that the reader need not wait for it to settle
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write("h1\n")
	var applied []string
	var fails error
	f := NewFollower([]Source{Fixed(Config{Source: "-d", Destinations: []Destination{{Host: "h0"}}}), File(path)}, FollowOptions{
		Apply: func(_ context.Context, configs []Config) error {
			if fails != nil {
				return fails
			}
			names := ""
			for _, c := range configs {
				names += c.Destinations[0].Host + " "
			}
			applied = append(applied, names)
			return nil
		},
	})
	select {
	case <-f.Ready():
		t.Error("ready before the first reading")
	default:
	}
	step := func(what string, want error, n int, last string) {
		t.Helper()
		if err := f.Reload(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if len(applied) != n || applied[n-1] != last {
			t.Errorf("%s: applied %q", what, applied)
		}
	}
	step("first", nil, 1, "h0 h1 ")
	<-f.Ready()
	step("the same", nil, 1, "h0 h1 ")
	write("h2\n")
	step("new", nil, 2, "h0 h2 ")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("missing", os.ErrNotExist, 2, "h0 h2 ")
	if s := f.Stats()[1]; s.Reads != 4 || s.Failures != 1 || s.Destinations != 1 || s.LastError == "" {
		t.Errorf("%+v", s)
	}
	write("h3\n")
	fails = errors.New("refused")
	step("refused", fails, 2, "h0 h2 ")
	fails = ErrRetrySoon
	step("to be retried", nil, 2, "h0 h2 ")
	if left := time.Until(f.Due()); left > 2*MinRecheck {
		t.Errorf("due in %v", left)
	}
	fails = nil
	step("in force after all", nil, 3, "h0 h3 ")
	if err := f.Replace(t.Context(), func() error { return nil }); err != nil {
		t.Error(err)
	}
	if !f.Due().IsZero() || len(f.Stats()) != 0 {
		t.Errorf("replaced, but due at %v, %v", f.Due(), f.Stats())
	}
	f.Close()
	if err := f.Reload(t.Context()); err != ErrStopped {
		t.Errorf("closed: %v", err)
	}
}

// TestFollowerTimes: a source that fails is due after 30 s, then at growing
// intervals.
func TestFollowerTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFollower([]Source{File("/nonexistent/a.conf")}, FollowOptions{Apply: func(context.Context, []Config) error { return nil }})
		last := time.Duration(0)
		for range 6 {
			if err := f.Recheck(t.Context()); err == nil {
				t.Error("no error")
			}
			left := time.Until(f.Due())
			if left < MinRecheck || left < last*3/2 {
				t.Errorf("due in %v after %v", left, last)
			}
			if err := f.Recheck(t.Context()); err != nil {
				t.Errorf("read before it is due: %v", err)
			}
			last = left
			time.Sleep(left)
		}
	})
}
