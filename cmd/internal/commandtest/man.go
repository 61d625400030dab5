package commandtest

import (
	"flag"
	"os"
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

var update = flag.Bool("update", false, "write packaging/man anew")

// ManPage compares a command's page in packaging/man with the one made from the
// command itself, or with -update writes it anew.
func ManPage(t *testing.T, app *command.App) {
	t.Helper()
	page := app.ManPage()
	file := "../../packaging/man/" + app.Name() + ".1"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != page {
		t.Errorf("%s is not what the command says of itself, run with -update (%v)", file, err)
	}
}
