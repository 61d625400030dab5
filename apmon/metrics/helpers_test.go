package metrics

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read returns the numbers of a reading.
func read(t testing.TB, rd *Reader) map[string]float64 {
	t.Helper()
	values, err := rd.Read()
	if err != nil {
		t.Error(err)
	}
	return numbers(t, values)
}

func numbers(t testing.TB, values []Value) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	for _, v := range values {
		if _, ok := m[v.Name]; ok {
			t.Errorf("%s twice", v.Name)
		}
		m[v.Name] = v.Float()
	}
	return m
}

// want compares numbers by name.
func want(t testing.TB, got map[string]float64, want map[string]float64) {
	t.Helper()
	for name, w := range want {
		if g, ok := got[name]; !ok || g != w {
			t.Errorf("%s: %v (present: %v), want %v", name, g, ok, w)
		}
	}
}

// absent asserts that got has none of the names.
func absent(t testing.TB, got map[string]float64, names ...string) {
	t.Helper()
	for _, name := range names {
		if g, ok := got[name]; ok {
			t.Errorf("%s: %v, want nothing", name, g)
		}
	}
}
