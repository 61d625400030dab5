package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/procinfo"
)

func paramsCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "params",
		Usage:       "list the parameters of monitoring",
		UsageText:   name + " params [--format text|markdown|json]",
		Description: "Lists the parameters: the option that switches each one on and off, the name that is sent,\nunit, meaning and source.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "text", Usage: "format of the output: `text|markdown|json`"},
		},
		Action: func(cc *cli.Context) error {
			var err error
			switch format := cc.String("format"); format {
			case "text":
				err = printParams(stdout)
			case "markdown":
				_, err = io.WriteString(stdout, procinfo.Markdown())
			case "json":
				err = json.NewEncoder(stdout).Encode(jsonParams())
			default:
				return command.Errorf(command.Usage, "--format %q is not text, markdown or json", format)
			}
			if err != nil {
				return command.OutputError(err)
			}
			return nil
		},
	}
}

func printParams(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "OPTION\tNAME\tUNIT\tMEANING\tSOURCE")
	for _, m := range procinfo.Metrics() {
		fmt.Fprintf(tab, "xApMon_%s\t%s\t%s\t%s\t%s\n", m.Option, m.Name, m.Unit, strings.TrimSpace(m.Meaning), m.Source)
	}
	return tab.Flush()
}

type jsonParam struct {
	Category string `json:"category"`
	Option   string `json:"option"`
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Type     string `json:"type"`
	Meaning  string `json:"meaning"`
	Source   string `json:"source"`
	OptIn    bool   `json:"opt_in"`
}

func jsonParams() []jsonParam {
	var list []jsonParam
	for _, m := range procinfo.Metrics() {
		typ := "real64"
		if m.Text {
			typ = "string"
		}
		list = append(list, jsonParam{m.Category, "xApMon_" + m.Option, m.Name, m.Unit, typ, m.Meaning, m.Source, m.OptIn})
	}
	return list
}
