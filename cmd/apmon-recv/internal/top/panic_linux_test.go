package top

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/dashboard"
)

// TestMain runs a view that panics if the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("TOP_PANICS") != "" {
		err := Run(context.Background(), os.Stdin, os.Stdout, os.Environ(), Options{Source: &panicking{}, Name: "panicking"})
		fmt.Println("error:", err)
		return
	}
	os.Exit(m.Run())
}

// panicking answers once.
type panicking struct {
	Source
	asked int
}

func (p *panicking) Overview(context.Context) (*dashboard.Overview, error) {
	if p.asked++; p.asked > 3 {
		panic("a mistake")
	}
	return &dashboard.Overview{}, nil
}

// A panic of the view restores the terminal.
func TestPanic(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := commandtest.OpenTmux(t, 100, 50, fmt.Sprintf(`cd '%s'; stty -a >before; TOP_PANICS=1 '%s'; stty -a >after; cmp before after && echo same; exec cat`, t.TempDir(), exe))
	screen := x.Wait("same")
	if !strings.Contains(screen, "a mistake") || !strings.Contains(screen, "error: ") {
		t.Errorf("the screen:\n%s", screen)
	}
	if wrong := x.Restored(); wrong != "" {
		t.Errorf("the terminal is not restored: %s", wrong)
	}
}
