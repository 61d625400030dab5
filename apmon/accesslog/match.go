package accesslog

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/apmon-go/apmon/internal/safetext"
)

// DefaultMatch is the default of [Options].Match.
const DefaultMatch = `/[^/]+/(?P<format>hls|dash)/(?P<content>.+)-(?P<quality>[^-]+)/.*`

// DefaultNode is the default of [Options].Node.
const DefaultNode = "{host}_{content}_{format}_{quality}"

// MaxStreams is the maximum number of streams of a log. Each takes up to 8 KiB in each
// of two or three windows.
const MaxStreams = 1000

// identity identifies a stream, by parts of a URL.
type identity struct{ content, format, quality []byte }

// matcher finds the identity in a URL.
type matcher func(url []byte) (id identity, ok bool)

// newMatcher returns the matcher of a regular expression, which must match from the
// beginning of the URL.
func newMatcher(expr string) (matcher, error) {
	if expr == DefaultMatch {
		return matchDefault, nil
	}
	return matchExpr(expr)
}

// matchExpr returns the matcher of any expression.
func matchExpr(expr string) (matcher, error) {
	// Compile it alone first: an unmatched parenthesis may be valid within a group.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("accesslog: match: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)`)
	if err != nil {
		return nil, fmt.Errorf("accesslog: match: %w", err)
	}
	for _, name := range []string{"content", "format", "quality"} {
		if re.SubexpIndex(name) < 0 {
			return nil, fmt.Errorf("accesslog: match %s has no group (?P<%s>...)", safetext.Quote(expr), name)
		}
	}
	content, format, quality := re.SubexpIndex("content"), re.SubexpIndex("format"), re.SubexpIndex("quality")
	return func(url []byte) (id identity, ok bool) {
		m := re.FindSubmatchIndex(url)
		if m == nil {
			return identity{}, false
		}
		group := func(i int) []byte {
			if m[2*i] < 0 {
				return nil // not in the match
			}
			return url[m[2*i]:m[2*i+1]]
		}
		return identity{group(content), group(format), group(quality)}, true
	}, nil
}

// matchDefault is the matcher of [DefaultMatch], written by hand: package regexp takes
// several times as long as the rest of a line. It reads each byte a fixed number of
// times.
func matchDefault(url []byte) (id identity, ok bool) {
	if len(url) == 0 || url[0] != '/' {
		return identity{}, false
	}
	n := bytes.IndexByte(url[1:], '/')
	if n < 1 {
		return identity{}, false
	}
	format, rest, ok := bytes.Cut(url[1+n+1:], []byte("/"))
	if !ok || string(format) != "hls" && string(format) != "dash" {
		return identity{}, false
	}
	// Find the last minus with a slash between it and the next minus; the quality
	// ends at the last such slash. The content has no newline, as a dot does not
	// match one.
	newline := bytes.IndexByte(rest, '\n')
	for end := len(rest); ; {
		minus := bytes.LastIndexByte(rest[:end], '-')
		if minus < 1 {
			return identity{}, false
		}
		if n := bytes.LastIndexByte(rest[minus+1:end], '/'); n > 0 && (newline < 0 || minus < newline) {
			return identity{rest[:minus], format, rest[minus+1 : minus+1+n]}, true
		}
		end = minus
	}
}

// declared returns the identities of declarations of the form
// content1,content2/format1/quality1,quality2: all their combinations. A content may
// have slashes.
func declared(declarations []string) ([]identity, error) {
	var ids []identity
	for _, d := range declarations {
		var parts [3][]string
		rest, quality, ok := cutLast(d, "/")
		content, format, more := cutLast(rest, "/")
		if !ok || !more {
			return nil, fmt.Errorf("accesslog: ids %s is not of the form content,.../format,.../quality,... as in a,b/hls/720p", safetext.Quote(d))
		}
		n := 1
		for i, list := range []string{content, format, quality} {
			for name := range strings.SplitSeq(list, ",") {
				if name = strings.TrimSpace(name); name == "" {
					return nil, fmt.Errorf("accesslog: ids %s has an empty name", safetext.Quote(d))
				}
				parts[i] = append(parts[i], name)
			}
			if n *= len(parts[i]); n > MaxStreams {
				return nil, fmt.Errorf("accesslog: ids %s are more than %d streams", safetext.Quote(d), MaxStreams)
			}
		}
		for _, c := range parts[0] {
			for _, f := range parts[1] {
				for _, q := range parts[2] {
					ids = append(ids, identity{[]byte(c), []byte(f), []byte(q)})
				}
			}
		}
		if len(ids) > MaxStreams {
			return nil, fmt.Errorf("accesslog: ids are more than %d streams", MaxStreams)
		}
	}
	return ids, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// appendKey appends a unique key of the identity.
func (id identity) appendKey(b []byte) []byte {
	b = append(append(b, id.content...), 0)
	b = append(append(b, id.format...), 0)
	return append(b, id.quality...)
}

// node returns the name of the node by a template.
func (id identity) node(template, host string) string {
	return strings.NewReplacer("{host}", host, "{content}", string(id.content), "{format}", string(id.format), "{quality}", string(id.quality)).Replace(template)
}

// checkTemplate returns an error for a template with other names in braces.
func checkTemplate(template string) error {
	left := strings.NewReplacer("{host}", "", "{content}", "", "{format}", "", "{quality}", "").Replace(template)
	if strings.ContainsAny(left, "{}") {
		return fmt.Errorf("accesslog: node %s: only {host}, {content}, {format} and {quality} are replaced", safetext.Quote(template))
	}
	return nil
}
