package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/jobreport"
	"github.com/apmon-go/apmon/cmd/internal/command"
)

const reportDescription = `Shows the record and the time series of a job, or of several jobs over one
another. Each FILE is one that exec has written: of --summary, --series (also
compressed, or as JSON lines), --prmon-txt or --prmon-json, or a file of prmon
itself. A record and a series belong to the same job if they have the same start
and run time.

Output:
Without -o, a short text with a line for each quantity, and at most one sentence
of advice. With -o, a page or a graph; the name of the file determines which:

   .html  a page that needs no other file: CPU time (user and system,
          against the CPUs requested and given), memory, processes and
          threads, I/O, network and GPU over the run time, and a summary.
          Several jobs are lines of the same graphs.
   .svg   one graph, which --plot selects

A file is replaced in one step. There is no PNG: a library that draws it would
delay the start of exec; a browser or a converter makes one of an SVG file.
The graph "children" needs a series of --series-children.

Errors:
A file that is empty or of another kind, and an incomplete record, is an error,
which names the file and the line. A series without its end, as a killed node
leaves it, is used as far as it goes.

Exit status:
   0   done                           64  usage
   65  a file has wrong contents      66  a file cannot be read
   74  the output could not be written

Examples:
   apmon-bg report usage.json series.tsv
   apmon-bg report -o report.html usage.json series.tsv
   apmon-bg report a.json a.tsv b.json b.tsv -o compared.html
   apmon-bg report --plot memory -o memory.svg series.tsv.gz`

func reportCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "report",
		Usage:       "show the record and the time series of jobs",
		UsageText:   name + " report [-o FILE.html|FILE.svg] [--plot NAME] FILE...",
		Description: reportDescription,
		ArgsUsage:   "FILE...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write a page (.html) or a graph (.svg) to `FILE`"},
			&cli.StringFlag{Name: "plot", Value: jobreport.Plots[0], Usage: "graph of an .svg file: `" + strings.Join(jobreport.Plots, "|") + "`"},
		},
		Action: func(cc *cli.Context) error { return report(cc, stdout, stderr) },
	}
}

func report(cc *cli.Context, stdout, stderr io.Writer) error {
	paths, err := trailingFlags(cc)
	if err != nil {
		return err
	}
	output, plot := cc.String("output"), cc.String("plot")
	ext := strings.ToLower(filepath.Ext(output))
	switch {
	case len(paths) == 0:
		return errors.New("no file to report on")
	case cc.IsSet("output") && ext != ".html" && ext != ".htm" && ext != ".svg":
		return fmt.Errorf("-o %q ends with neither .html nor .svg", output)
	case cc.IsSet("plot") && ext != ".svg":
		return errors.New("--plot selects the graph of an .svg file: it needs -o FILE.svg")
	case !slices.Contains(jobreport.Plots, plot):
		return fmt.Errorf("--plot %q is not one of %s", plot, strings.Join(jobreport.Plots, ", "))
	}
	jobs, warnings, err := jobreport.Read(paths)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return command.Errorf(command.NoInput, "%w", err)
		}
		return command.Errorf(command.DataErr, "%w", err)
	}
	for _, w := range warnings {
		fmt.Fprintf(stderr, "%s: %s\n", name, w)
	}
	if output == "" {
		if _, err := io.WriteString(stdout, jobreport.Text(jobs)); err != nil {
			return command.OutputError(err)
		}
		return nil
	}
	var b []byte
	if ext == ".svg" {
		svg, err := jobreport.SVG(jobs, plot)
		if err != nil {
			return command.Errorf(command.DataErr, "%w", err)
		}
		b = []byte(svg)
	} else if b, err = jobreport.HTML(jobs); err != nil {
		return err
	}
	if err := writeFile(output, b); err != nil {
		return command.Errorf(command.IOErr, "%s was not written: %w", output, err)
	}
	return nil
}

// trailingFlags sets the flags that follow an argument, where the library stops, and returns
// the arguments. After a "--" that follows an argument there are no flags.
func trailingFlags(cc *cli.Context) (args []string, err error) {
	rest := cc.Args().Slice()
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			return append(args, rest[i+1:]...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			args = append(args, arg)
			continue
		}
		flag, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch flag {
		case "o":
			flag = "output"
		case "output", "plot":
		default:
			return nil, fmt.Errorf("unknown flag %q", arg)
		}
		if !given {
			if i++; i == len(rest) {
				return nil, fmt.Errorf("flag needs an argument: %s", arg)
			}
			value = rest[i]
		}
		if err := cc.Set(flag, value); err != nil {
			return nil, err
		}
	}
	return args, nil
}
