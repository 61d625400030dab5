package units

import "testing"

func TestBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Bytes
		back string
	}{
		{"0", 0, "0"}, {"17", 17, "17"}, {"17B", 17, "17"}, {"64MiB", 64 << 20, "64MiB"}, {" 1.5 GiB", 3 << 29, "1536MiB"},
		{"1kB", 1000, "1000"}, {"2TB", 2e12, "1953125000KiB"}, {"1024", 1024, "1KiB"},
	} {
		var b Bytes
		if err := b.Set(c.text); err != nil || b != c.want || b.String() != c.back {
			t.Errorf("%q: %d (%v), %v", c.text, int64(b), b, err)
		}
		if err := b.Set(b.String()); err != nil || b != c.want {
			t.Errorf("%q does not read back", c.back)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "1XB", "1e3", "inf", "0x10", "9999999TiB", "1 2"} {
		var b Bytes
		if err := b.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, int64(b))
		}
	}
}
