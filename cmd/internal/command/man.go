//go:build !urfave_cli_no_docs

package command

import "github.com/urfave/cli/v2"

// ManPage returns the manual page of a command, made from its flags and
// description.
func ManPage(app *cli.App) (string, error) {
	for _, f := range app.Flags {
		if r, ok := f.(*Repeat); ok {
			r.AllNames = true
		}
	}
	app.Version = "" // it would change with every release
	return app.ToManWithSection(1)
}
