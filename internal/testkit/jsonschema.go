package testkit

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A JSONSchema checks documents. It knows the keywords type, const, enum, minimum, pattern,
// items, properties, required, additionalProperties, and $ref to $defs. Any other keyword
// that is not an annotation fails the test.
type JSONSchema struct {
	t    testing.TB
	root map[string]any
}

// ReadJSONSchema reads a schema from a file.
func ReadJSONSchema(t testing.TB, file string) *JSONSchema {
	t.Helper()
	s := &JSONSchema{t: t}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s.root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Check returns how a document violates the schema.
func (s *JSONSchema) Check(document []byte) (faults []string) {
	s.t.Helper()
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		return []string{err.Error()}
	}
	s.check(s.root, v, "", &faults)
	return faults
}

func (s *JSONSchema) check(schema map[string]any, v any, path string, faults *[]string) {
	s.t.Helper()
	fail := func(format string, args ...any) { *faults = append(*faults, path+": "+fmt.Sprintf(format, args...)) }
	object, _ := v.(map[string]any)
	for keyword, x := range schema {
		switch keyword {
		case "$schema", "$id", "$defs", "title", "description":
		case "$ref":
			defs, _ := s.root["$defs"].(map[string]any)
			def, ok := defs[strings.TrimPrefix(x.(string), "#/$defs/")].(map[string]any)
			if !ok {
				s.t.Fatalf("%v is not defined", x)
			}
			s.check(def, v, path, faults)
		case "type":
			if !slices.ContainsFunc(list(x), func(name any) bool { return isType(v, name) }) {
				fail("%v is not of type %v", v, x)
			}
		case "const", "enum":
			if !slices.ContainsFunc(list(x), func(want any) bool { return reflect.DeepEqual(v, want) }) {
				fail("%v is not %v", v, x)
			}
		case "minimum":
			if f, ok := v.(float64); ok && f < x.(float64) {
				fail("%v is below %v", f, x)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(x.(string)).MatchString(text) {
				fail("%q does not match %v", text, x)
			}
		case "items":
			elements, _ := v.([]any)
			for i, e := range elements {
				s.check(x.(map[string]any), e, fmt.Sprintf("%s/%d", path, i), faults)
			}
		case "required":
			for _, name := range x.([]any) {
				if _, ok := object[name.(string)]; object != nil && !ok {
					fail("no %v", name)
				}
			}
		case "properties", "additionalProperties":
		default:
			s.t.Fatalf("keyword %s at %q is not known", keyword, path)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, member := range object {
		if sub, ok := properties[name].(map[string]any); ok {
			s.check(sub, member, path+"/"+name, faults)
			continue
		}
		switch more := schema["additionalProperties"].(type) {
		case bool:
			if !more {
				fail("%s is not in the schema", name)
			}
		case map[string]any:
			s.check(more, member, path+"/"+name, faults)
		}
	}
}

// list returns a list, or a single value as one.
func list(x any) []any {
	if l, ok := x.([]any); ok {
		return l
	}
	return []any{x}
}

func isType(v, name any) bool {
	switch x := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && x == math.Trunc(x)
	case []any:
		return name == "array"
	}
	return name == "object"
}
