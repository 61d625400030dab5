package page

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
)

// minCompressed is the size in bytes from which answers are compressed: smaller ones fit into
// one packet.
const minCompressed = 1 << 10

// body is an answer that may be sent many times.
type body struct {
	contentType string
	plain       []byte
	compressed  func() []byte // nil if it is not worth it
}

func newBody(contentType string, plain []byte) *body {
	b := &body{contentType: contentType, plain: plain}
	b.compressed = sync.OnceValue(func() []byte {
		if len(plain) < minCompressed {
			return nil
		}
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(plain) // a buffer takes everything
		_ = z.Close()
		return out.Bytes()
	})
	return b
}

// size returns about how much memory the body needs, in bytes.
func (b *body) size() int { return len(b.plain) + len(b.plain)/4 }

// write answers with a body and a status, 0 for 200.
func write(w http.ResponseWriter, r *http.Request, b *body, status int) {
	h := w.Header()
	h.Set("Content-Type", b.contentType)
	h.Add("Vary", "Accept-Encoding")
	data := b.plain
	if AcceptsGzip(r.Header) {
		if c := b.compressed(); c != nil {
			data = c
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if status != 0 {
		w.WriteHeader(status)
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client may have left
	}
}

// Write answers with data of a type, compressed if it is large and the client accepts it.
func Write(w http.ResponseWriter, r *http.Request, contentType string, data []byte) {
	write(w, r, newBody(contentType, data), 0)
}

// JSON answers with a value as JSON. It panics if the value cannot be encoded.
func JSON(w http.ResponseWriter, r *http.Request, v any) { writeJSON(w, r, v, 0) }

// JSONError answers with a status and a value as JSON, as [JSON] does.
func JSONError(w http.ResponseWriter, r *http.Request, status int, v any) { writeJSON(w, r, v, status) }

func writeJSON(w http.ResponseWriter, r *http.Request, v any, status int) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	write(w, r, newBody("application/json", append(data, '\n')), status)
}
