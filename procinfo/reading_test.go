package procinfo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every parameter of the host has a source that a sample reads. If an option is chosen
// alone, the sources of all its parameters are read.
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

// Every parameter of a host has a value in a golden file, so that a parameter that is in the
// table but is never set is noticed.
func TestEveryParameterIsInAGoldenFile(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	sent := map[string]bool{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			name, _, _ := strings.Cut(line, " = ")
			sent[name] = true
			sent["IF"+name[strings.LastIndexByte(name, '_')+1:]] = true
		}
	}
	for _, m := range Metrics() {
		if m.Category != "system" && m.Category != "general" || m.Source == "configuration" {
			continue
		}
		if !sent[m.Name] && !sent[strings.Replace(m.Name, "IF_", "IF", 1)] {
			t.Errorf("%s: no golden file has a value", m.Name)
		}
	}
}
