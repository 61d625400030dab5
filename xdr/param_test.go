package xdr

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInt(t *testing.T) {
	t.Parallel()
	type small int8
	type count uint64
	tests := []struct {
		name string
		got  Param
		typ  Type
		want float64 // as the receiver sees it
	}{
		{"zero", Int("n", 0), TypeInt32, 0},
		{"negative", Int("n", -5), TypeInt32, -5},
		{"largest int32", Int("n", math.MaxInt32), TypeInt32, math.MaxInt32},
		{"smallest int32", Int("n", math.MinInt32), TypeInt32, math.MinInt32},
		{"one above int32", Int("n", int64(math.MaxInt32+1)), TypeReal64, math.MaxInt32 + 1},
		{"one below int32", Int("n", int64(math.MinInt32-1)), TypeReal64, math.MinInt32 - 1},
		{"int64 whose low half fits", Int("n", int64(1<<32+7)), TypeReal64, 1<<32 + 7},
		{"negative int64 whose low half fits", Int("n", int64(-1<<32+7)), TypeReal64, -1<<32 + 7},
		{"largest exact", Int("n", int64(1<<53)), TypeReal64, 1 << 53},
		{"inexact, rounded to even", Int("n", int64(1<<53+1)), TypeReal64, 1 << 53},
		{"largest int64", Int("n", int64(math.MaxInt64)), TypeReal64, 1 << 63},
		{"smallest int64", Int("n", int64(math.MinInt64)), TypeReal64, -1 << 63},
		{"uint32 with the sign bit", Int("n", uint32(math.MaxUint32)), TypeReal64, math.MaxUint32},
		{"uint32 without", Int("n", uint32(math.MaxInt32)), TypeInt32, math.MaxInt32},
		{"largest uint64", Int("n", uint64(math.MaxUint64)), TypeReal64, 1 << 64},
		{"uintptr", Int("n", uintptr(42)), TypeInt32, 42},
		{"int8", Int("n", int8(-128)), TypeInt32, -128},
		{"uint8", Int("n", uint8(255)), TypeInt32, 255},
		{"uint16", Int("n", uint16(65535)), TypeInt32, 65535},
		{"named int8", Int("n", small(-1)), TypeInt32, -1},
		{"named uint64", Int("n", count(1<<40)), TypeReal64, 1 << 40},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.got.Type() != test.typ || test.got.Float() != test.want {
				t.Errorf("%v %v, want %v %v", test.got.Type(), test.got.Float(), test.typ, test.want)
			}
			if test.typ == TypeInt32 && test.got.Int() != int64(test.want) {
				t.Errorf("Int() = %d, want %v", test.got.Int(), test.want)
			}
			if err := test.got.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		param Param
		typ   Type
		text  string
		int   int64
		float float64
	}{
		{"zero value", Param{}, TypeString, "", 0, 0},
		{"text", String("x", "7"), TypeString, "7", 0, 0},
		{"int32", Int("x", -7), TypeInt32, "", -7, -7},
		{"int64", Int64("x", 1<<40), TypeInt64, "", 1 << 40, 1 << 40},
		{"negative int64", Int64("x", -1), TypeInt64, "", -1, -1},
		{"real32 widens", Real32("x", 0.1), TypeReal32, "", 0, float64(float32(0.1))},
		{"real64", Float("x", 0.1), TypeReal64, "", 0, 0.1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := &test.param
			if p.Type() != test.typ || p.Text() != test.text || p.Int() != test.int || p.Float() != test.float {
				t.Errorf("%v %q %d %v, want %v %q %d %v", p.Type(), p.Text(), p.Int(), p.Float(),
					test.typ, test.text, test.int, test.float)
			}
		})
	}
	if p := Float("x", math.NaN()); !math.IsNaN(p.Float()) {
		t.Errorf("NaN became %v", p.Float())
	}
}

func TestTypeString(t *testing.T) {
	t.Parallel()
	var got []string
	for typ := Type(-1); typ <= 6; typ++ {
		got = append(got, typ.String())
	}
	want := []string{"type -1", "string", "type 1", "int32", "int64", "real32", "real64", "type 6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxString)
	tests := []struct {
		name  string
		param Param
		want  error
		says  string // in the error: the culprit
	}{
		{"int", Int("n", 1), nil, ""},
		{"float", Float("n", -0.5), nil, ""},
		{"largest float", Float("n", math.MaxFloat64), nil, ""},
		{"text", String("n", "x"), nil, ""},
		{"text with blanks around", String("n", " x\n"), nil, ""},
		{"name with blanks, '?' and '/'", Int("Site A/CPU? _Jobs", 1), nil, ""},
		{"bytes that are not UTF-8", String("\xff", "\xfe"), nil, ""},
		{"longest name and text", String(long, long), nil, ""},
		{"empty name", Int("", 1), ErrBadName, `parameter ""`},
		{"blank name", Int(" \t\x00", 1), ErrBadName, `parameter " \t\x00"`},
		{"name too long", Int(long+"x", 1), ErrBadName, "32768 bytes"},
		{"empty text", String("status", ""), ErrBadValue, `parameter "status"`},
		{"blank text", String("status", " \r\n"), ErrBadValue, `parameter "status"`},
		{"text of NULs", String("status", "\x00\x00"), ErrBadValue, `parameter "status"`},
		{"text too long", String("status", long+"x"), ErrBadValue, "32768 bytes"},
		{"megabyte", String("status", strings.Repeat("x", 1<<20)), ErrBadValue, "1048576 bytes"},
		{"NaN", Float("load", math.NaN()), ErrBadValue, `parameter "load": bad value: NaN`},
		{"+Inf", Float("load", math.Inf(1)), ErrBadValue, "+Inf"},
		{"-Inf", Float("load", math.Inf(-1)), ErrBadValue, "-Inf"},
		{"real32 NaN", Real32("load", float32(math.NaN())), ErrBadValue, "NaN"},
		{"real32 Inf", Real32("load", float32(math.Inf(1))), ErrBadValue, "+Inf"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkError(t, test.param.Check(), test.want, test.says)
		})
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, cluster string
		want          error
		says          string
	}{
		{"plain", "MySite_Jobs", nil, ""},
		{"accounting", "#acc_alice", nil, ""},
		{"no-break space is not blank", "\u00a0", nil, ""},
		{"longest", strings.Repeat("x", MaxString), nil, ""},
		{"empty", "", ErrBadName, "empty"},
		{"blank", "  ", ErrBadName, "blank"},
		{"too long", strings.Repeat("x", MaxString+1), ErrBadName, "32768 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkError(t, CheckName(test.cluster), test.want, test.says)
		})
	}
}

// checkError asserts that err wraps want and its text holds says, or that err is nil
// if want is.
func checkError(t *testing.T, err, want error, says string) {
	t.Helper()
	switch {
	case !errors.Is(err, want):
		t.Errorf("error %v, want %v", err, want)
	case err != nil && !strings.Contains(err.Error(), says):
		t.Errorf("error %q does not say %q", err, says)
	case err != nil && len(err.Error()) > 500:
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func TestAppendParam(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		param Param
		want  string
	}{
		{"int32", Int("x", -2), "\x00\x00\x00\x01x\x00\x00\x00" + "\x00\x00\x00\x02" + "\xff\xff\xff\xfe"},
		{"int64", Int64("xy", -2), "\x00\x00\x00\x02xy\x00\x00" + "\x00\x00\x00\x03" + "\xff\xff\xff\xff\xff\xff\xff\xfe"},
		{"real32", Real32("xyz", 1), "\x00\x00\x00\x03xyz\x00" + "\x00\x00\x00\x04" + "\x3f\x80\x00\x00"},
		{"real32 with the sign bit", Real32("x", -1), "\x00\x00\x00\x01x\x00\x00\x00" + "\x00\x00\x00\x04" + "\xbf\x80\x00\x00"},
		{"real64", Float("wxyz", 3.25), "\x00\x00\x00\x04wxyz" + "\x00\x00\x00\x05" + "\x40\x0a\x00\x00\x00\x00\x00\x00"},
		{"text", String("s", "RUNNING"), "\x00\x00\x00\x01s\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x07RUNNING\x00"},
		{"nothing", Param{}, "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// Append to a buffer with garbage in its capacity.
			b := append([]byte("head"), strings.Repeat("\xaa", 60)...)[:4]
			if got := string(AppendParam(b, &test.param)); got != "head"+test.want {
				t.Errorf("%q, want %q", got, "head"+test.want)
			}
			if got := string(AppendParam(nil, &test.param)); got != test.want {
				t.Errorf("into nil: %q, want %q", got, test.want)
			}
			if test.param.size() != len(test.want) {
				t.Errorf("size %d, want %d", test.param.size(), len(test.want))
			}
		})
	}
}

// Messages name the limit of a datagram, which is the smaller one.
func TestLimitInMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxString+1)
	text, name := String("x", long), Int(long, 1)
	for _, p := range []Param{text, name} {
		if err := p.Check(); err == nil || !strings.HasSuffix(err.Error(), "32768 bytes, a datagram has at most 8192") {
			t.Errorf("got %v", err)
		}
	}
}
