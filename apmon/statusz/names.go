package statusz

import (
	"slices"
	"strings"
	"unicode"
)

// scaled is a unit and how many base units it has.
type scaled struct {
	base  string
	scale float64
}

// baseUnits are the base units of Prometheus for units of ours and for the last part of names.
var baseUnits = map[string]scaled{
	"s": {"seconds", 1}, "sec": {"seconds", 1}, "ms": {"seconds", 1e-3}, "us": {"seconds", 1e-6}, "ns": {"seconds", 1e-9},
	"seconds": {"seconds", 1}, "milliseconds": {"seconds", 1e-3}, "microseconds": {"seconds", 1e-6}, "nanoseconds": {"seconds", 1e-9},
	"minutes": {"seconds", 60}, "hours": {"seconds", 3600}, "days": {"seconds", 86400}, "weeks": {"seconds", 7 * 86400},
	"bytes": {"bytes", 1}, "kb": {"bytes", 1 << 10}, "mb": {"bytes", 1 << 20}, "gb": {"bytes", 1 << 30}, "tb": {"bytes", 1 << 40}, "pb": {"bytes", 1 << 50},
	"kilobytes": {"bytes", 1 << 10}, "megabytes": {"bytes", 1 << 20}, "gigabytes": {"bytes", 1 << 30}, "terabytes": {"bytes", 1 << 40},
	"%": {"ratio", .01}, "percent": {"ratio", .01},
}

// joined are parts of names that Prometheus gives a meaning: types of metrics, and units that
// are abbreviated or not base units. They become one part with the one before.
var joined = strings.Fields("counter gauge histogram summary untyped s ms us ns sec b kb mb gb tb pb m h d bits kelvins fahrenheit rankine inches yards miles pounds ounces kcals")

// reserved are the last parts that belong to types of metrics.
var reserved = []string{"total", "count", "sum", "bucket"}

// metricName returns the name of a metric for Prometheus, without the "_total" of a counter,
// and the factor of its values: snake case of [a-z0-9_], and base units. The unit may be empty.
func metricName(name, unit string) (string, float64) {
	parts := words(name)
	for len(parts) > 1 && slices.Contains(reserved, parts[len(parts)-1]) {
		parts = parts[:len(parts)-1]
	}
	last := parts[len(parts)-1]
	known, ok := baseUnits[strings.ToLower(unit)]
	if own, has := baseUnits[last]; has && len(parts) > 1 {
		if !ok {
			known, ok = own, true
		}
		parts = parts[:len(parts)-1]
	}
	var b strings.Builder
	for i, p := range parts {
		_, odd := baseUnits[p]
		odd = odd && p != "seconds" && p != "bytes" && p != "percent" || slices.Contains(joined, p)
		previous := ""
		if i > 0 {
			previous = parts[i-1]
		}
		if i > 0 && !odd && !(i == 1 && (slices.Contains(joined, previous) || baseUnits[previous].base != "")) {
			b.WriteByte('_')
		}
		b.WriteString(p)
	}
	clean := b.String()
	if clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	if !ok {
		return clean, 1
	}
	return clean + "_" + known.base, known.scale
}

// words returns the words of a name in lower case; there is one at least.
func words(name string) (parts []string) {
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	lower := false
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			if lower {
				end()
			}
			b.WriteRune(unicode.ToLower(c))
			lower = false
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
			lower = true
		case c == '%':
			end()
			b.WriteString("percent")
			end()
		default:
			end()
			lower = false
		}
	}
	end()
	if parts == nil {
		return []string{"unnamed"}
	}
	return parts
}
