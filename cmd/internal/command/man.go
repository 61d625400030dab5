package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// ManPage returns the manual page of a command, derived from its flags and
// descriptions. It holds no version, which would change with every release.
// Hyphenation is off, since many words are names.
func (a *App) ManPage() string {
	var b strings.Builder
	p := a.page(nil)
	fmt.Fprintf(&b, ".\\\" Made from the command itself.\n.TH %s 1\n.nh\n.ad l\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", roff(strings.ToUpper(p.name)), roff(p.name), roff(p.usage))
	manBlock(&b, p.synopsis)
	b.WriteString(".SH DESCRIPTION\n")
	manParagraphs(&b, p.intro)
	b.WriteString(".SH OPTIONS\n")
	manOptions(&b, p.options, ".SS %s\n")
	b.WriteString(".SH COMMANDS\n")
	for _, c := range p.commands {
		a.manCommand(&b, c)
	}
	for _, s := range p.sections {
		fmt.Fprintf(&b, ".SH %s\n", roff(strings.ToUpper(s.title)))
		manParagraphs(&b, s.text)
	}
	for _, t := range a.topics {
		fmt.Fprintf(&b, ".SH %s\n", roff(strings.ToUpper(t.Title)))
		intro, list := sections(t.Text)
		manParagraphs(&b, intro)
		for _, s := range list {
			fmt.Fprintf(&b, ".SS %s\n", roff(s.title))
			manParagraphs(&b, s.text)
		}
	}
	return b.String()
}

func (a *App) manCommand(b *strings.Builder, c *cli.Command) {
	p := a.page(c)
	for _, line := range p.synopsis {
		fmt.Fprintf(b, ".SS %s\n", roff(line))
	}
	fmt.Fprintf(b, "%s.\n", roff(strings.ToUpper(p.usage[:1])+p.usage[1:]))
	manParagraphs(b, p.intro)
	options := slices.DeleteFunc(p.options, func(o option) bool { return o.group == lastGroup })
	manOptions(b, options, ".PP\n\\fI%s\\fR\n")
	for _, s := range p.sections {
		fmt.Fprintf(b, ".PP\n\\fI%s\\fR\n", roff(s.title))
		manParagraphs(b, s.text)
	}
}

func manOptions(b *strings.Builder, options []option, title string) {
	for _, group := range grouped(options) {
		if name := group[0].group; name != "" {
			fmt.Fprintf(b, title, roff(name))
		}
		for _, o := range group {
			b.WriteString(".TP\n")
			for i, form := range o.forms() {
				if i > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(b, "\\fB%s\\fR", roff(form))
			}
			if o.value != "" {
				before, after, _ := strings.Cut(o.argument(), o.value)
				fmt.Fprintf(b, "%s\\fI%s\\fR%s", before, roff(o.value), after)
			}
			fmt.Fprintf(b, "\n%s\n", roff(o.about()))
		}
	}
}

func manParagraphs(b *strings.Builder, text string) {
	paragraphs(text, func(s string) {
		fmt.Fprintf(b, ".PP\n%s\n", roff(s))
	}, func(lines []string) {
		b.WriteString(".PP\n")
		manBlock(b, lines)
	})
}

// manBlock writes lines that are printed unchanged.
func manBlock(b *strings.Builder, lines []string) {
	b.WriteString(".nf\n")
	for _, line := range lines {
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".fi\n")
}

// roff escapes a line of text.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`).Replace(s)
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}
