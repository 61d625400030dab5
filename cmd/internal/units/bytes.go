// Package units has types of settings that are written with a unit.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a number of bytes, at least 0, written as a plain number or with a unit, such as
// 64MiB or 1.5GB. It can be a flag and a value in YAML.
type Bytes int64

var unitSizes = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// Set is UnmarshalText for flags.
func (b *Bytes) Set(s string) error { return b.UnmarshalText([]byte(s)) }

// UnmarshalText reads a number of bytes. The error says what is possible.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, size := strings.TrimSpace(string(text)), 1.0
	for _, u := range unitSizes {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, size = strings.TrimSpace(number), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.") != "" || n*size >= math.MaxInt64 {
		return fmt.Errorf("%q is not a size: use a number and a unit, such as 64MiB", text)
	}
	*b = Bytes(n * size)
	return nil
}

// String returns the number with the largest binary unit that leaves a whole number.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if n := int64(unitSizes[i].size); int64(b) >= n && int64(b)%n == 0 {
			return strconv.FormatInt(int64(b)/n, 10) + unitSizes[i].name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
