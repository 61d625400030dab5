package apmon

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

type state int

type label string

func TestParams(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"int": 7, "int8": int8(-8), "int64": int64(1) << 40, "uint": uint(9), "uint64": uint64(math.MaxUint64), "named": state(3),
		"float": 0.5, "float32": float32(0.25), "text": "RUNNING", "label": label("x"), "yes": true, "no": false,
		"json int": json.Number("12"), "json float": json.Number("1.5"), "json large": json.Number("1e300"),
	}
	want := []Param{
		Float("float", 0.5), Float("float32", 0.25), Int("int", 7), Int("int64", int64(1)<<40), Int("int8", -8),
		Float("json float", 1.5), Int("json int", 12), Float("json large", 1e300), String("label", "x"), Int("named", 3), Int("no", 0),
		String("text", "RUNNING"), Int("uint", 9), Int("uint64", uint64(math.MaxUint64)), Int("yes", 1),
	}
	for range 20 {
		got, err := Params(values)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v, %v; want %v", got, err, want)
		}
	}
	if got, err := Params(nil); len(got) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}

	n := 1
	got, err := Params(map[string]any{
		"good": 1, "nil": nil, "pointer": &n, "bytes": []byte("x"), "list": []int{1}, "map": map[string]int{}, "time": time.Time{},
		"took": time.Second, "complex": 1i, "func": func() {}, "json": json.Number("x"),
	})
	equalSlices(t, "the others", got, []Param{Int("good", 1)})
	if !errors.Is(err, ErrBadValue) || strings.Count(err.Error(), "\n") != 9 {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{`parameter "pointer": bad value: a *int cannot travel`, `"nil": bad value: nil`, "[]uint8", "[]int", "time.Time", "Seconds()", "complex128", `"x" is not a number`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestSendMap(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, here), n.options()...)
	if err := c.SendMap("C", "N", map[string]any{"b": 2.5, "a": 1, "c": "text"}); err != nil {
		t.Fatal(err)
	}
	err := c.SendMap("C", "N", map[string]any{"nan": math.NaN(), "list": []int{1}, "": 1, "good": 1})
	if !errors.Is(err, ErrBadValue) || !errors.Is(err, ErrBadName) || !strings.Contains(err.Error(), `"list"`) || !strings.Contains(err.Error(), `"nan"`) {
		t.Errorf("got %v", err)
	}
	if err := c.SendMap("C", "N", map[string]any{"list": []int{1}}); !errors.Is(err, ErrBadValue) {
		t.Errorf("got %v", err)
	}
	equal(t, "counted", c.Stats().BadParameters, 4)
	sent := n.reports(here, "C")
	if len(sent) != 2 || !slices.Equal(sent[0].Params, []Param{Int("a", 1), Float("b", 2.5), String("c", "text")}) || !slices.Equal(sent[1].Params, []Param{Int("good", 1)}) {
		t.Errorf("sent %+v", sent)
	}
}
