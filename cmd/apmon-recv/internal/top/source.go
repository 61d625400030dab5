// Package top shows what a receiver receives on a terminal, live, or once as text.
package top

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/internal/dashboard"
)

// Source is where the view reads: a dashboard of this process, or the API of another one.
// Its answers are shared and not changed.
type Source interface {
	Overview(context.Context) (*dashboard.Overview, error)
	Nodes(ctx context.Context, cluster string) (*dashboard.NodeList, error)
	// Params returns the parameters of a node, or of all nodes of a cluster if the node is
	// empty. A name that is not empty restricts them to those of this name, and some others if
	// it is long.
	Params(ctx context.Context, cluster, node, name string) (*dashboard.ParamList, error)
	// Series returns the values of a parameter of nodes, at most maxSeries, since a time.
	Series(ctx context.Context, cluster, param string, nodes []string, from time.Time) ([]dashboard.Series, error)
}

// maxSeries is the most nodes that the API takes in one request for series.
const maxSeries = 16

// maxEntries is the most nodes or parameters in an answer.
const maxEntries = 10_000

// maxPattern is the most bytes of a pattern that the API takes.
const maxPattern = 256

// Local reads a dashboard of this process.
type Local struct{ *dashboard.Dashboard }

// Overview implements [Source].
func (l Local) Overview(context.Context) (*dashboard.Overview, error) {
	return l.Dashboard.Overview(), nil
}

// Nodes implements [Source].
func (l Local) Nodes(_ context.Context, cluster string) (*dashboard.NodeList, error) {
	return l.Dashboard.Nodes(cluster)
}

// Params implements [Source].
func (l Local) Params(_ context.Context, cluster, node, name string) (*dashboard.ParamList, error) {
	return l.Dashboard.Params(cluster, node, exactly(name), maxEntries)
}

// Series implements [Source].
func (l Local) Series(_ context.Context, cluster, param string, nodes []string, from time.Time) ([]dashboard.Series, error) {
	var all []dashboard.Series
	for _, node := range nodes {
		s, err := l.Dashboard.Series(cluster, node, param, from, time.Time{})
		if err != nil {
			continue // it has just gone
		}
		all = append(all, *s)
	}
	return all, nil
}

// exactly returns a pattern that matches a name, but for its case, and names that contain it
// not: a backslash makes the next character plain. Of a long name it is the beginning, so that
// other names may match too.
func exactly(name string) string {
	if name == "" {
		return ""
	}
	b := make([]byte, 0, 2*len(name))
	for i := range len(name) {
		if len(b) > maxPattern-8 && utf8.RuneStart(name[i]) {
			return string(append(b, '*'))
		}
		if c := name[i]; i == 0 || c == '*' || c == '?' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	return string(b)
}
