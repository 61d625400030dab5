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
