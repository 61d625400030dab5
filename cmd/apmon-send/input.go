package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// maxLine is the maximum length in bytes of a line of standard input.
const maxLine = 4 << 20

// maxParams is the maximum number of parameters for --stdin kv. They make one message, and
// are kept in memory until the input ends.
const maxParams = 1_000_000

// messages returns the messages to send: one from the arguments, or those of standard
// input. For a message that cannot be sent it yields an error.
func (c *sendCommand) messages(cc *cli.Context) (iter.Seq2[apmon.Message, error], error) {
	if c.pendingName != nil {
		return nil, fmt.Errorf("-param %q has no -value", *c.pendingName)
	}
	base := apmon.Message{
		Cluster: first(cc.String("cluster"), c.Getenv("APMON_CLUSTER")),
		Node:    first(cc.String("node"), c.Getenv("APMON_NODE")),
		Params:  c.params,
	}
	if cc.Bool("job") {
		base.Cluster, base.Node = command.JobNames(c.Getenv, cc.String("cluster"), cc.String("node"))
	}
	for _, flag := range []string{"cluster", "node"} {
		if cc.IsSet(flag) {
			if err := named(flag, cc.String(flag)); err != nil {
				return nil, err
			}
		}
	}
	if cc.IsSet("time") {
		t, err := parseTime(cc.String("time"))
		if err != nil {
			return nil, err
		}
		base.Time = t
	}
	args := cc.Args().Slice()
	pairs, stdin := cc.Bool("pairs"), cc.IsSet("stdin")
	switch {
	case stdin && (pairs || len(args) > 0 || len(c.params) > 0 || c.bad != nil):
		return nil, errors.New("--stdin cannot be used with parameters on the command line")
	case stdin:
		return c.read(cc.String("stdin"), base)
	case pairs && (cc.IsSet("cluster") || cc.IsSet("node")):
		return nil, errors.New("--pairs takes cluster and node from its arguments, not from -c and -n")
	}
	literal := c.afterDashes(args)
	if pairs {
		if len(args) < 4 || len(args)%2 != 0 {
			return nil, errors.New("--pairs needs CLUSTER NODE NAME VALUE, then more pairs of NAME VALUE")
		}
		base.Cluster, base.Node = args[0], args[1]
		if err := errors.Join(named("cluster", base.Cluster), named("node", base.Node)); err != nil {
			return nil, err
		}
		for i := 2; i < len(args); i += 2 {
			if isFlag(args[i]) && !literal {
				return nil, fmt.Errorf("flag %q after a parameter: put flags first", args[i])
			}
			c.add(command.ParseValue(args[i], args[i+1]))
		}
	} else {
		for _, arg := range args {
			if isFlag(arg) && !literal {
				return nil, fmt.Errorf("flag %q after a parameter: put flags first", arg)
			}
			name, value, ok := strings.Cut(arg, "=")
			if !ok {
				return nil, fmt.Errorf("%s is not NAME=VALUE", safetext.Quote(arg))
			}
			c.add(command.ParseValue(name, value))
		}
	}
	if c.bad != nil {
		return nil, c.bad
	}
	base.Params = c.params
	if len(base.Params) == 0 {
		return nil, errors.New("no parameters: NAME=VALUE is missing")
	}
	return one(base), nil
}

// afterDashes reports whether "--" separates the arguments from the flags, so that names
// may begin with a dash.
func (c *sendCommand) afterDashes(args []string) bool {
	i := len(c.args) - len(args) - 1
	return i > 0 && c.args[i] == "--"
}

func isFlag(s string) bool { return len(s) > 1 && s[0] == '-' }

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// named returns an error for a cluster or node that is given but empty: data must not
// go to the default name because a variable of a script is unset.
func named(what, name string) error {
	if err := xdr.CheckName(name); err != nil {
		return command.Errorf(command.DataErr, "%s %s: %w", what, safetext.Quote(name), err)
	}
	return nil
}

func one(m apmon.Message) iter.Seq2[apmon.Message, error] {
	return func(yield func(apmon.Message, error) bool) { yield(m, nil) }
}

// parseTime reads Unix seconds or RFC 3339.
func parseTime(s string) (time.Time, error) {
	var t time.Time
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		t = time.Unix(n, 0)
	} else if t, err = time.Parse(time.RFC3339, s); err != nil {
		return t, command.Errorf(command.DataErr, "time %s is neither Unix seconds nor RFC 3339", safetext.Quote(s))
	}
	if sec := t.Unix(); sec < 1 || sec > math.MaxInt32 {
		return t, command.Errorf(command.DataErr, "time %s: %w: only 1970-01-01T00:00:01Z to 2038-01-19T03:14:07Z can be sent", safetext.Quote(s), apmon.ErrTime)
	}
	return t, nil
}

// read returns the messages of standard input. A bad line becomes an error that names
// the line, and the other lines are sent.
func (c *sendCommand) read(format string, base apmon.Message) (iter.Seq2[apmon.Message, error], error) {
	var parse func(line string, base apmon.Message) (apmon.Message, error)
	switch format {
	case "kv":
		return readKV(c.stdin, base), nil
	case "json":
		parse = parseJSON
	case "line":
		parse = parseLine
	default:
		return nil, fmt.Errorf("--stdin %q is not kv, json or line", format)
	}
	return func(yield func(apmon.Message, error) bool) {
		empty := true
		for line, err := range lines(c.stdin) {
			var m apmon.Message
			if err == nil {
				if line.text == "" {
					continue
				}
				if m, err = parse(line.text, base); err != nil {
					err = command.Errorf(command.DataErr, "standard input, line %d: %w", line.number, err)
				}
			}
			empty = false
			if !yield(m, err) {
				return
			}
		}
		if empty {
			yield(apmon.Message{}, errNoInput)
		}
	}, nil
}

var errNoInput = &command.Error{Code: command.NoInput, Err: errors.New("no parameters on standard input")}

// readKV returns the errors of bad lines, and then one message of all good lines.
func readKV(r io.Reader, m apmon.Message) iter.Seq2[apmon.Message, error] {
	return func(yield func(apmon.Message, error) bool) {
		empty := true
		for line, err := range lines(r) {
			if err == nil {
				if line.text == "" {
					continue
				}
				var p apmon.Param
				if p, err = parseKV(line.text); err != nil {
					err = command.Errorf(command.DataErr, "standard input, line %d: %w", line.number, err)
				} else if m.Params = append(m.Params, p); len(m.Params) > maxParams {
					yield(m, command.Errorf(command.DataErr, "standard input, line %d: more than %d parameters in one message", line.number, maxParams))
					return
				}
			}
			empty = false
			if err != nil && !yield(m, err) {
				return
			}
		}
		switch {
		case len(m.Params) > 0:
			yield(m, nil)
		case empty:
			yield(m, errNoInput)
		}
	}
}

// parseKV reads "NAME VALUE".
func parseKV(line string) (apmon.Param, error) {
	name, value := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		name, value = line[:i], strings.TrimSpace(line[i:])
	}
	return command.ParseValue(name, value)
}

// parseLine reads "CLUSTER/NODE NAME VALUE NAME VALUE…".
func parseLine(line string, m apmon.Message) (apmon.Message, error) {
	f := strings.Fields(line)
	var ok bool
	if m.Cluster, m.Node, ok = strings.Cut(f[0], "/"); !ok {
		return m, fmt.Errorf("%s is not CLUSTER/NODE", safetext.Quote(f[0]))
	}
	if err := errors.Join(named("cluster", m.Cluster), named("node", m.Node)); err != nil {
		return m, err
	}
	if len(f) < 3 || len(f)%2 == 0 {
		return m, errors.New("CLUSTER/NODE is not followed by pairs of NAME VALUE")
	}
	for i := 1; i < len(f); i += 2 {
		p, err := command.ParseValue(f[i], f[i+1])
		if err != nil {
			return m, err
		}
		m.Params = append(m.Params, p)
	}
	return m, nil
}

// jsonMessage is a line of --stdin json. The last fields are accepted and ignored, so that
// the output of apmon-recv and --dry-run, which has them, can be sent.
type jsonMessage struct {
	Cluster *string         `json:"cluster"`
	Node    *string         `json:"node"`
	Time    json.RawMessage `json:"time"`
	Params  json.RawMessage `json:"params"`

	From, Version, Instance, Seq, To, Hex json.RawMessage
	Error, Offset, Truncated              json.RawMessage
}

func parseJSON(line string, m apmon.Message) (apmon.Message, error) {
	if !utf8.ValidString(line) { // the decoder would replace them silently
		return m, errors.New("not UTF-8")
	}
	var in jsonMessage
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return m, jsonError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return m, errors.New("more than one JSON object")
	}
	if in.Cluster != nil {
		m.Cluster = *in.Cluster
		if err := named("cluster", m.Cluster); err != nil {
			return m, err
		}
	}
	if in.Node != nil {
		m.Node = *in.Node
		if err := named("node", m.Node); err != nil {
			return m, err
		}
	}
	if t := string(in.Time); t != "" && t != "null" {
		var err error
		if m.Time, err = parseTime(strings.Trim(t, `"`)); err != nil {
			return m, err
		}
	}
	var err error
	if m.Params, err = jsonParams(in.Params); err != nil {
		return m, err
	}
	if len(m.Params) == 0 {
		return m, errors.New(`no "params"`)
	}
	return m, nil
}

// jsonParams reads {"name":value,…}, in order, or the list that apmon-recv prints:
// [{"name":…,"type":…,"value":…},…].
func jsonParams(raw json.RawMessage) ([]apmon.Param, error) {
	raw = bytes.TrimSpace(raw)
	var params []apmon.Param
	if len(raw) > 0 && raw[0] == '[' {
		var list []struct {
			Name, Type string
			Value      any
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		d.UseNumber()
		if err := d.Decode(&list); err != nil {
			return nil, jsonError(err)
		}
		for _, e := range list {
			p, err := jsonParam(e.Name, e.Type, e.Value)
			if err != nil {
				return nil, err
			}
			params = append(params, p)
		}
		return params, nil
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil, errors.New(`"params" is neither an object nor a list`)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	d.Token() // the brace
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, jsonError(err)
		}
		p, err := jsonParam(key.(string), "", value)
		if err != nil {
			return nil, err
		}
		params = append(params, p)
	}
	return params, nil
}

// jsonParam returns a parameter for a JSON number, string or boolean (1 or 0). A type in
// the form that apmon-recv prints has the effect of the flag for that type.
func jsonParam(name, typ string, value any) (apmon.Param, error) {
	switch value {
	case true:
		value = json.Number("1")
	case false:
		value = json.Number("0")
	}
	switch v := value.(type) {
	case json.Number:
		switch typ {
		case "":
			return command.ParseValue(name, v.String())
		case "int32", "int64":
			return command.ParseInt64(name, v.String())
		case "real32", "real64":
			return command.ParseFloat(name, v.String())
		}
	case string:
		switch typ {
		case "", "string":
			return command.ParseText(name, v)
		case "real32", "real64": // "NaN", "+Inf", "-Inf"
			return apmon.Param{}, command.BadValue(name, v, "cannot be stored")
		}
	default:
		return apmon.Param{}, command.Errorf(command.DataErr, "parameter %s: %w: not a number, text or boolean", safetext.Quote(name), apmon.ErrBadValue)
	}
	return apmon.Param{}, command.Errorf(command.DataErr, "parameter %s: %w: %v is not of type %s", safetext.Quote(name), apmon.ErrBadValue, value, safetext.Quote(typ))
}

// jsonError rewrites an error of the JSON decoder without Go terms.
func jsonError(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		what := "the line"
		if typ.Field != "" {
			what = safetext.Quote(strings.ToLower(typ.Field))
		}
		return fmt.Errorf("%s has the wrong type: %s", what, typ.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the JSON object ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

type line struct {
	number int
	text   string // trimmed
}

// lines reads line by line. A line that is too long is skipped and becomes an error. A
// read error ends the iteration.
func lines(r io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		var buf []byte
		long := false
		for n := 1; ; {
			chunk, err := br.ReadSlice('\n')
			if long = long || len(buf)+len(chunk) > maxLine; !long {
				buf = append(buf, chunk...)
			}
			if err == bufio.ErrBufferFull {
				continue
			}
			if err != nil && err != io.EOF {
				yield(line{}, command.Errorf(command.NoInput, "standard input: %w", err))
				return
			}
			var lineErr error
			if long {
				lineErr = command.Errorf(command.DataErr, "standard input, line %d: more than %d bytes", n, maxLine)
			}
			if (err == nil || len(buf) > 0 || long) && !yield(line{n, string(bytes.TrimSpace(buf))}, lineErr) {
				return
			}
			if err == io.EOF {
				return
			}
			n++
			buf, long = buf[:0], false
		}
	}
}
