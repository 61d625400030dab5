package docs_test

import (
	"flag"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/accesslog"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

var update = flag.Bool("update", false, "write the generated pages")

// golden compares a page with the text that the code gives, or writes it with -update.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != text {
		t.Errorf("docs/%s is not current: run go test ./docs -update (%v)", file, err)
	}
}

// commands are the commands whose help is the page.
var commands = []string{"apmon-send", "apmon-bg", "apmon-recv"}

// topics returns the subcommands and topics that the help of a command lists, after "" for the
// command itself.
func topics(t *testing.T, name string) []string {
	list := []string{""}
	_, text, _ := strings.Cut(help(t, name, ""), "\nCOMMANDS:\n")
	text, _, _ = strings.Cut(text, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^   (?:help )?(\w+) `).FindAllStringSubmatch(text, -1) {
		if !slices.Contains([]string{"help", "version", "completion"}, m[1]) {
			list = append(list, m[1])
		}
	}
	return list
}

// TestCommandsPage makes docs/commands.md of the help that the commands print.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Commands

The help of each command, as it prints it: ` + "`apmon-bg help exec`" + ` prints that of a
subcommand or a topic. The manual pages have the same text. [Exit codes](exit-codes.md) compares
the exit statuses. This page is generated from the flags of the commands.
`)
	for _, name := range commands {
		for _, topic := range topics(t, name) {
			b.WriteString("\n## " + strings.TrimSpace(name+" "+topic) + "\n\n```text\n")
			b.WriteString(strings.TrimRight(help(t, name, topic), "\n") + "\n```\n")
		}
	}
	if n := strings.Count(b.String(), "\n## "); n < 12 {
		t.Errorf("%d texts", n)
	}
	golden(t, "commands.md", b.String())
}

// TestConfigurationPage makes docs/configuration.md of the sample, which tests compare with the
// tables of directives.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Configuration of clients

The directives of configuration files, folders and URLs, with their defaults. The commands read
` + "`" + conf.SystemFile + "`" + ` unless a flag or the environment names a source. This page is
generated from [the sample](../conf/destinations.conf), which tests compare with the tables of
directives. [parameters.md](parameters.md) has the unit and source of each parameter,
[receiver.md](receiver.md#configuration) the configuration of the receiver.

` + "`apmon-bg check SOURCE`" + ` prints the effective configuration, and each problem with its line.
`)
	var about []string // the comment before a directive
	part := ""         // what the last line belongs to: "table", "list" of destinations, or neither
	paragraph := func() {
		if len(about) > 0 {
			b.WriteString("\n" + escape(strings.Join(about, "\n")) + "\n")
			about, part = nil, ""
		}
	}
	begin := func(next, head string) {
		if part != next {
			b.WriteString("\n" + head)
			part = next
		}
	}
	for line := range strings.Lines(conf.Sample) {
		line = strings.TrimRight(line, "\n")
		comment, isComment := strings.CutPrefix(line, "# ")
		name, value, isDirective := strings.Cut(strings.TrimPrefix(line, "#"), " = ")
		switch {
		case strings.HasPrefix(line, "# --- "):
			title, _, _ := strings.Cut(strings.Trim(line, "#- "), " --")
			b.WriteString("\n## " + strings.TrimSpace(title) + "\n")
			about, part = nil, ""
		case isDirective && !isComment:
			begin("table", "| directive | default | meaning |\n|---|---|---|\n")
			if len(about) == 0 {
				about = []string{"likewise"} // a comment may be about several directives
			}
			b.WriteString("| `" + name + "` | `" + value + "` | " + escape(meaning(name, about)) + " |\n")
			about = nil
		case isComment:
			about = append(about, comment)
		case line == "#" || line == "":
			paragraph()
		default: // a destination
			paragraph()
			begin("list", "")
			b.WriteString("    " + strings.TrimPrefix(line, "#") + "\n")
		}
	}
	paragraph()
	golden(t, "configuration.md", b.String())
}

// meaning returns the comment of a directive. Comments of switches begin with their names.
func meaning(name string, about []string) string {
	text := strings.Join(about, " ")
	for _, prefix := range []string{"xApMon_sys_", "xApMon_job_", "xApMon_"} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			text = strings.TrimPrefix(text, short+": ")
		}
	}
	return text
}

// TestParameterPages makes the pages of the tables of parameters.
func TestParameterPages(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "linux" { // other systems have other parameters
		golden(t, "parameters.md", `# Parameters of hosts and jobs

The parameters of background monitoring, of `+"`apmon-bg` and of `Client.Monitor`"+`. Numbers are sent as real64; a
value that is unknown is not sent. KB is KiB, MB is MiB. IF is the name of a network interface. An option in a
configuration switches its parameters on or off; those marked opt-in are off by default. Of two names the first is sent,
unless the option is spelled like the second. System, General and Self are reports on the host, Job is a report on a job
or service.

`+"`apmon-bg params`"+` prints this list. [jobs.md](jobs.md) describes how jobs are measured. This page is generated from the
tables of package [procinfo](../procinfo).

`+procinfo.Markdown())
	}
	golden(t, "metrics.md", `# Metrics of programs

The parameters of package [metrics](../apmon/metrics). NAME is the name of the metric; the headings are its kinds.
Each reader has periods of its own: "since the last report" is since that reader last read. KB is KiB. This page is
generated from the tables of the package.

`+metrics.Markdown())
	golden(t, "httpstats.md", `# HTTP statistics

The parameters of package [httpstats](../apmon/httpstats), with its default prefix. Each reader has periods of its
own: "since the last report" is since that reader last read. This page is generated from the table of the package.

`+httpstats.Markdown())
	golden(t, "accesslog.md", `# Access logs

The parameters of package [accesslog](../apmon/accesslog), which `+"`apmon-bg --accesslog`"+` runs. One message is sent for each
window and stream, with the time at which the window began. `+"`apmon-bg help accesslog`"+` describes inputs, streams and
names. This page is generated from the tables of the package.

`+accesslog.Markdown())
}

func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(s)
}

// TestReportTable makes the table of docs/own-metrics.md of a report of a receiver.
func TestReportTable(t *testing.T) {
	t.Parallel()
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	meanings := map[string]string{
		"lostDatagrams":       "datagrams lost on the way since the start",
		"lostDatagrams_R":     "per second, since the report before",
		"receivedDatagrams":   "datagrams accepted since the start",
		"receivedDatagrams_R": "per second, since the report before",
		"activeSenders":       "senders within the last 900 s",
	}
	table := "| parameter | meaning |\n|---|---|\n"
	for _, p := range r.NewReport("node").Packet(time.Now(), r.Stats()).Datagram.Params {
		name := p.Name[strings.LastIndex(strings.TrimSuffix(p.Name, "_R"), "_")+1:]
		if meanings[name] == "" {
			t.Errorf("%s has no meaning", p.Name)
		}
		table += "| `ApMon_PORT_" + name + "` | " + meanings[name] + " |\n"
	}
	text, err := os.ReadFile("own-metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- report -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("no marks in own-metrics.md")
	}
	golden(t, "own-metrics.md", before+"<!-- report -->\n"+table+"<!-- end -->"+after)
}
