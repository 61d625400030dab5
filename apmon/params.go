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

// Params converts a map to parameters, sorted by name. It converts integers like
// [Int], floats like [Float], strings like [String], booleans to 1 and 0, a
// [json.Number] to its number, and types with these underlying types alike. Values of
// other types cannot be sent: nil, pointers, slices, structs, and a [time.Duration],
// which has no unit (use its Seconds method).
//
// The error joins those of all values that cannot be sent, and wraps
// [ErrBadValue]; the other values are returned as parameters.
func Params(values map[string]any) ([]Param, error) {
	params, bad := fromMap(values)
	if bad == nil {
		return params, nil
	}
	return params, bad
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

// paramOf converts a value to a parameter. The error is the reason why it cannot be
// sent.
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
		return Param{}, errors.New("a time.Duration has no unit: use its Seconds()")
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
