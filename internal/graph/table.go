package graph

import (
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
)

// tableRows is the number of rows of a table at most.
const tableRows = 60

// cellValue is what a table shows of a series in the time of a row.
type cellValue struct {
	least, mean, most float64
	n                 int
}

// Table returns the values of a graph as a table that opens at a click. If there are more times
// than a table can show, a row has the mean of a time, and with one series also its least and
// greatest value.
func Table(o Options, series ...Series) template.HTML {
	o = o.withDefaults()
	series = sorted(series)
	o.setTimes(series)
	times, cells, grouped := tableCells(&o, series)
	wide := len(series) == 1 && (grouped || series[0].Band)
	b := []byte(`<details class="values"><summary>Values as a table</summary><div class="scroll"><table><caption>`)
	b = append(b, escape(o.Label, 200)...)
	if grouped {
		b = append(b, `, each row the mean from its time to the next`...)
	}
	b = append(b, `</caption><thead><tr><th scope="col">time</th>`...)
	header := func(text string) {
		b = append(b, `<th scope="col" class="n">`...)
		b = append(b, escape(text, 200)...)
		b = append(b, `</th>`...)
	}
	for i := range series {
		if wide {
			header("minimum")
			header("mean")
			header("maximum")
		} else if series[i].Label == "" {
			header("value")
		} else {
			header(series[i].Label)
		}
	}
	b = append(b, `</tr></thead><tbody>`...)
	for i, t := range times {
		b = append(b, `<tr><th scope="row">`...)
		b = append(b, escape(o.timeText(t), 60)...)
		b = append(b, `</th>`...)
		for _, c := range cells[i] {
			if wide {
				b = appendCell(b, c.least, c.n, o.Unit)
			}
			b = appendCell(b, c.mean, c.n, o.Unit)
			if wide {
				b = appendCell(b, c.most, c.n, o.Unit)
			}
		}
		b = append(b, `</tr>`...)
	}
	return template.HTML(append(b, `</tbody></table></div></details>`...))
}

func (o *Options) timeText(t time.Time) string {
	if o.Elapsed {
		return quantity.String(t.Sub(o.From).Seconds(), "s")
	}
	return t.In(o.Location).Format(time.DateTime)
}

func appendCell(b []byte, v float64, n int, unit string) []byte {
	if n == 0 {
		return append(b, `<td class="n"></td>`...)
	}
	b = append(b, `<td class="n" title="`...)
	b = append(b, escape(quantity.ExactUnit(v, unit), 60)...)
	b = append(b, `">`...)
	b = append(b, escape(quantity.String(v, unit), 60)...)
	return append(b, `</td>`...)
}

// tableCells returns the times of the rows, and the values of each series in them. Rows
// without a value are left out.
func tableCells(o *Options, series []Series) (times []time.Time, cells [][]cellValue, grouped bool) {
	index := map[int64]int{}
	for i := range series {
		for j := range series[i].Points {
			if t := series[i].Points[j].Time; !t.Before(o.From) && !t.After(o.To) {
				index[t.UnixNano()] = 0
			}
		}
	}
	grouped = len(index) > tableRows
	span := o.To.Sub(o.From)
	part := span/tableRows + 1
	rows := map[int64][]cellValue{}
	for i := range series {
		s := &series[i]
		for j := range s.Points {
			point := &s.Points[j]
			if point.Time.Before(o.From) || point.Time.After(o.To) {
				continue
			}
			key := int64(point.Time.Sub(o.From))
			if grouped {
				key = int64(point.Time.Sub(o.From) / part * part)
			}
			if rows[key] == nil {
				rows[key] = make([]cellValue, len(series))
			}
			rows[key][i].add(s, point)
		}
	}
	keys := make([]int64, 0, len(rows))
	for key := range rows {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		times = append(times, o.From.Add(time.Duration(key)))
		cells = append(cells, rows[key])
	}
	return times, cells, grouped
}

func (c *cellValue) add(s *Series, p *Point) {
	low, high := p.Value, p.Value
	if s.Band {
		low, high = p.low(), p.high()
	}
	if c.n == 0 {
		*c = cellValue{low, p.Value, high, 1}
		return
	}
	if !finite(p.Value) {
		return
	}
	if !finite(c.mean) {
		*c = cellValue{low, p.Value, high, 1}
		return
	}
	c.n++
	c.mean += p.Value/float64(c.n) - c.mean/float64(c.n)
	c.least, c.most = math.Min(c.least, low), math.Max(c.most, high)
}
