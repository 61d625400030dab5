package jobreport

import (
	"bytes"
	_ "embed"
	"html/template"
	"sync"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/page"
)

//go:embed report.html
var pageText string

// pageTemplate is parsed when a page is made: exec must not pay for it.
var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("report").Parse(pageText)) })

// picture is a graph of the page.
type picture struct {
	Graph, Table template.HTML
	Note         string
}

// HTML returns a page that needs no other file, no script and no server.
func HTML(jobs []*Job) ([]byte, error) {
	data := struct {
		Title    string
		Style    template.CSS
		Jobs     []*Job
		Pictures []picture
		Groups   []group
		Columns  int
		Advice   string
		Missing  []string // jobs without a time series
	}{Title: title(jobs), Style: template.CSS(page.Style()), Jobs: jobs, Groups: summary(jobs), Columns: len(jobs) + 1, Advice: advice(jobs)}
	for _, p := range plots(jobs) {
		data.Pictures = append(data.Pictures, picture{graph.Line(p.options(), p.series...), graph.Table(p.options(), p.series...), p.note})
	}
	for _, j := range jobs {
		if j.table == nil {
			data.Missing = append(data.Missing, j.Label)
		}
	}
	var b bytes.Buffer
	err := pageTemplate().Execute(&b, data)
	return b.Bytes(), err
}

// title returns the title of a report.
func title(jobs []*Job) string {
	if len(jobs) == 1 {
		return "Job " + jobs[0].Label
	}
	s := "Jobs "
	for i, j := range jobs {
		if i > 0 {
			s += ", "
		}
		s += j.Label
	}
	return clean(s, 120)
}
