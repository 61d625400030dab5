package procinfo

import (
	"strings"

	"github.com/apmon-go/apmon/xdr"
)

// Metric describes one parameter, or a family of them (one for each interface).
type Metric struct {
	Category string // "system", "general", "self", "job"
	Option   string // the option behind "xApMon_" that switches it, such as "sys_load1"
	Name     string // the name it is sent under; IF stands for an interface
	Unit     string // empty for pure numbers
	Text     bool   // a text, not a number
	Meaning  string
	Source   string // on Linux
	OptIn    bool   // off unless the option says on
	Aliases  []Alias
}

// Alias is another spelling of an option.
type Alias struct {
	Option string
	Name   string // the name the parameter is then sent under
}

// Choice says whether an option (such as "sys_net_in") is on, and how it was
// spelled, with or without "sys_"; empty is the canonical spelling. A nil Choice is
// everything that is not opt-in.
type Choice func(option string) (on bool, spelled string)

// row is a line of a category's table: one of num, text and each is set.
type row[T any] struct {
	Metric
	reads reading // of the host
	num   func(*T) Value
	text  func(*T) string
	each  func(*T, []xdr.Param) []xdr.Param
}

// appendRows appends what is known of v and chosen.
func appendRows[T any](rows []row[T], v *T, params []xdr.Param, choose Choice) []xdr.Param {
	for i := range rows {
		r := &rows[i]
		on, name := !r.OptIn, r.Name
		if choose != nil {
			var spelled string
			if on, spelled = choose(r.Option); on && spelled != "" && len(r.Aliases) > 0 {
				name = r.name(spelled)
			}
		}
		if !on {
			continue
		}
		switch {
		case r.num != nil:
			if n := r.num(v); n.OK {
				params = append(params, xdr.Float(name, n.V))
			}
		case r.text != nil:
			if s := r.text(v); s != "" {
				params = append(params, xdr.String(name, s))
			}
		default:
			params = r.each(v, params)
		}
	}
	return params
}

// name returns the name the parameter is sent under when its option was
// spelled so.
func (m *Metric) name(spelled string) string {
	spelled = strings.TrimPrefix(spelled, "sys_")
	for _, a := range m.Aliases {
		if strings.TrimPrefix(a.Option, "sys_") == spelled {
			return a.Name
		}
	}
	return m.Name
}
