package dashboard

import (
	"encoding/csv"
	"io"

	"github.com/apmon-go/apmon/internal/history"
)

// csvTime is the form of a time in CSV, which spreadsheets read. It is in UTC.
const csvTime = "2006-01-02T15:04:05.000Z07:00"

// writeCSV writes series as lines of time, cluster, node, parameter and exact value.
func writeCSV(w io.Writer, series []Series, points [][]history.Point) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true // RFC 4180
	_ = c.Write([]string{"time", "cluster", "node", "param", "value"})
	for i := range series {
		s := &series[i]
		for k := range points[i] {
			p := &points[i][k]
			_ = c.Write([]string{p.Time.UTC().Format(csvTime), s.Cluster, s.Node, s.Name, plainValue(&p.Value)})
		}
	}
	c.Flush()
	return c.Error()
}
