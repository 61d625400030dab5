package conf

import (
	"errors"
	"testing"
	"time"
)

// A directive that the program registered is checked on every line. The other
// directives of apmon-bg are ignored without a warning.
func TestRegisteredDirectives(t *testing.T) {
	t.Parallel()
	text := "h\nxApMon_colour = red # or blue\nxApMon_colour = green\nxApMon_colour = grey\nxApMon_colour =\nxApMon_service = a=1\nxApMon_text = on off\n"
	check := func(v string) error {
		if v == "green" {
			return errors.New("not green")
		}
		return nil
	}
	r := Reader{Source: Text("f", text), Directives: []Directive{{Name: "colour", Check: check}, {Name: "text"}}}
	c, problems, _, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Setting{{"colour", "red", "f"}, {"colour", "grey", "f"}, {"text", "on off", "f"}}
	if len(c.Settings) != len(want) {
		t.Fatalf("settings %v", c.Settings)
	}
	for i := range want {
		if c.Settings[i] != want[i] {
			t.Errorf("setting %v, want %v", c.Settings[i], want[i])
		}
	}
	errs := []string{
		"f:2: warning: xApMon_colour: the text after the value is ignored",
		"f:3: xApMon_colour: not green",
		"f:5: xApMon_colour: it is empty",
	}
	if len(problems) != len(errs) {
		t.Fatalf("problems %v", problems)
	}
	for i, p := range problems {
		if p.Error() != errs[i] {
			t.Errorf("got %q, want %q", p, errs[i])
		}
	}
	if _, problems := Parse("f", []byte(text[:2]+"xApMon_service = a=1\nxApMon_accesslog = /x\n"), nil); len(problems) > 0 {
		t.Errorf("another program warns: %v", problems)
	}
}

// Options that do not affect reports must not split groups.
func TestForReports(t *testing.T) {
	t.Parallel()
	base := Options{SysInterval: time.Second, Self: Off, Switches: map[string]ParamSwitch{"job_rss": {}}}
	same := base
	same.LogLevel, same.MaxMsgRate, same.Recheck, same.RecheckInterval = 4, 1, Off, time.Hour
	same.Settings = []Setting{{"service", "a=1", "f"}}
	if !base.ForReports().Equal(base) || !same.ForReports().Equal(base) {
		t.Errorf("%+v, %+v", base.ForReports(), same.ForReports())
	}
	other := same
	other.SysInterval = 2 * time.Second
	if other.ForReports().Equal(base) {
		t.Error("the interval does not count")
	}
	if same.MaxMsgRate != 1 || len(same.Settings) != 1 {
		t.Error("the options have changed")
	}
}
