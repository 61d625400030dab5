package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/internal/readable"
)

const (
	helpWidth    = 80 // columns
	optionColumn = 30 // where the text of an option begins
)

// page is the content of the help and the manual page of a command.
type page struct {
	name, usage string
	synopsis    []string
	intro       string // of the description, up to the first section
	sections    []section
	commands    []*cli.Command
	options     []option
}

// section is a part of a description with a title.
type section struct{ title, text string }

// page returns the page of a subcommand, or of the command itself if c is nil.
func (a *App) page(c *cli.Command) page {
	if c == nil || c.Name == a.cli.Name {
		c = &cli.Command{
			Name: a.cli.Name, Usage: a.cli.Usage, UsageText: a.cli.UsageText, Description: a.cli.Description,
			Flags: a.cli.Flags,
		}
	}
	p := page{name: c.Name, usage: c.Usage, options: visible(c.Flags)}
	if c.Name != a.cli.Name {
		p.name = a.cli.Name + " " + c.Name
	} else {
		for _, sub := range slices.Concat(a.cli.Commands, a.words()) {
			if !slices.ContainsFunc(p.commands, func(c *cli.Command) bool { return c.Name == sub.Name }) {
				p.commands = append(p.commands, sub)
			}
		}
	}
	p.synopsis = strings.Split(cmp.Or(c.UsageText, strings.TrimSpace(p.name+" "+c.ArgsUsage)), "\n")
	p.intro, p.sections = sections(c.Description)
	return p
}

// sections splits a description. A section begins with a line "Title:" after an empty
// line, followed by its text. Indented lines of the text are a block, which is
// printed unchanged; the other lines are paragraphs, which are filled.
func sections(description string) (intro string, list []section) {
	lines := strings.Split(strings.Trim(description, "\n"), "\n")
	text := &intro
	for i, line := range lines {
		title, ok := strings.CutSuffix(line, ":")
		if ok && title[0] != ' ' && (i == 0 || lines[i-1] == "") && i+1 < len(lines) && lines[i+1] != "" {
			list = append(list, section{title: title})
			text = &list[len(list)-1].text
			continue
		}
		*text += line + "\n"
	}
	return intro, list
}

// paragraphs calls block for each run of indented lines of a text, and fill for
// each paragraph, as one line.
func paragraphs(text string, fill func(string), block func([]string)) {
	for part := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		var words, kept []string
		flush := func() {
			if len(words) > 0 {
				fill(strings.Join(words, " "))
			}
			if len(kept) > 0 {
				block(kept)
			}
			words, kept = nil, nil
		}
		for line := range strings.SplitSeq(part, "\n") {
			indented := strings.HasPrefix(line, " ")
			if indented && len(words) > 0 || !indented && len(kept) > 0 {
				flush()
			}
			if indented {
				kept = append(kept, strings.TrimPrefix(line, "   "))
			} else if line != "" {
				words = append(words, line)
			}
		}
		flush()
	}
}

// helpText returns the help of a command.
func (a *App) helpText(c *cli.Command) string {
	p := a.page(c)
	var b strings.Builder
	fmt.Fprintf(&b, "NAME:\n   %s - %s\n\nUSAGE:\n", p.name, p.usage)
	for _, line := range p.synopsis {
		fmt.Fprintf(&b, "   %s\n", line)
	}
	if strings.TrimSpace(p.intro) != "" {
		fmt.Fprintf(&b, "\nDESCRIPTION:\n%s", helpParagraphs(p.intro))
	}
	if len(p.commands) > 0 {
		b.WriteString("\nCOMMANDS:\n")
		for _, c := range p.commands {
			helpEntry(&b, "   "+c.Name, c.Usage, 19)
		}
		for _, t := range a.topics {
			helpEntry(&b, "   help "+t.Name, t.Usage, 19)
		}
	}
	b.WriteString("\nOPTIONS:\n")
	for i, group := range grouped(p.options) {
		if i > 0 {
			b.WriteString("\n")
		}
		if group[0].group != "" {
			fmt.Fprintf(&b, "   %s:\n", group[0].group)
		}
		for _, o := range group {
			form := strings.Join(o.forms(), ", ")
			if strings.HasPrefix(form, "--") {
				form = "    " + form // align with forms that have a short one
			}
			helpEntry(&b, "     "+form+o.argument(), o.about(), optionColumn)
		}
	}
	for _, s := range p.sections {
		fmt.Fprintf(&b, "\n%s:\n%s", strings.ToUpper(s.title), helpParagraphs(s.text))
	}
	return b.String()
}

// helpText returns the text that "help TOPIC" prints.
func (t *Topic) helpText() string {
	intro, list := sections(t.Text)
	b := helpParagraphs(intro)
	for _, s := range list {
		b += fmt.Sprintf("\n%s:\n%s", strings.ToUpper(s.title), helpParagraphs(s.text))
	}
	return strings.ToUpper(t.Title) + ":\n" + b
}

// helpEntry writes a name and its text. The text begins at a column, on the next line
// if the name is too long.
func helpEntry(b *strings.Builder, name, text string, column int) {
	n := utf8.RuneCountInString(name)
	b.WriteString(name)
	if n > column-2 {
		b.WriteString("\n")
		n = 0
	}
	for _, line := range readable.Wrap(text, helpWidth-column) {
		fmt.Fprintf(b, "%*s%s\n", column-n, "", line)
		n = 0
	}
}

func helpParagraphs(text string) string {
	var b strings.Builder
	between := func() {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
	}
	paragraphs(text, func(s string) {
		between()
		for _, line := range readable.Wrap(s, helpWidth-3) {
			fmt.Fprintf(&b, "   %s\n", line)
		}
	}, func(lines []string) {
		between()
		for _, line := range lines {
			fmt.Fprintf(&b, "   %s\n", line)
		}
	})
	return b.String()
}
