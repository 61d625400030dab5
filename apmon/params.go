package apmon

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
)

// Params makes parameters of a map, in the order of their names' bytes: integers
// as [Int] does, floats as [Float], texts as [String], booleans as 1 and 0, and a
// [json.Number] as the number that it is; types whose underlying type is one of
// these count as it. Any other type cannot travel: nil, a pointer, a slice, a
// struct, and a [time.Duration], which does not say its unit (give its Seconds).
//
// The error joins those of all values that cannot travel, and wraps
// [ErrBadValue]; the parameters returned are the others.
func Params(values map[string]any) ([]Param, error) {
	params, bad := fromMap(values)
	if bad == nil {
		return params, nil
	}
	return params, bad
}

// SendMap is [Client.Send] with the parameters that [Params] makes of a map. Those
// that can travel are sent, whatever the others are; the error joins that of
// Params and that of Send.
func (c *Client) SendMap(cluster, node string, values map[string]any) error {
	params, bad := fromMap(values)
	err := c.Send(cluster, node, params...)
	if bad == nil {
		return err
	}
	c.counters.badParams.Add(uint64(bad.n))
	return errors.Join(bad, err)
}

func fromMap(values map[string]any) (params []Param, bad *badParams) {
	params = make([]Param, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p, err := paramOf(name, values[name])
		if err != nil {
			if bad == nil {
				bad = new(badParams)
			}
			bad.add(fmt.Errorf("parameter %s: %w: %w", safetext.Quote(name), ErrBadValue, err))
			continue
		}
		params = append(params, p)
	}
	return params, bad
}

// paramOf makes a parameter of a value, or says why that cannot travel.
func paramOf(name string, value any) (Param, error) {
	switch v := value.(type) {
	case nil:
		return Param{}, errors.New("nil cannot travel")
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return Int(name, n), nil
		}
		n, err := v.Float64()
		if err != nil {
			return Param{}, fmt.Errorf("%s is not a number", safetext.Quote(v.String()))
		}
		return Float(name, n), nil
	case time.Duration:
		return Param{}, errors.New("a time.Duration does not say its unit: give its Seconds()")
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return Int(name, v.Int()), nil
	case v.CanUint():
		return Int(name, v.Uint()), nil
	case v.CanFloat():
		return Float(name, v.Float()), nil
	case v.Kind() == reflect.String:
		return String(name, v.String()), nil
	case v.Kind() == reflect.Bool && v.Bool():
		return Int(name, 1), nil
	case v.Kind() == reflect.Bool:
		return Int(name, 0), nil
	}
	return Param{}, fmt.Errorf("a %T cannot travel", value)
}
