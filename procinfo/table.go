package procinfo

import (
	"strings"

	"github.com/apmon-go/apmon/xdr"
)

// Metric describes a parameter, or a family of parameters (one for each interface).
type Metric struct {
	Category string // "system", "general", "self", "job"
	Option   string // the option that switches it, without "xApMon_", such as "sys_load1"
	Name     string // the name of the parameter; IF stands for an interface
	Unit     string // empty for pure numbers
	Text     bool   // the value is a text, not a number
	Meaning  string
	Source   string // kernel file or system call on Linux
	OptIn    bool   // off unless the option is set to on
	Aliases  []Alias
}

// Alias is another spelling of an option.
type Alias struct {
	Option string
	Name   string // the name of the parameter if the option is spelled so
}

// Choice reports whether an option (such as "sys_net_in") is on, and its spelling in the
// configuration, with or without "sys_"; an empty spelling is the canonical one. A nil
// Choice chooses all parameters that are not opt-in.
type Choice func(option string) (on bool, spelled string)

// A row is a line of a category's table. One of num, text and each is set.
type row[T any] struct {
	Metric
	reads reading // files that a sample of the host must read
	num   func(*T) Value
	text  func(*T) string
	each  func(*T, []xdr.Param) []xdr.Param
}

// appendRows appends the parameters of v that are chosen and known.
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

// name returns the name of the parameter if its option is spelled so.
func (m *Metric) name(spelled string) string {
	spelled = strings.TrimPrefix(spelled, "sys_")
	for _, a := range m.Aliases {
		if strings.TrimPrefix(a.Option, "sys_") == spelled {
			return a.Name
		}
	}
	return m.Name
}
