package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
)

// completing are the shells with a completion script, and the command with which each
// loads it: the script of this release, or one of an earlier release, which may remain
// installed.
var completing = []struct {
	name  string
	shell []string
	setup string
}{
	{"bash", []string{"bash", "--norc", "--noprofile", "-i"}, "source <(apmon-bg completion bash)"},
	{"bash with bash-completion", []string{"bash", "--norc", "--noprofile", "-i"}, "source /usr/share/bash-completion/bash_completion; source <(apmon-bg completion bash)"},
	{"bash, old script", []string{"bash", "--norc", "--noprofile", "-i"}, "source $DATA/old.bash"},
	{"zsh", []string{"zsh", "-f", "-i"}, "autoload -Uz compinit; compinit -u -D; source <(apmon-bg completion zsh)"},
	{"zsh, old script", []string{"zsh", "-f", "-i"}, "autoload -Uz compinit; compinit -u -D; _apmon() { source $DATA/old.zsh }; compdef _apmon apmon-bg"},
	{"fish", []string{"fish", "--no-config", "-i"}, "apmon-bg completion fish | source"},
}

// TestCompletion presses TAB in real shells.
func TestCompletion(t *testing.T) {
	t.Parallel()
	data, err := filepath.Abs("testdata/completion")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range completing {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.shell[0]); err != nil {
				t.Skip("the shell is not installed: ", err)
			}
			const library = "/usr/share/bash-completion/bash_completion"
			if _, err := os.Stat(library); err != nil && strings.Contains(c.setup, library) {
				t.Skip("bash-completion is not installed: ", err)
			}
			dir := t.TempDir()
			ran := filepath.Join(dir, "ran")
			must(t, os.WriteFile(filepath.Join(dir, "job.sh"), []byte("#!/bin/sh\necho \"$@\" >>"+ran+"\n"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "usage-file.json"), nil, 0o644))
			must(t, os.Mkdir(filepath.Join(dir, "work-folder"), 0o755))

			term := commandtest.OpenTerminal(t, append([]string{"env", "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir, "DATA=" + data}, c.shell...)...)
			// Input is echoed, so it must not match the expected output.
			sync := func() {
				t.Helper()
				term.Enter("\x15echo in''-step\n")
				term.Expect("in-step")
			}
			term.Enter("cd " + dir + "\n")
			term.Enter(c.setup + "\n")
			sync()

			if !strings.Contains(c.name, "old") {
				for _, k := range []struct{ keys, want string }{
					{"apmon-bg exec --summ\t", "--summary"},
					{"apmon-bg exec --kill\t", "--kill-orphans"},
					{"apmon-bg params --format mark\t", "--format markdown"},
					{"apmon-bg params --format=mark\t", "--format=markdown"},
					{"apmon-bg exec --benchmark hs\t", "--benchmark hs23="},
					{"apmon-bg exec --summary us\t", "--summary usage-file.json"},
					{"apmon-bg exec --summary=us\t", "--summary=usage-file.json"},
					{"apmon-bg exec --workdir wo\t", "--workdir work-folder/"},
					{"apmon-bg -f us\t", "-f usage-file.json"},
					{"apmon-bg report us\t", "report usage-file.json"},
					{"apmon-bg report a.tsv us\t", "a.tsv usage-file.json"},
					{"apmon-bg report -o us\t", "-o usage-file.json"},
					{"apmon-bg che\t", "apmon-bg check"},
					{"apmon-bg help access\t", "help accesslog"},
					{"apmon-bg completion fi\t", "completion fish"},
					{"apmon-bg --accesslog-for\t", "--accesslog-format"},
					{"apmon-bg exec -- ./job\t", "-- ./job.sh"},
					{"apmon-bg exec -- ./job.sh us\t", "./job.sh usage-file.json"},
				} {
					term.Enter(k.keys)
					term.Expect(pattern(k.want))
					sync()
				}
			}
			for _, line := range []string{"exec -- ./job.sh arg", "exec -- ./job.sh ", "exec ./job.sh arg", "exec ./job.sh --", "exec -d h -- ./job.sh --x"} {
				term.Enter("apmon-bg " + line + "\t\t")
				sync()
			}
			if b, err := os.ReadFile(ran); err == nil {
				t.Errorf("TAB ran the job: %q", b)
			}
		})
	}
}

// pattern matches a text of a command line as shells print it, in parts with escape
// sequences in between.
func pattern(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`.+*?()|[]{}^$\`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		b.WriteString("(?:\x1b[\\[(][0-9;?]*[A-Za-z]|\x1b[=>]|\b|\r)*")
	}
	return b.String()
}
