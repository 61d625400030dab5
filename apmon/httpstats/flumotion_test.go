package httpstats

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// zeros is a file of zeros.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// film is the size of a long download.
const film = 60 << 20

// files serves the files of testdata/flumotion.py, and a film.
func files(w http.ResponseWriter, r *http.Request) {
	size, ok := map[string]int64{"/film.mp4": 1048699, "/clip.flv": 70000, "/small.txt": 1000, "/edge.bin": 65536, "/over.bin": 65537, "/long.mp4": film}[r.URL.Path]
	if !ok {
		http.Error(w, "File not found.", http.StatusNotFound)
		return
	}
	http.ServeContent(w, r, r.URL.Path, time.Time{}, io.NewSectionReader(zeros{}, 0, size))
}

// silent starts a download whose client reads nothing.
func silent(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /long.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
	return conn
}

// TestCountersOfFlumotion compares the records and counters of 18 requests with recorded ones,
// which testdata/flumotion.py computes by the rules of Flumotion's HTTP server, while a client
// reads nothing of 60 MiB. Then a download of 60 MiB is aborted.
func TestCountersOfFlumotion(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 1)
	s := New(Options{Log: []func(*Record){func(r *Record) { records <- r }}})
	server := serve(t, s, files)
	idle := silent(t, server)
	eventually(t, s, map[string]float64{"current_request_count": 1})

	requests, want := recorded(t, "requests"), recorded(t, "records")
	if len(requests) != 18 || len(want) != len(requests) {
		t.Fatalf("%d requests, %d records", len(requests), len(want))
	}
	var sent int64
	for i, line := range requests {
		fields := append(strings.Fields(line), "")
		r, err := http.NewRequest(fields[0], server.URL+fields[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if fields[2] != "" {
			r.Header.Set("Range", fields[2])
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		rec := <-records // the request has ended
		known := func(n int64) string {
			if n < 0 {
				return "-"
			}
			return strconv.FormatInt(n, 10)
		}
		got := fmt.Sprintln(rec.Status, rec.Bytes, known(rec.Size), known(rec.First), known(rec.Last))
		if err != nil || body != rec.Bytes || strings.TrimSpace(got) != want[i] || rec.Cause != "" || rec.Path != fields[1] {
			t.Errorf("%s: %s, %d bytes read, want %s, %v", line, got, body, want[i], err)
		}
		sent += rec.Bytes
	}
	v := s.Snapshot()
	for _, line := range recorded(t, "counters") {
		name, number, _ := strings.Cut(line, " ")
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{"total-request-count": float64(v.Requests) - 1, "finished-request-count": float64(v.Requests) - float64(v.InProgress),
			"total-bytes-sent": float64(sent), "resp-2xx": float64(v.Classes[2]), "resp-4xx": float64(v.Classes[4])}
		if name == "mean-read-ratio" {
			got[name] = values(t, s)["mean_read_ratio"]
		}
		if g, ok := got[name]; !ok || math.Abs(g-n) > 1e-12 {
			t.Errorf("%s: %v, want %v", name, g, n)
		}
	}
	// Of the client that reads nothing, the kernel takes what it has room for.
	if v.Peak != 2 || len(v.Active) != 1 || v.Active[0].Bytes >= film || v.Bytes < sent {
		t.Errorf("%+v", v)
	}
	idle.Close()
	unread := <-records

	aborted := silent(t, server)
	read, err := io.CopyN(io.Discard, aborted, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	aborted.Close()
	broken := <-records
	for _, r := range []*Record{unread, broken} {
		if r.Status != 200 || r.Cause != CauseAborted || r.Size != film || r.Bytes >= film {
			t.Errorf("%+v", r)
		}
	}
	if v := s.Snapshot(); broken.Bytes < read-4096 || v.Requests != 20 || v.InProgress != 0 || v.Bytes != sent+unread.Bytes+broken.Bytes || v.Classes[2] != 18 {
		t.Errorf("%d bytes read: %+v, %+v", read, broken, v) // 4096 for the header
	}
}

// A client that reads nothing is ended after the limit, which is 30 s in Flumotion.
func TestSilentClientOfFlumotion(t *testing.T) {
	t.Parallel()
	records := make(chan *Record, 1)
	s := New(Options{IdleLimit: 100 * time.Millisecond, Log: []func(*Record){func(r *Record) { records <- r }}})
	conn := silent(t, serve(t, s, files))
	r := <-records
	if r.Cause != CauseIdle || r.Size != film || r.Bytes >= film {
		t.Errorf("%+v", r)
	}
	expect(t, s, map[string]float64{"current_request_count": 0, "total_request_count": 1, "resp_2xx": 1, "total_bytes_sent": float64(r.Bytes)})
	testkit.Eventually(t, "the end of the connection", func() bool {
		n, err := io.Copy(io.Discard, conn)
		return n == 0 && err != io.EOF
	})
}

// recorded returns the lines of a file.
func recorded(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/flumotion." + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(bytes.TrimSpace(b)), "\n")
}
