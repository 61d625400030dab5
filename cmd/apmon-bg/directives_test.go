package main

import (
	"regexp"
	"slices"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

// The sample documents only directives that a program of this project uses.
func TestSampleDocumentsNoUnknownDirective(t *testing.T) {
	t.Parallel()
	own := directives()
	for _, m := range regexp.MustCompile(`(?m)^#xApMon_(\S+) = `).FindAllStringSubmatch(conf.Sample, -1) {
		if slices.ContainsFunc(own, func(d conf.Directive) bool { return d.Name == m[1] }) {
			continue
		}
		// A directive that package conf knows does not accept this value.
		if _, problems := conf.Parse("f", []byte("xApMon_"+m[1]+" = ?\n"), apmon.KnownOption); len(problems) == 0 {
			t.Errorf("xApMon_%s is not a directive", m[1])
		}
	}
}
