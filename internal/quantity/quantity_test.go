package quantity

import (
	"math"
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		// No unit.
		{0, "", "0"}, {math.Copysign(0, -1), "", "0"}, {1.1787352530480775, "", "1.179"}, {28.7, "", "28.7"}, {-28.7123, "", "-28.71"},
		{545210, "", "545210"}, {-545210, "", "-545210"}, {545210.5, "", "545.2 k"}, {999999, "", "999999"}, {1e6, "", "1 M"}, {1234567, "", "1.235 M"},
		{9999.4, "", "9999"}, {9999.6, "", "10 k"}, {0.0001, "", "0.0001"}, {0.00012346, "", "0.0001235"}, {1e-5, "", "1e-5"}, {1.23456e-9, "", "1.235e-9"},
		{1e300, "", "1e300"}, {-1e300, "", "-1e300"}, {5e-324, "", "4.941e-324"}, {math.MaxFloat64, "", "1.798e308"}, {1e22, "", "1e22"}, {5e20, "", "500 E"},
		{math.NaN(), "", "NaN"}, {math.Inf(1), "", "+Inf"}, {math.Inf(-1), "KB", "-Inf"}, {math.NaN(), "s", "NaN"}, {math.Inf(1), "unix s", "+Inf"},
		// Counts and rates.
		{2304, "count", "2304"}, {12345, "count", "12.35 k"}, {12345678, "count", "12.35 M"},
		{4812, "1/s", "4812/s"}, {61345.6, "1/s", "61.35 k/s"}, {0.02, "1/s", "0.02/s"}, {0, "1/s", "0/s"},
		{1234, "pages/s", "1234 pages/s"}, {12345, "pages/s", "12.35 k pages/s"},
		// Shares.
		{71, "%", "71 %"}, {99.996, "%", "100 %"}, {0.0234567, "%", "0.02346 %"}, {123456, "%", "123500 %"}, {-3.5, "%", "-3.5 %"}, {0.93456, "0 to 1", "0.9346"},
		// Bytes.
		{0, "KB", "0 B"}, {0.5, "KB", "512 B"}, {1, "KB", "1 KiB"}, {1536, "KB", "1.5 MiB"}, {1023.4, "KB", "1023 KiB"}, {1023.6, "KB", "0.9996 MiB"}, {4096, "MB", "4 GiB"},
		{8123456, "KB", "7.747 GiB"}, {-2048, "MB", "-2 GiB"}, {3, "GB", "3 GiB"}, {2048, "KiB", "2 MiB"}, {5, "TB", "5 TiB"}, {1e300, "KB", "8.882e284 EiB"}, {math.MaxFloat64, "TB", "1.714e302 EiB"},
		{123456, "KB/s", "120.6 MiB/s"}, {14, "MB/s", "14 MiB/s"}, {1e-9, "KB/s", "1.024e-6 B/s"}, {1073741824, "bytes", "1 GiB"}, {100, "bytes", "100 B"}, {2048, "bytes/s", "2 KiB/s"},
		// Bits and clock rates.
		{8e6, "bit/s", "8 Mbit/s"}, {999, "bit/s", "999 bit/s"}, {999.96, "bit/s", "1 kbit/s"}, {3400.12, "MHz", "3.4 GHz"}, {800, "MHz", "800 MHz"}, {0, "MHz", "0 Hz"},
		// Times.
		{0, "s", "0 s"}, {41.234, "s", "41.23 s"}, {59.994, "s", "59.99 s"}, {59.996, "s", "0:01:00"}, {60, "s", "0:01:00"}, {11527, "s", "3:12:07"}, {86399.6, "s", "1 d 0:00:00"},
		{86400 + 11527, "s", "1 d 3:12:07"}, {-11527, "s", "-3:12:07"}, {200 * 86400, "s", "200 d"}, {1e300, "s", "1.157e295 d"},
		{0.0123, "s", "12.3 ms"}, {0.99996, "s", "1 s"}, {1.5e-5, "s", "15 µs"}, {3e-9, "s", "3 ns"}, {1e-15, "s", "1e-6 ns"}, {-0.5, "s", "-500 ms"},
		{3.4, "ms", "3.4 ms"}, {0, "ms", "0 s"}, {1500, "ms", "1.5 s"}, {90000, "ms", "0:01:30"}, {250, "us", "250 µs"}, {12.3, "days", "12 d 7:12:00"}, {0.5, "days", "12:00:00"}, {90, "min", "1:30:00"}, {math.MaxFloat64, "days", "1.798e308 d"},
		{1763748956, "unix s", "2025-11-21 18:15:56 UTC"}, {0, "unix s", "1970-01-01 00:00:00 UTC"}, {1e300, "unix s", "1e300 UTC"}, {-1, "unix s", "1969-12-31 23:59:59 UTC"},
		// Others.
		{1.5, "kSI2k", "1.5 kSI2k"}, {123456, "HS23·s", "123.5 k HS23·s"}, {12.345678, "furlong", "12.35 furlong"}, {7, "text", "7"},
	} {
		if got := String(c.v, c.unit); got != c.want {
			t.Errorf("%v %q: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 40*time.Second + 900*time.Millisecond: "40 s", 14*time.Minute + 59*time.Second: "14 min", 3 * time.Hour: "3 h",
		3*time.Hour + 12*time.Minute: "3 h 12 min", 52*time.Hour + 59*time.Minute: "2 d 4 h", 48 * time.Hour: "2 d", 120*24*time.Hour + time.Hour: "120 d", math.MaxInt64: "106751 d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{
		{1.1787352530480775, 4, "1.179"}, {1.5, 4, "1.5"}, {12346, 4, "12350"}, {99995, 4, "100000"}, {-0.00012, 1, "-0.0001"}, {9.99996, 4, "10"}, {1e14, 4, "100000000000000"}, {1e15, 4, "1e15"},
		{1.23456e-7, 3, "1.23e-7"}, {3.7, 0, "4"}, {0.1, 17, "0.10000000000000001"}, {0.1, 99, "0.10000000000000001"}, {100, 4, "100"}, {math.Inf(-1), 4, "-Inf"},
	} {
		if got := Number(c.v, c.digits); got != c.want {
			t.Errorf("%v with %d digits: %q, want %q", c.v, c.digits, got, c.want)
		}
	}
}

func TestExact(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{1.1787352530480775: "1.1787352530480775", 0: "0", 1e20: "100000000000000000000", 1e300: "1e+300", -1e-9: "-1e-09", 8123456: "8123456", math.Inf(1): "+Inf"} {
		if got := Exact(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	if got := ExactUnit(1536.25, "KB"); got != "1536.25 KB" {
		t.Error(got)
	}
}

// TestScale: the values of an axis are in one unit, that of the greatest.
func TestScale(t *testing.T) {
	t.Parallel()
	s := NewScale(3<<20, "KB")
	if s.Unit != "GiB" || s.Text(0) != "0" || s.Text(1<<19) != "0.5" || s.Text(1<<30) != "1024" {
		t.Errorf("%+v: %s", s, s.Text(1<<19))
	}
	s = NewScale(5000, "s")
	if s.Unit != "" || s.Text(30) != "0:00:30" {
		t.Errorf("%+v: %s", s, s.Text(30))
	}
	s = NewScale(1000010, "count")
	if s.Digits = 7; s.Text(1000010) != "1.00001" || s.Unit != "M" {
		t.Errorf("%+v: %s", s, s.Text(1000010))
	}
}

func TestStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		span float64
		n    int
		unit string
		want float64
	}{
		{10, 5, "", 2}, {9.9, 5, "", 2}, {11, 5, "", 5}, {0.3, 3, "", 0.1}, {1e-9, 1, "", 1e-9}, {3 << 20, 3, "KB", 1 << 20}, {900, 4, "bytes", 256}, {3600, 5, "s", 900}, {0.5, 5, "s", .1}, {0.5, 5, "ms", .1}, {90000, 3, "ms", 30000},
		{30 * 86400, 5, "s", 10 * 86400}, {30, 5, "days", 10}, {1, 4, "days", .25}, {86400, 4, "unix s", 6 * 3600}, {0, 5, "", 1}, {math.NaN(), 5, "", 1}, {math.Inf(1), 5, "s", 1}, {-1, 5, "", 1},
	} {
		if got := Step(c.span, c.n, c.unit); got != c.want {
			t.Errorf("%v %q by %d: %v, want %v", c.span, c.unit, c.n, got, c.want)
		}
	}
}

// FuzzFormat: no value and no unit causes a panic; a text shows the value with its digits.
func FuzzFormat(f *testing.F) {
	for _, unit := range []string{"", "KB", "MB", "KB/s", "bytes", "count", "1/s", "s", "ms", "days", "unix s", "%", "MHz", "bit/s", "x"} {
		f.Add(1234.5678, unit)
		f.Add(math.MaxFloat64, unit)
		f.Add(-5e-324, unit)
		f.Add(math.NaN(), unit)
	}
	f.Fuzz(func(t *testing.T, v float64, unit string) {
		text, shown := Format(v, unit)
		if text == "" {
			t.Errorf("%v %q: no text", v, unit)
		}
		if s := Step(v, 5, unit); !(s > 0) || math.IsInf(s, 0) {
			t.Errorf("%v %q: step %v", v, unit, s)
		}
		if shown == "EiB" || shown == "UTC" || math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		if len(text) > 24 {
			t.Errorf("%v %q: long text %q", v, unit, text)
		}
	})
}
