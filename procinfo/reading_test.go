package procinfo

import "testing"

// Every parameter of the host has a source that a sample reads, and an option
// chosen alone has all its parameters' sources read.
func TestEveryOptionIsRead(t *testing.T) {
	t.Parallel()
	rows := systemRows()
	for i := range rows {
		r := &rows[i]
		if r.reads == 0 {
			t.Errorf("%s: no reading has the source %q", r.Name, r.Source)
		}
		need := Choice(func(option string) (bool, string) { return option == r.Option, "" }).readings()
		if need&r.reads != r.reads {
			t.Errorf("%s alone: %s is not read", r.Option, r.Name)
		}
	}
}
