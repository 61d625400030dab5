package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// patience is how long a block may take. Some compile programs.
const patience = 5 * testkit.Patience

// bin is the folder of the built commands.
var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "docs")
	if err != nil {
		panic(err)
	}
	bin = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build builds the commands, once.
var build = sync.OnceValue(func() error {
	// With the settings of docs/start.md, so that the compiler works once.
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", bin+string(filepath.Separator), "../cmd/apmon-send", "../cmd/apmon-bg", "../cmd/apmon-recv")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

// session runs the blocks of a page, in order, in one folder.
type session struct {
	page  page
	dir   string
	env   []string
	ports *strings.Replacer
}

// newSession makes the folder of a page. The ports that pages name become free ones.
func newSession(t *testing.T, p page) *session {
	var ports []string
	for _, port := range []string{"8884", "8885", "8080", "9090", "9108"} {
		ports = append(ports, port, freePort(t))
	}
	s := &session{page: p, dir: t.TempDir(), ports: strings.NewReplacer(ports...)}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "APMON_") && !strings.HasPrefix(name, "MONALISA") && name != "PATH" {
			s.env = append(s.env, v)
		}
	}
	s.env = append(s.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "GOBIN="+t.TempDir())
	return s
}

// freePort returns a port that neither UDP nor TCP uses on loopback.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at the end, so that no port is returned twice
		c, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			c.Close()
			return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		}
	}
}

// command returns the command for a script. It is a group of processes, which ends with the test.
func (s *session) command(t *testing.T, ctx context.Context, b block, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	if b.language == "sh" {
		cmd.Args = []string{"bash", "-e", "-c", script} // the output of console shows an error
	}
	cmd.Dir = s.dir
	if strings.Contains(b.options, "clone") {
		root, err := filepath.Abs("..")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Dir = root
	}
	cmd.Env = s.env
	cmd.WaitDelay = testkit.Patience
	group(cmd)
	return cmd
}

// run runs a block and returns what it prints.
func (s *session) run(t *testing.T, b block, script string) (string, error) {
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	out, err := s.command(t, ctx, b, script).CombinedOutput()
	return string(out), err
}

// start runs a block until the end of the test. It returns when the block has printed a line.
func (s *session) start(t *testing.T, b block) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := s.command(t, ctx, b, s.ports.Replace(b.text))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	var printed testkit.Log
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(&printed, read)
		close(ended)
	}()
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		read.Close()
		if t.Failed() {
			t.Logf("%s:%d printed\n%s", s.page.name, b.line, &printed)
		}
	})
	// "go run" may compile for minutes.
	for end := time.Now().Add(patience); printed.Count("\n") == 0; time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("%s:%d ended: %s", s.page.name, b.line, &printed)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s:%d printed nothing for %v", s.page.name, b.line, patience)
		}
	}
}

// console runs each command of a block and compares what it prints.
func (s *session) console(t *testing.T, b block) {
	for _, part := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		for strings.HasSuffix(command, `\`) {
			more, rest, _ := strings.Cut(want, "\n")
			command, want = command+"\n"+more, rest
		}
		want = strings.TrimRight(s.ports.Replace(want), "\n")
		var got string
		// A receiver shows a sent parameter a moment later.
		for end := time.Now().Add(testkit.Patience); ; time.Sleep(100 * time.Millisecond) {
			out, _ := s.run(t, b, s.ports.Replace(command))
			got = strings.TrimRight(out, "\n")
			if matches(want, got) {
				break
			}
			if !strings.HasPrefix(command, "curl ") || time.Now().After(end) {
				t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", s.page.name, b.line, command, got, want)
				return
			}
		}
	}
}

// matches reports whether a command printed the output that a page shows: … stands for any text of
// a line, and alone in a line for any lines.
func matches(want, got string) bool {
	var b strings.Builder
	for line := range strings.SplitSeq(want, "\n") {
		if strings.TrimSpace(line) == "…" {
			b.WriteString(`(.*\n)*`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", ".*") + ` *\n`)
	}
	return regexp.MustCompile(`^` + b.String() + `$`).MatchString(got + "\n")
}

// Commands of pages run as written. CONTRIBUTING.md describes how they are marked.
func TestCommands(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the pages show commands on Linux")
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		if !strings.Contains(p.text, "```sh") && !strings.Contains(p.text, "```console") {
			continue
		}
		t.Run(strings.TrimPrefix(p.name, "docs/"), func(t *testing.T) {
			t.Parallel()
			runPage(t, newSession(t, p))
		})
	}
}

func runPage(t *testing.T, s *session) {
	for _, b := range s.page.blocks {
		at := s.page.name + ":" + strconv.Itoa(b.line)
		if b.language != "sh" && b.language != "console" {
			if b.options != "" {
				if err := s.file(b); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
			}
			continue
		}
		if why := notRun(t, b, at); why != "" {
			t.Logf("%s is not run: %s", at, why)
			continue
		}
		began := time.Now()
		switch {
		case strings.Contains(b.options, "background"):
			s.start(t, b)
		case b.language == "console":
			s.console(t, b)
		default:
			if out, err := s.run(t, b, s.ports.Replace(b.text)); err != nil {
				t.Errorf("%s: %v\n%s", at, err, out)
			}
		}
		if t.Failed() {
			return // the next blocks depend on this one
		}
		t.Logf("%s took %v", at, time.Since(began).Round(time.Millisecond))
	}
}

// notRun returns why a block is not run, empty if it is.
func notRun(t *testing.T, b block, at string) string {
	if why, ok := strings.CutPrefix(b.options, "not run: "); ok {
		return why
	}
	for mark := range strings.FieldsSeq(b.options) {
		needed, ok := strings.CutPrefix(mark, "needs=")
		if ok {
			if _, err := exec.LookPath(needed); err != nil {
				return needed + " is not installed"
			}
		} else if mark != "clone" && mark != "background" {
			t.Errorf("%s: unknown mark %q", at, mark)
		}
	}
	return ""
}

// file writes a block of another language to the file that it names.
func (s *session) file(b block) error {
	name, ok := strings.CutPrefix(b.options, "file=")
	if !ok || !filepath.IsLocal(name) {
		return fmt.Errorf("unknown mark %q", b.options)
	}
	return os.WriteFile(filepath.Join(s.dir, name), []byte(s.ports.Replace(b.text)), 0o600)
}

var (
	usesFlag  = regexp.MustCompile(`apmon-(?:send|bg|recv)\b[^|;&` + "`" + `]*`)
	flagNames = regexp.MustCompile(`(?:^|[\s\[("'])(--[a-z][a-z-]*)`)
)

// The flags of our commands in pages exist, also in commands that are not run.
func TestFlags(t *testing.T) {
	t.Parallel()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	flags := map[string]string{}
	for _, name := range commands {
		for _, topic := range topics(t, name) {
			flags[name] += help(t, name, topic)
		}
	}
	found := 0
	for _, p := range pages(t) {
		if p.name == "docs/commands.md" {
			continue // is made from the commands
		}
		text := strings.ReplaceAll(p.text, "\\\n", " ")
		for line := range strings.Lines(text) {
			for _, use := range usesFlag.FindAllString(line, -1) {
				use, _, _ = strings.Cut(use, " -- ")
				name, _, _ := strings.Cut(strings.Fields(use)[0], ":")
				for _, m := range flagNames.FindAllStringSubmatch(use, -1) {
					found++
					if all, ok := flags[name]; ok && !regexp.MustCompile(m[1]+`\b`).MatchString(all) {
						t.Errorf("%s: %s has no flag %s", p.name, name, m[1])
					}
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("%d flags found", found)
	}
}

// help returns the help of a command or of one of its subcommands and topics.
func help(t *testing.T, name, topic string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, name), "help")
	if topic != "" {
		cmd.Args = append(cmd.Args, topic)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s help %s: %v: %s", name, topic, err, &stderr)
	}
	return string(out)
}
