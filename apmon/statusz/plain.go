package statusz

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// plain returns a value for JSON: the fields of structs have names in snake case, durations
// are in seconds and their names end in "_seconds", and fields that are empty are left out,
// except numbers.
func plain(v reflect.Value) any {
	if _, ok := v.Interface().(encoding.TextMarshaler); ok {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			field, name := v.Field(i), strings.Join(words(v.Type().Field(i).Name), "_")
			if !v.Type().Field(i).IsExported() || field.IsZero() && !field.CanUint() && !field.CanInt() {
				continue
			}
			if d, ok := field.Interface().(time.Duration); ok {
				m[name+"_seconds"] = d.Seconds()
			} else {
				m[name] = plain(field)
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	}
	if err, ok := v.Interface().(error); ok {
		return err.Error()
	}
	return v.Interface()
}

// unitSuffixes end the names of numbers of these units in JSON.
var unitSuffixes = map[string]string{"ms": "_ms", "s": "_seconds", "1/s": "_per_second", "bit/s": "_bit_per_second", "unix s": "_unix_seconds"}

// httpJSON returns the requests of a server, and begins a new period.
func (p *Page) httpJSON() map[string]any {
	m := map[string]any{}
	for _, v := range p.http.Read() {
		m[v.Name+unitSuffixes[v.Unit]] = v.Value
	}
	s := p.opt.HTTP.Snapshot()
	routes, active := []any{}, []any{}
	for _, r := range s.Routes {
		routes = append(routes, map[string]any{"route": r.Pattern, "method": r.Method, "status": r.Status, "count": r.Count})
	}
	for _, r := range s.Active {
		active = append(active, map[string]any{"id": r.ID, "client": r.Client, "method": r.Method, "path": r.Path, "age_seconds": time.Since(r.Began).Seconds(), "bytes_sent": r.Bytes})
	}
	m["routes"], m["in_progress"] = routes, active
	return m
}
