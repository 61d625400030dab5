package xdr

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clientVector is one line of testdata/clients.jsonl: a datagram captured from an
// old client, and its content.
type clientVector struct {
	Client, Case string
	Hex          string
	Datagram     *vectorDatagram // nil if Malformed
	Malformed    string          // why, if the client got it wrong
}

type vectorDatagram struct {
	Version, Password string
	Instance, Seq     *int32
	Cluster, Node     string
	Params            []struct {
		Name  string
		Type  Type
		Value json.RawMessage
	}
	Time *int32
}

// hostileVector is one line of testdata/hostile.jsonl: a hostile datagram, and how
// the MonALISA receiver handles it.
type hostileVector struct {
	Case     string
	Hex      string
	Receiver struct{ Status, Reason string }
}

func readVectors[T any](tb testing.TB, file string) []T {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var vectors []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		if err := d.Decode(&v); err != nil {
			tb.Fatalf("%s:%d: %v", file, len(vectors)+1, err)
		}
		vectors = append(vectors, v)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return vectors
}

func clientVectors(tb testing.TB) []clientVector {
	return readVectors[clientVector](tb, "testdata/clients.jsonl")
}

func hostileVectors(tb testing.TB) []hostileVector {
	return readVectors[hostileVector](tb, "testdata/hostile.jsonl")
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// notUTF8 is how the vectors write a byte that is not UTF-8. No
// datagram has that as text of its own.
var notUTF8 = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// datagram returns the expected result of Decode from the JSON form, which holds
// reals as their bits in hex.
func (v *vectorDatagram) datagram() (*Datagram, error) {
	d := &Datagram{Version: v.Version, Password: v.Password, Cluster: v.Cluster, Node: v.Node}
	if v.Instance != nil {
		d.Instance = *v.Instance
	}
	if v.Seq != nil {
		d.Seq = *v.Seq
	}
	if v.Time != nil {
		d.Time, d.Timed = *v.Time, true
	}
	for _, p := range v.Params {
		want := Param{Name: p.Name, typ: p.Type}
		switch p.Type {
		case TypeInt32, TypeInt64:
			n, err := strconv.ParseInt(string(p.Value), 10, 64)
			if err != nil {
				return nil, err
			}
			want.bits = uint64(n)
		default:
			if err := json.Unmarshal(p.Value, &want.text); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			if p.Type == TypeString {
				want.text = notUTF8.ReplaceAllStringFunc(want.text, func(s string) string {
					b, _ := strconv.ParseUint(s[2:], 16, 8)
					return string([]byte{byte(b)})
				})
				break
			}
			bits, err := strconv.ParseUint(want.text, 16, map[Type]int{TypeReal32: 32, TypeReal64: 64}[p.Type])
			if err != nil {
				return nil, err
			}
			want.text, want.bits = "", bits
		}
		d.Params = append(d.Params, want)
	}
	return d, nil
}

// compareParams makes cmp look into parameters; bits compare as bits, so NaN
// equals itself. No slice and an empty one are the same.
var compareParams = cmp.Options{
	cmp.AllowUnexported(Param{}),
	cmp.FilterValues(func(a, b []Param) bool { return len(a)+len(b) == 0 }, cmp.Ignore()),
}

func TestClientVectors(t *testing.T) {
	t.Parallel()
	vectors := clientVectors(t)
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		t.Run(v.Client+"/"+v.Case, func(t *testing.T) {
			t.Parallel()
			b := unhex(t, v.Hex)
			var d Datagram
			err := d.Decode(b)
			if v.Malformed != "" {
				if err == nil {
					t.Fatalf("accepted as %+v, but it is malformed: %s", d, v.Malformed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := v.Datagram.datagram()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, &d, compareParams); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
			if has := v.Datagram.Instance != nil && v.Datagram.Seq != nil; d.Sequenced() != has {
				t.Errorf("Sequenced() = %v, want %v", d.Sequenced(), has)
			}
			if v.Client == "java" && v.Case == "unicode_value_only" {
				// Java counts characters but writes bytes, so the second half of
				// an é is in the place of a zero of padding. Correct that here.
				b = bytes.Replace(b, []byte("\xc3\xa9\x00\x00"), []byte("\xc3\x00\x00\x00"), 1)
			}
			if again := want.Append(nil); !bytes.Equal(again, b) {
				t.Errorf("Append =\n%x, want\n%x", again, b)
			}
		})
	}
}

// hostileRules list how this decoder handles the datagrams of hostile.jsonl. The
// first pattern that matches the case applies. It has a reason where the receiver
// does something else.
var hostileRules = []struct {
	cases  string // regular expression
	accept bool
	why    string
}{
	// The receiver stops reading after the parameters and the time. This decoder accepts
	// exactly one time or nothing, since anything else shows that the count is
	// wrong (see the C++ and Java clients' null parameters).
	{`^trail_timed_`, false, "bytes after the time"},
	{`^trail_4_`, true, "any four bytes after the parameters are a time"},
	{`^trail_`, false, "bytes after the parameters that are not a time"},
	{`^trunc_14[1-3]$`, false, "part of a time"},
	{`^nparams_(0|1_timed|4_timed)$`, false, "a count too small: parameters are left over"},
	{`^last_string_unpadded_with_ts$`, false, "the time is taken for padding and bytes of it are left over; the receiver reads a stale time"},
	{`^zeros_100$`, false, "a count of 0 and 88 bytes after it"},
	{`^trunc_000$`, false, "an empty datagram; the receiver ignores it"},

	// The receiver accepts these, and so does this decoder.
	{`^valid$`, true, "the others are variants of it"},
	{`^ver_\[(2\.2|2\.3|3|10|127|258)`, true, "2.2 or higher, so with instance id and sequence number (if it has them: see rejected)"},
	{`^ver_\[(0|1|2|2_2|2\. 2|128)(\.[0-9.]+)?\]_noid`, true, "below 2.2, or no second number, so without instance id"},
	{`^ver_\[\+2\.2\]_id$`, true, "the receiver's parser takes a plus sign"},
	{`^hdr_\[ v:2\.2\.8p: \]_id$`, true, "the header is trimmed"},
	{`^hdr_\[v:2\.2\.8_gop:pass word\]_id$`, true, "a password may hold blanks"},
	{`^oldstyle_no_header_timed$`, true, "the oldest clients begin with the cluster"},
	{`^ts_`, true, "the time is any int32"},
	{`^pad_nonzero$`, true, "padding is skipped without a check"},
	{`^last_string_unpadded$`, true, "incomplete padding is skipped"},
	{`^(only_nul_value|invalid_utf8)$`, true, "text is any bytes"},
	{`^(empty_node|empty_name_str|blank_name)$`, true, "names are not checked on decoding"},
	{`^seq_`, true, "the sequence number is any int32"},
}

// rejectedButAccepted lists the datagrams that the receiver rejects and this decoder
// accepts, with the reason. It should be empty.
var rejectedButAccepted = map[string]string{}

func TestHostileVectors(t *testing.T) {
	t.Parallel()
	vectors := hostileVectors(t)
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		t.Run(v.Case, func(t *testing.T) {
			t.Parallel()
			accept, why := false, v.Receiver.Reason
			if v.Receiver.Status == "reject" {
				if reason, ok := rejectedButAccepted[v.Case]; ok {
					accept, why = true, reason
				}
			} else {
				rule := -1
				for i, r := range hostileRules {
					if regexp.MustCompile(r.cases).MatchString(v.Case) {
						rule = i
						break
					}
				}
				if rule < 0 {
					t.Fatalf("no rule for it; the receiver says %s", v.Receiver.Status)
				}
				accept, why = hostileRules[rule].accept, hostileRules[rule].why
			}
			d, err := Parse(unhex(t, v.Hex))
			switch {
			case accept && err != nil:
				t.Errorf("refused: %v; expected to be accepted: %s", err, why)
			case !accept && err == nil:
				t.Errorf("accepted: %+v; expected to be refused: %s", d, why)
			}
		})
	}
}
