package accesslog

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apmon-go/apmon/internal/safetext"
)

// HLS is the [Options].Preset of video in segments, by HLS or DASH.
const HLS = "hls"

// HLSMatch is the Match of the preset [HLS].
const HLSMatch = `/[^/]+/(?P<format>hls|dash)/(?P<content>.+)-(?P<quality>[^-]+)/.*`

// MaxStreams is the maximum number of streams of a log. Each takes up to 8 KiB in each
// of two or three windows, and 4 KiB more for each duration that the log has.
const MaxStreams = 1000

// maxGroups is the maximum number of named groups of an expression.
const maxGroups = 8

// identity identifies a stream, by the named groups that match a part of the URL.
type identity [maxGroups][]byte

// matcher finds the identity in a URL.
type matcher func(url []byte) (id identity, ok bool)

// hlsGroups are the groups of [HLSMatch] in the order of declarations.
var hlsGroups = []string{"content", "format", "quality"}

// newMatcher returns the matcher of a regular expression, which must match from the
// beginning of the URL, and the names of its groups. The empty expression matches all.
func newMatcher(expr string) (matcher, []string, error) {
	switch expr {
	case "":
		return func([]byte) (id identity, ok bool) { return id, true }, nil, nil
	case HLSMatch:
		return matchHLS, hlsGroups, nil
	}
	return matchExpr(expr)
}

// matchExpr returns the matcher of any expression.
func matchExpr(expr string) (matcher, []string, error) {
	// Compile it alone first: an unmatched parenthesis may be valid within a group.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, nil, fmt.Errorf("accesslog: match: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)`)
	if err != nil {
		return nil, nil, fmt.Errorf("accesslog: match: %w", err)
	}
	var names []string
	for _, name := range re.SubexpNames() {
		switch {
		case name == "":
		case name == "host":
			return nil, nil, fmt.Errorf("accesslog: match %s has a group host: {host} is the host name", safetext.Quote(expr))
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if len(names) > maxGroups {
		return nil, nil, fmt.Errorf("accesslog: match %s has more than %d named groups", safetext.Quote(expr), maxGroups)
	}
	if slices.Equal(slices.Sorted(slices.Values(names)), hlsGroups) {
		names = hlsGroups // in any order
	}
	var index [maxGroups]int
	for i, name := range names {
		index[i] = re.SubexpIndex(name)
	}
	return func(url []byte) (id identity, ok bool) {
		m := re.FindSubmatchIndex(url)
		if m == nil {
			return id, false
		}
		for i := range names {
			if g := index[i]; m[2*g] >= 0 {
				id[i] = url[m[2*g]:m[2*g+1]]
			}
		}
		return id, true
	}, names, nil
}

// matchHLS is the matcher of [HLSMatch], written by hand: package regexp takes
// several times as long as the rest of a line. It reads each byte a fixed number of
// times.
func matchHLS(url []byte) (id identity, ok bool) {
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

// declared returns the identities of declarations that list values of each group,
// content1,content2/format1/quality1,quality2: all their combinations. Values of the first
// group may have slashes.
func declared(declarations, groups []string) ([]identity, error) {
	var ids []identity
	for _, d := range declarations {
		parts := strings.Split(d, "/")
		if len(parts) < len(groups) {
			return nil, fmt.Errorf("accesslog: ids %s is not of the form %s,...: as in a,b/hls/720p for content, format and quality", safetext.Quote(d), strings.Join(groups, ",.../"))
		}
		first := len(parts) - len(groups) + 1
		parts = append([]string{strings.Join(parts[:first], "/")}, parts[first:]...)
		some := []identity{{}}
		for i, list := range parts {
			var more []identity
			for name := range strings.SplitSeq(list, ",") {
				if name = strings.TrimSpace(name); name == "" {
					return nil, fmt.Errorf("accesslog: ids %s has an empty name", safetext.Quote(d))
				}
				if len(more)+len(some) > MaxStreams {
					return nil, fmt.Errorf("accesslog: ids %s are more than %d streams", safetext.Quote(d), MaxStreams)
				}
				for _, id := range some {
					id[i] = []byte(name)
					more = append(more, id)
				}
			}
			some = more
		}
		if ids = append(ids, some...); len(ids) > MaxStreams {
			return nil, fmt.Errorf("accesslog: ids are more than %d streams", MaxStreams)
		}
	}
	return ids, nil
}

// appendKey appends a unique key of the identity.
func (id *identity) appendKey(b []byte) []byte {
	for _, value := range id {
		b = append(append(b, value...), 0)
	}
	return b
}

// template makes the names of nodes.
type template struct {
	text, host string
	groups     []string
}

// newTemplate checks the text of a template. The default is the host and the values of
// all groups, separated by underscores.
func newTemplate(text, host string, groups []string) (template, error) {
	t := template{text, host, groups}
	if text == "" {
		t.text = "{host}"
		for _, g := range groups {
			t.text += "_{" + g + "}"
		}
	}
	nameless := template{"", "", groups}
	left := strings.NewReplacer(nameless.pairs(identity{})...).Replace(t.text)
	if strings.ContainsAny(left, "{}") {
		return t, fmt.Errorf("accesslog: node %s: only {host} and the named groups of match (%s) are replaced", safetext.Quote(text), strings.Join(groups, ", "))
	}
	return t, nil
}

// pairs returns what is replaced, and by what.
func (t *template) pairs(id identity) []string {
	pairs := []string{"{host}", t.host}
	for i, g := range t.groups {
		pairs = append(pairs, "{"+g+"}", string(id[i]))
	}
	return pairs
}

// node returns the name of the node of a stream.
func (t *template) node(id identity) string {
	return strings.NewReplacer(t.pairs(id)...).Replace(t.text)
}
